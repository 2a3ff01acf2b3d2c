/**
 * The channels that the environment names, for the command.
 *
 * `USAGE_ALERT_CHANNELS` is a list of names, `log` if it is absent; each channel has variables of its own. What is wrong is an
 * `InvalidInput` that names the variable, and never what is in it.
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { join } from "node:path"
import { excerpt, InvalidInput } from "../domain/InvalidInput.ts"
import * as Settings from "../system/Settings.ts"
import type { AlertChannels } from "./AlertChannels.ts"
import type { ShowCustomer } from "./AlertText.ts"
import * as CommandChannel from "./channels/CommandChannel.ts"
import * as DiscordChannel from "./channels/DiscordChannel.ts"
import * as JsonLinesChannel from "./channels/JsonLinesChannel.ts"
import * as LogFileChannel from "./channels/LogFileChannel.ts"
import * as MailChannel from "./channels/MailChannel.ts"
import * as SlackChannel from "./channels/SlackChannel.ts"
import * as TerminalChannel from "./channels/TerminalChannel.ts"
import * as WebhookChannel from "./channels/WebhookChannel.ts"
import { parseSmtpUrl } from "./SmtpUrl.ts"

type ChannelLayer = Layer.Layer<never, InvalidInput, AlertChannels>
type Read = Effect.Effect<ChannelLayer, InvalidInput | Config.ConfigError>

/** A variable that is absent or blank is not given. */
const optional = (name: string) =>
  Config.option(Config.String(name)).pipe(Config.map(Option.filter((text) => text.trim() !== "")))

const missing = (field: string, remedy: string) => new InvalidInput({ field, problem: "is not set", remedy })

const required = Effect.fnUntraced(function* (name: string, remedy: string) {
  const text = Option.getOrUndefined(yield* optional(name))
  return text === undefined ? yield* missing(name, remedy) : text.trim()
})

const secret = (name: string, remedy: string) =>
  Effect.map(required(name, remedy), (text) => Redacted.make(text, { label: name }))

const fileIn = (name: string, otherwise: string) =>
  Effect.gen(function* () {
    const home = yield* Settings.home
    return Option.getOrElse(yield* optional(name), () => join(home, otherwise))
  })

/** The channel's own names of what is wrong, as the variables that they come from. */
const renamed = (layer: ChannelLayer, variables: Readonly<Record<string, string>>): ChannelLayer =>
  Layer.catch(layer, (error) => {
    const field = variables[error.field.replace(/\[\d+\]$/, "")] ?? error.field
    return Layer.effectDiscard(Effect.fail(new InvalidInput({ field, problem: error.problem, remedy: error.remedy })))
  })

const webhook: Read = Effect.gen(function* () {
  const url = yield* secret("USAGE_ALERT_WEBHOOK_URL", "Give the URL that alerts are posted to")
  const remedy = "Give whsec_ and 24 to 64 random bytes in base64; several with spaces between while they are replaced"
  const [first, ...others] = (yield* required("USAGE_ALERT_WEBHOOK_SECRET", remedy))
    .split(/\s+/)
    .map((text) => Redacted.make(text, { label: "USAGE_ALERT_WEBHOOK_SECRET" }))
  const allowPrivateAddresses = yield* Config.Boolean("USAGE_ALERT_WEBHOOK_ALLOW_PRIVATE").pipe(
    Config.withDefault(false)
  )
  return renamed(WebhookChannel.layer({ url, secrets: [first!, ...others], allowPrivateAddresses }), {
    url: "USAGE_ALERT_WEBHOOK_URL",
    secrets: "USAGE_ALERT_WEBHOOK_SECRET"
  })
})

const mail: Read = Effect.gen(function* () {
  const server = yield* parseSmtpUrl(
    "USAGE_ALERT_SMTP_URL",
    yield* secret("USAGE_ALERT_SMTP_URL", "Give the mail server, such as smtp://user:password@mail.example.com:587")
  )
  const from = yield* required("USAGE_ALERT_MAIL_FROM", "Give the sender, such as usage@example.com")
  const [first = "", ...others] = (yield* required("USAGE_ALERT_MAIL_TO", "Give the receivers, with commas between"))
    .split(",")
    .map((text) => text.trim())
    .filter((text) => text !== "")
  return renamed(MailChannel.layer({ ...server, from, to: [first, ...others] }), {
    host: "USAGE_ALERT_SMTP_URL",
    port: "USAGE_ALERT_SMTP_URL",
    password: "USAGE_ALERT_SMTP_URL",
    from: "USAGE_ALERT_MAIL_FROM",
    to: "USAGE_ALERT_MAIL_TO"
  })
})

const channels: Readonly<Record<string, (showCustomer: ShowCustomer) => Read>> = {
  terminal: (showCustomer) => Effect.succeed(TerminalChannel.layer({ showCustomer })),
  log: (showCustomer) =>
    Effect.map(fileIn("USAGE_ALERT_LOG", "alerts.log"), (file) =>
      renamed(LogFileChannel.layer({ file, showCustomer }), { file: "USAGE_ALERT_LOG" })
    ),
  json: () =>
    Effect.map(fileIn("USAGE_ALERT_JSON", "alerts.ndjson"), (file) =>
      renamed(JsonLinesChannel.layer(file === "-" ? { stdout: true } : { file }), { file: "USAGE_ALERT_JSON" })
    ),
  webhook: () => webhook,
  slack: () =>
    Effect.map(secret("USAGE_ALERT_SLACK_URL", "Give the URL of an incoming webhook of Slack"), (url) =>
      renamed(SlackChannel.layer({ url }), { url: "USAGE_ALERT_SLACK_URL" })
    ),
  discord: () =>
    Effect.map(secret("USAGE_ALERT_DISCORD_URL", "Give the URL of a webhook of Discord"), (url) =>
      renamed(DiscordChannel.layer({ url }), { url: "USAGE_ALERT_DISCORD_URL" })
    ),
  mail: () => mail,
  command: () =>
    Effect.map(required("USAGE_ALERT_COMMAND", "Give the path of a program"), (command) =>
      renamed(CommandChannel.layer({ command }), { command: "USAGE_ALERT_COMMAND" })
    )
}

const readNames = Effect.gen(function* () {
  const text = Option.getOrElse(yield* optional("USAGE_ALERT_CHANNELS"), () => "log")
  // A monitor that only records.
  if (text.trim() === "none") return []
  const names = [...new Set(text.split(",").map((name) => name.trim()))].filter((name) => name !== "")
  const unknown = names.find((name) => !Object.hasOwn(channels, name))
  if (unknown === undefined) return names
  return yield* new InvalidInput({
    field: "USAGE_ALERT_CHANNELS",
    problem: `there is no channel ${excerpt(unknown)}`,
    remedy: `Give some of ${Object.keys(channels).join(", ")}, with commas between, or none`
  })
})

/**
 * The channels that the environment names. `about`: the one customer that is looked at; the shell system's lines, in a log and
 * on a terminal, name every other.
 */
export const layerConfig = (
  about: string | undefined
): Layer.Layer<never, InvalidInput | Config.ConfigError, AlertChannels> =>
  Layer.unwrap(
    Effect.gen(function* () {
      const showCustomer = about === undefined || { except: about }
      const layers = yield* Effect.forEach(yield* readNames, (name) => channels[name]!(showCustomer))
      return Layer.mergeAll(Layer.empty, ...layers)
    })
  )
