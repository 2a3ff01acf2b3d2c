/**
 * Alerts to a channel of Discord, by an incoming webhook.
 *
 * A customer's id is plain text there: it mentions nobody, links to nothing and formats nothing.
 */
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import { sentence } from "../../domain/Alert.ts"
import type { InvalidInput } from "../../domain/InvalidInput.ts"
import { type AlertChannel, type AlertChannels, layerChannel } from "../AlertChannels.ts"
import { inChat, type ShowCustomer } from "../AlertText.ts"
import * as SafeHttp from "../SafeHttp.ts"

/** @since 0.1.0 */
export interface DiscordChannelOptions extends SafeHttp.HttpOptions {
  /** Default: `discord`. */
  readonly name?: string | undefined
  /** Whoever knows it can write to the channel. */
  readonly url: Redacted.Redacted
  /** Whether ` [customer]` is appended. Default: `true`. */
  readonly showCustomer?: ShowCustomer | undefined
}

/** A service's name may contain markup. */
const escape = (text: string): string => text.replace(/[\\*_~`|<>#]/g, "\\$&")

/** The channel `discord`. Fails with `InvalidInput` on the field `url`. @since 0.1.0 */
export const layer = (options: DiscordChannelOptions): Layer.Layer<never, InvalidInput, AlertChannels> => {
  const { name = "discord", showCustomer, url } = options
  return layerChannel(
    Effect.map(SafeHttp.make(name, url, options), (post): AlertChannel => ({
      name,
      send: ({ alert }) =>
        post(
          JSON.stringify({
            content: inChat(escape(sentence(alert)), alert, showCustomer),
            allowed_mentions: { parse: [] }
          })
        )
    }))
  )
}
