/**
 * Alerts to an HTTP endpoint, signed according to Standard Webhooks (https://www.standardwebhooks.com).
 *
 * - `webhook-id` is the delivery's and the same at every attempt, so that a receiver recognises a repeated one;
 *   `webhook-timestamp` and the signature are the attempt's, so that a late attempt is not taken for a replay.
 * - While a secret is replaced, the request carries a signature by each: receivers that know any of them accept it.
 * - `SafeHttp` documents where it connects to and what it never does.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type { Webhook } from "standardwebhooks"
import { toJson } from "../../domain/Alert.ts"
import { InvalidInput } from "../../domain/InvalidInput.ts"
import * as Instant from "../../domain/Instant.ts"
import type { NotInstalled } from "../../domain/NotInstalled.ts"
import { type AlertChannel, type AlertChannels, type Delivery, layerChannel } from "../AlertChannels.ts"
import * as Optional from "../../system/Optional.ts"
import * as SafeHttp from "../SafeHttp.ts"

/** @since 0.1.0 */
export interface WebhookChannelOptions extends SafeHttp.HttpOptions {
  /** Default: `webhook`. */
  readonly name?: string | undefined
  readonly url: string | Redacted.Redacted
  /** Each `whsec_` and 24 to 64 bytes in base64. All of them sign; there are several while one is replaced. */
  readonly secrets: readonly [Redacted.Redacted, ...ReadonlyArray<Redacted.Redacted>]
}

const base64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/

/** Checks a secret, which is in no message. */
const parseSecret = (
  library: typeof import("standardwebhooks"),
  secret: Redacted.Redacted,
  index: number
): Effect.Effect<Webhook, InvalidInput> => {
  const text = Redacted.value(secret)
  const refuse = (problem: string) =>
    Effect.fail(
      new InvalidInput({
        field: index === 0 ? "secrets" : `secrets[${index}]`,
        problem,
        remedy: "Give whsec_ and 24 to 64 random bytes in base64, as `openssl rand -base64 32` makes them"
      })
    )
  if (!text.startsWith("whsec_")) return refuse("does not begin with whsec_")
  const key = text.slice("whsec_".length)
  if (!base64.test(key)) return refuse("is not in base64 after whsec_")
  const { length } = Buffer.from(key, "base64")
  if (length < 24 || length > 64) return refuse(`has ${length} bytes`)
  return Effect.try({
    try: () => new library.Webhook(text),
    catch: () =>
      new InvalidInput({
        field: "secrets",
        problem: "cannot be used",
        remedy: "Give whsec_ and random bytes in base64"
      })
  })
}

const bodyOf = ({ alert }: Delivery): string =>
  JSON.stringify({
    type: `usage.alert.${alert.kind}`,
    timestamp: Instant.toIso(alert.raisedAt),
    data: toJson(alert)
  })

const make = Effect.fnUntraced(function* (
  options: WebhookChannelOptions
): Effect.fn.Return<AlertChannel, InvalidInput | NotInstalled> {
  const { name = "webhook", secrets, url } = options
  const library = yield* Optional.loaded("standardwebhooks", `the channel ${name}`, () => import("standardwebhooks"))
  const webhooks = yield* Effect.forEach(secrets, (secret, index) => parseSecret(library, secret, index))
  const post = yield* SafeHttp.make(name, url, options)
  return {
    name,
    send: Effect.fn("WebhookChannel.send")(function* (delivery) {
      const now = new Date(yield* Clock.currentTimeMillis)
      const body = bodyOf(delivery)
      yield* post(body, {
        "webhook-id": delivery.id,
        "webhook-timestamp": `${Math.floor(now.getTime() / 1000)}`,
        "webhook-signature": webhooks.map((webhook) => webhook.sign(delivery.id, now, body)).join(" ")
      })
    })
  }
})

/**
 * The channel `webhook`. Fails with `InvalidInput` on the fields `url` and `secrets`, and with `NotInstalled` without
 * `standardwebhooks`.
 *
 * @since 0.1.0
 */
export const layer = (options: WebhookChannelOptions): Layer.Layer<never, InvalidInput | NotInstalled, AlertChannels> =>
  layerChannel(make(options))
