/** Alerts on stderr, where a person sees them and no script reads them as data. */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import { sentence } from "../../domain/Alert.ts"
import type { InvalidInput } from "../../domain/InvalidInput.ts"
import { type AlertChannels, layerChannel } from "../AlertChannels.ts"
import { withCustomer, type ShowCustomer } from "../AlertText.ts"

/** @since 0.1.0 */
export interface TerminalChannelOptions {
  /** Whether ` [customer]` is appended. Default: `true`. */
  readonly showCustomer?: ShowCustomer | undefined
}

/** The channel `terminal`. @since 0.1.0 */
export const layer = (options: TerminalChannelOptions = {}): Layer.Layer<never, InvalidInput, AlertChannels> =>
  layerChannel(
    Effect.succeed({
      name: "terminal",
      send: ({ alert }) => Console.error(withCustomer(sentence(alert), alert, options.showCustomer))
    })
  )
