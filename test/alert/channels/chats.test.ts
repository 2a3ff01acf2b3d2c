import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as DiscordChannel from "../../../src/alert/channels/DiscordChannel.ts"
import * as SlackChannel from "../../../src/alert/channels/SlackChannel.ts"
import type { ServiceName } from "../../../src/domain/Service.ts"
import { channelOf, customer, deliveryOf, failureOf, receiver, status } from "../../support/alertChannels.ts"

const options = (port: number) => ({
  url: Redacted.make(`http://127.0.0.1:${port}/services/T0/B0/url-secret`),
  allowPrivateAddresses: true
})
const hostile = customer("<!channel> & `@everyone` *b* <@U1>")

describe("SlackChannel", () => {
  it.live("posts the sentence, in which a customer's id is text", () =>
    Effect.gen(function* () {
      const { port, received } = yield* receiver(status(200))
      const slack = yield* channelOf(SlackChannel.layer(options(port)))
      yield* slack.send(deliveryOf())
      yield* slack.send(deliveryOf(hostile))
      yield* (yield* channelOf(SlackChannel.layer({ ...options(port), showCustomer: false }))).send(deliveryOf(hostile))
      assert.deepStrictEqual(
        received.map(({ body }) => JSON.parse(body) as unknown),
        [
          { text: "WARNING: api usage at 78% - 78000/100000 [`acme`]" },
          {
            text: "WARNING: api usage at 78% - 78000/100000 [`&lt;!channel&gt; &amp; ˋ@everyoneˋ *b* &lt;@U1&gt;`]"
          },
          { text: "WARNING: api usage at 78% - 78000/100000" }
        ]
      )
    })
  )

  it.live("a URL that was withdrawn is not tried again, and not told", () =>
    Effect.gen(function* () {
      const { port } = yield* receiver(status(410))
      const error = yield* failureOf(yield* channelOf(SlackChannel.layer(options(port))))
      assert.strictEqual(error.message, "slack: 127.0.0.1 answered 410")
      assert.isFalse(error.isRetryable)
    })
  )
})

describe("DiscordChannel", () => {
  it.live("posts the sentence, in which a customer's id is text and nobody is mentioned", () =>
    Effect.gen(function* () {
      const { port, received } = yield* receiver(status(204))
      const discord = yield* channelOf(DiscordChannel.layer(options(port)))
      yield* discord.send(deliveryOf({ ...hostile, service: "my_gpu_hours" as ServiceName }))
      assert.deepStrictEqual(JSON.parse(received[0]!.body) as unknown, {
        content: "WARNING: my\\_gpu\\_hours usage at 78% - 78000/100000 [`<!channel> & ˋ@everyoneˋ *b* <@U1>`]",
        allowed_mentions: { parse: [] }
      })
    })
  )

  it.live("is patient with limits", () =>
    Effect.gen(function* () {
      const { port } = yield* receiver(status(429, { "retry-after": "1" }))
      assert.isTrue((yield* failureOf(yield* channelOf(DiscordChannel.layer(options(port))))).isRetryable)
    })
  )
})
