/**
 * Alerts to a channel of Slack, by an incoming webhook.
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
export interface SlackChannelOptions extends SafeHttp.HttpOptions {
  /** Default: `slack`. */
  readonly name?: string | undefined
  /** Whoever knows it can write to the channel. */
  readonly url: Redacted.Redacted
  /** Whether ` [customer]` is appended. Default: `true`. */
  readonly showCustomer?: ShowCustomer | undefined
}

/** The three characters that begin or end Slack's markup. */
const escape = (text: string): string => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")

/** The channel `slack`. Fails with `InvalidInput` on the field `url`. @since 0.1.0 */
export const layer = (options: SlackChannelOptions): Layer.Layer<never, InvalidInput, AlertChannels> => {
  const { name = "slack", showCustomer, url } = options
  return layerChannel(
    Effect.map(SafeHttp.make(name, url, options), (post): AlertChannel => ({
      name,
      send: ({ alert }) => post(JSON.stringify({ text: escape(inChat(sentence(alert), alert, showCustomer)) }))
    }))
  )
}
