import { assert, describe, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { AlertChannels } from "../../../src/alert/AlertChannels.ts"
import { layerConfig } from "../../../src/alert/channels/ChannelConfig.ts"
import { InvalidInput } from "../../../src/domain/InvalidInput.ts"
import { deliveryOf, receiver, status, temporaryDirectory } from "../../support/alertChannels.ts"

type Environment = Readonly<Record<string, string>>

/** The channels of an environment. */
const configured = (env: Environment) =>
  Effect.flatMap(AlertChannels, ({ all }) => all).pipe(
    Effect.provide(
      Layer.provideMerge(layerConfig(undefined), Layer.fresh(AlertChannels.layer)).pipe(
        Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env })))
      )
    )
  )

const secret = `whsec_${Buffer.alloc(32, 7).toString("base64")}`
const other = `whsec_${Buffer.alloc(32, 8).toString("base64")}`

const everything: Environment = {
  USAGE_ALERT_CHANNELS: "terminal, log,json,webhook,slack,discord,mail,command,log,",
  USAGE_ALERT_WEBHOOK_URL: "https://hooks.example.com/usage",
  USAGE_ALERT_WEBHOOK_SECRET: `${secret}  ${other}`,
  USAGE_ALERT_SLACK_URL: "https://hooks.slack.com/services/T0/B0/x",
  USAGE_ALERT_DISCORD_URL: "https://discord.com/api/webhooks/1/x",
  USAGE_ALERT_SMTP_URL: "smtps://usage%40example.com:p%3Ass@mail.example.com",
  USAGE_ALERT_MAIL_FROM: "usage@example.com",
  USAGE_ALERT_MAIL_TO: "ops@example.com, boss@example.com",
  USAGE_ALERT_COMMAND: "/usr/local/bin/page"
}

describe("ChannelConfig", () => {
  it.live("is a log in the home directory, if nothing is said", () =>
    Effect.gen(function* () {
      const home = join(yield* temporaryDirectory, "home")
      for (const env of [{ USAGE_HOME: home }, { USAGE_HOME: home, USAGE_ALERT_CHANNELS: " " }]) {
        const channels = yield* configured(env)
        assert.deepStrictEqual(
          channels.map(({ name }) => name),
          ["log"]
        )
        yield* channels[0]!.send(deliveryOf())
      }
      assert.strictEqual(readFileSync(join(home, "alerts.log"), "utf8").split("\n").length, 3)
    })
  )

  it.effect("has a channel of every kind", () =>
    Effect.gen(function* () {
      const names = (yield* configured(everything)).map(({ name }) => name)
      assert.sameMembers(names, ["terminal", "log", "json", "webhook", "slack", "discord", "mail", "command"])
    })
  )

  it.live("files are where the variables say", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const [log, json] = [join(directory, "a.log"), join(directory, "a.ndjson")]
      const env = { USAGE_ALERT_CHANNELS: "log,json", USAGE_ALERT_LOG: log, USAGE_ALERT_JSON: json }
      for (const channel of yield* configured(env)) yield* channel.send(deliveryOf())
      assert.isTrue(existsSync(log) && existsSync(json))
    })
  )

  it.live("a webhook in the own network is allowed by its variable", () =>
    Effect.gen(function* () {
      const { port, received } = yield* receiver(status(200))
      const env = {
        USAGE_ALERT_CHANNELS: "webhook",
        USAGE_ALERT_WEBHOOK_URL: `http://127.0.0.1:${port}/`,
        USAGE_ALERT_WEBHOOK_SECRET: `${secret} ${other}`
      }
      const refused = yield* Effect.flip(configured(env))
      assert.instanceOf(refused, InvalidInput)
      assert.strictEqual(refused.field, "USAGE_ALERT_WEBHOOK_URL")
      const [webhook] = yield* configured({ ...env, USAGE_ALERT_WEBHOOK_ALLOW_PRIVATE: "true" })
      yield* webhook!.send(deliveryOf())
      assert.strictEqual((received[0]!.headers["webhook-signature"] as string).split(" ").length, 2)
    })
  )

  const required = Object.keys(everything).filter((name) => name !== "USAGE_ALERT_CHANNELS")

  it.effect.each(required)("%s is asked for where it is needed", (name) =>
    Effect.gen(function* () {
      for (const env of [{ ...everything, [name]: " " }, withoutVariable(name)]) {
        const error = yield* Effect.flip(configured(env))
        assert.instanceOf(error, InvalidInput)
        assert.strictEqual(error.message, `${name}: is not set. ${error.remedy}.`)
      }
    })
  )

  it.effect.each<readonly [string, string]>([
    ["USAGE_ALERT_CHANNELS", "log,pigeon"],
    ["USAGE_ALERT_CHANNELS", "constructor"],
    ["USAGE_ALERT_WEBHOOK_URL", "https://user:pa55@hooks.example.com/"],
    ["USAGE_ALERT_WEBHOOK_SECRET", "pa55"],
    ["USAGE_ALERT_WEBHOOK_SECRET", `${secret} pa55`],
    ["USAGE_ALERT_SLACK_URL", "pa55"],
    ["USAGE_ALERT_DISCORD_URL", "ftp://pa55"],
    ["USAGE_ALERT_SMTP_URL", "pa55"],
    ["USAGE_ALERT_SMTP_URL", "https://pa55@mail.example.com"],
    ["USAGE_ALERT_SMTP_URL", "smtp://user@mail.example.com"],
    ["USAGE_ALERT_SMTP_URL", "smtp://user:pa55%@mail.example.com"],
    ["USAGE_ALERT_SMTP_URL", "smtp://user:pa55@mail.example.com?tls=no"],
    ["USAGE_ALERT_SMTP_URL", "smtp://user:pa55@mail.example.com:0"],
    ["USAGE_ALERT_MAIL_FROM", "usage"],
    ["USAGE_ALERT_MAIL_TO", "ops@example.com, boss"],
    ["USAGE_ALERT_MAIL_TO", ","]
  ])("a wrong %s is told without its content: %s", ([name, text]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(configured({ ...everything, [name]: text }))
      assert.instanceOf(error, InvalidInput)
      assert.strictEqual(error.field, name)
      assert.notInclude(error.message, "pa55")
    })
  )
})

const withoutVariable = (name: string): Environment =>
  Object.fromEntries(Object.entries(everything).filter(([key]) => key !== name))
