import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { Webhook } from "standardwebhooks"
import * as WebhookChannel from "../../../src/alert/channels/WebhookChannel.ts"
import { InvalidInput } from "../../../src/domain/InvalidInput.ts"
import { toJson } from "../../../src/domain/Alert.ts"
import {
  alertOf,
  channelOf,
  deliveryOf,
  failureOf,
  type Received,
  receiver,
  status
} from "../../support/alertChannels.ts"

const secret = (seed: string) => `whsec_${Buffer.from(seed.repeat(32).slice(0, 32)).toString("base64")}`
const [old, fresh] = [secret("old"), secret("new")]

const channel = (port: number, ...secrets: ReadonlyArray<string>) => {
  const [first = old, ...others] = secrets.map((text) => Redacted.make(text))
  return channelOf(
    WebhookChannel.layer({
      url: Redacted.make(`http://127.0.0.1:${port}/hooks?token=url-secret`),
      secrets: [typeof first === "string" ? Redacted.make(first) : first, ...others],
      allowPrivateAddresses: true,
      timeout: "2 seconds"
    })
  )
}

/** What the receiver with this secret makes of a request, by the reference implementation. */
const verified = (withSecret: string, { body, headers }: Received): unknown =>
  new Webhook(withSecret).verify(body, headers as Record<string, string>)

describe("WebhookChannel", () => {
  it.live("posts the alert, signed as Standard Webhooks has it", () =>
    Effect.gen(function* () {
      const { port, received } = yield* receiver(status(204))
      const delivery = deliveryOf()
      yield* (yield* channel(port)).send(delivery)
      const [request] = received
      assert.deepStrictEqual(verified(old, request!), {
        type: "usage.alert.quota",
        timestamp: "2026-01-30T14:23:45Z",
        data: toJson(delivery.alert)
      })
      assert.strictEqual(request!.headers["webhook-id"], delivery.id)
      assert.strictEqual(request!.headers["content-type"], "application/json")
      assert.strictEqual(request!.url, "/hooks?token=url-secret")
      assert.throws(() => verified(fresh, request!))
    })
  )

  it.live("names the kind of the alert", () =>
    Effect.gen(function* () {
      const { port, received } = yield* receiver(status(200))
      const { send } = yield* channel(port)
      yield* send(deliveryOf({ kind: "recovery" }))
      yield* send(deliveryOf({ kind: "spike", level: undefined }))
      assert.deepStrictEqual(
        received.map((request) => (verified(old, request) as { readonly type: string }).type),
        ["usage.alert.recovery", "usage.alert.spike"]
      )
    })
  )

  it.live("while a secret is replaced, receivers that know either accept it", () =>
    Effect.gen(function* () {
      const { port, received } = yield* receiver(status(200))
      yield* (yield* channel(port, fresh, old)).send(deliveryOf())
      const [request] = received
      assert.deepStrictEqual(verified(old, request!), verified(fresh, request!))
      const signatures = (request!.headers["webhook-signature"] as string).split(" ")
      const alone = { ...request!, headers: { ...request!.headers, "webhook-signature": signatures[0] } }
      verified(fresh, alone)
      assert.throws(() => verified(old, alone))
    })
  )

  it.live("is the same message at every attempt", () =>
    Effect.gen(function* () {
      let answers = 0
      const { port, received } = yield* receiver((response) => status(++answers === 1 ? 500 : 200)(response))
      const webhook = yield* channel(port)
      assert.isTrue((yield* failureOf(webhook)).isRetryable)
      yield* webhook.send(deliveryOf({}, 2))
      assert.strictEqual(received[0]!.headers["webhook-id"], received[1]!.headers["webhook-id"])
      assert.strictEqual(received[0]!.body, received[1]!.body)
    })
  )

  it.live("a failure tells neither the secret nor the URL", () =>
    Effect.gen(function* () {
      const { port } = yield* receiver(status(404))
      const { isRetryable, message } = yield* failureOf(yield* channel(port))
      assert.strictEqual(message, "webhook: 127.0.0.1 answered 404")
      assert.isFalse(isRetryable)
    })
  )

  it.live("a hostile customer's id stays a string", () =>
    Effect.gen(function* () {
      const { port, received } = yield* receiver(status(200))
      const { alert } = deliveryOf({ customer: `","type":"x" \u2028 é 🎈` as never })
      yield* (yield* channel(port)).send({ ...deliveryOf(), alert })
      assert.deepStrictEqual(verified(old, received[0]!), {
        type: "usage.alert.quota",
        timestamp: "2026-01-30T14:23:45Z",
        data: toJson(alertOf({ customer: alert.customer }))
      })
    })
  )

  it.effect.each([
    "",
    "whsec_",
    "hunter2hunter2hunter2hunter2hunter2",
    `whsec_${Buffer.alloc(23, 7).toString("base64")}`,
    `whsec_${Buffer.alloc(65, 7).toString("base64")}`,
    `whsec_${Buffer.alloc(32, 255).toString("base64url")}`,
    `${old}\n`
  ])("refuses the secret %j without showing it", (text) =>
    Effect.gen(function* () {
      for (const secrets of [[text], [old, text]]) {
        const error = yield* Effect.flip(channel(80, ...secrets))
        assert.instanceOf(error, InvalidInput)
        assert.strictEqual(error.field, secrets.length === 1 ? "secrets" : "secrets[1]")
        const key = text.trim().replace("whsec_", "")
        if (key !== "") assert.notInclude(error.message, key)
      }
    })
  )
})
