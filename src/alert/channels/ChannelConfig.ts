/**
 * The channels that the command knows, each described once, and those of them that the environment asks for.
 *
 * `USAGE_ALERT_CHANNELS` is a list of names, `log` by default; each channel has variables of its own. A mistake is an
 * `InvalidInput` that names the variable, and never its value.
 *
 * Everything about a channel comes from its entry in `channelTable`: what to give for a missing variable, which variable an
 * option came from, the help of `usage alerts test`, and the table in `docs/quotas-and-alerts.md`. A channel's code is loaded
 * when it is used. All variables begin with `USAGE_ALERT_`, which keeps them from the channel `command`
 * (`Settings.childEnvironment`).
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { join } from "node:path"
import { excerpt, InvalidInput } from "../../domain/InvalidInput.ts"
import type { NotInstalled } from "../../domain/NotInstalled.ts"
import * as Settings from "../../system/Settings.ts"
import type { AlertChannels } from "../AlertChannels.ts"
import type { ShowCustomer } from "../AlertText.ts"
import { parseSmtpUrl } from "../SmtpUrl.ts"

/**
 * A variable of a channel.
 *
 * - `means`: what to give, as a remedy says it: "Give …"
 * - `isSecret`: whether it is read as `Redacted`
 * - `options`: the options that it becomes, if they are several or have another name
 */
interface Variable<A> {
  readonly name: Settings.AlertVariable
  readonly means: string
  readonly isSecret: boolean
  readonly options?: ReadonlyArray<string>
  readonly read: Effect.Effect<A, InvalidInput | Config.ConfigError>
}

/** An absent or blank variable counts as not given. */
const optional = (name: string) =>
  Config.option(Config.String(name)).pipe(Config.map(Option.filter((text) => text.trim() !== "")))

const required = (name: Settings.AlertVariable, means: string): Variable<string> => ({
  name,
  means,
  isSecret: false,
  read: Effect.flatMap(
    optional(name),
    Option.match({
      onNone: () => Effect.fail(new InvalidInput({ field: name, problem: "is not set", remedy: `Give ${means}` })),
      onSome: (text) => Effect.succeed(text.trim())
    })
  )
})

/** A text that only the channel may read. */
export const secret = (name: Settings.AlertVariable, means: string): Variable<Redacted.Redacted> => ({
  name,
  means,
  isSecret: true,
  read: Effect.map(required(name, means).read, (text) => Redacted.make(text, { label: name }))
})

/** A file, by default in the home directory. */
const file = (name: Settings.AlertVariable, otherwise: string, means: string): Variable<string> => ({
  name,
  means: `${means}; \`$USAGE_HOME/${otherwise}\`, if absent`,
  isSecret: false,
  read: Effect.gen(function* () {
    const home = yield* Settings.home
    return Option.getOrElse(yield* optional(name), () => join(home, otherwise))
  })
})

const isTrue = (name: Settings.AlertVariable, means: string): Variable<boolean> => ({
  name,
  means,
  isSecret: false,
  read: Config.Boolean(name).pipe(Config.withDefault(false))
})

type ConfiguredLayer = Layer.Layer<never, InvalidInput | NotInstalled | Config.ConfigError, AlertChannels>
type ChannelLayer = Layer.Layer<never, InvalidInput | NotInstalled, AlertChannels>

/**
 * A channel in the table.
 *
 * - `does`: where alerts go
 * - `layer`: reads the variables; an `InvalidInput` names the variable that is wrong
 */
export interface Described {
  readonly does: string
  readonly variables: ReadonlyArray<Pick<Variable<unknown>, "name" | "means" | "isSecret">>
  readonly layer: (showCustomer: ShowCustomer) => ConfiguredLayer
}

/** Describes a channel: its variables, by the names of the options that they become, and the layer made of them. */
export const channel = <Module, Values extends Readonly<Record<string, unknown>>>(described: {
  readonly does: string
  readonly variables: { readonly [Option in keyof Values]: Variable<Values[Option]> }
  readonly load: () => Promise<Module>
  readonly layer: (module: Module, values: Values, showCustomer: ShowCustomer) => ChannelLayer
}): Described => {
  const variables: ReadonlyArray<readonly [string, Variable<unknown>]> = Object.entries(described.variables)
  const nameOf = (option: string) =>
    variables.find(([key, { options = [key] }]) => options.includes(option.replace(/\[\d+\]$/, "")))?.[1].name ?? option
  const renamed = ({ field, problem, remedy }: InvalidInput) =>
    new InvalidInput({ field: nameOf(field), problem, remedy })
  return {
    does: described.does,
    variables: variables.map(([, variable]) => variable),
    layer: (showCustomer) =>
      Layer.unwrap(
        Effect.gen(function* () {
          const read = yield* Effect.forEach(variables, ([option, variable]) =>
            Effect.map(variable.read, (value) => [option, value] as const)
          )
          const module = yield* Effect.promise(described.load)
          // The keys are those of the variables, which have these types.
          const layer = described.layer(module, Object.fromEntries(read) as Values, showCustomer)
          return Layer.catchTag(layer, "InvalidInput", (error) => Layer.effectDiscard(Effect.fail(renamed(error))))
        })
      )
  }
}

/** The channels by their names. */
export const channelTable: Readonly<Record<string, Described>> = {
  terminal: channel({
    does: "lines on stderr",
    variables: {},
    load: () => import("./TerminalChannel.ts"),
    layer: ({ layer }, _, showCustomer) => layer({ showCustomer })
  }),
  log: channel({
    does: "lines in a log file, such as `[2026-01-30 14:23:45] warning ALERT for api: 78000/100000 (78%) [acme]`",
    variables: { file: file("USAGE_ALERT_LOG", "alerts.log", "the log file") },
    load: () => import("./LogFileChannel.ts"),
    layer: ({ layer }, { file }, showCustomer) => layer({ file, showCustomer })
  }),
  json: channel({
    does: "lines of JSON in a file or on stdout, for other programs",
    variables: { file: file("USAGE_ALERT_JSON", "alerts.ndjson", "the file, or `-` for stdout") },
    load: () => import("./JsonLinesChannel.ts"),
    layer: ({ layer }, { file }) => layer(file === "-" ? { stdout: true } : { file })
  }),
  webhook: channel({
    does: "an HTTP endpoint, signed as Standard Webhooks",
    variables: {
      url: secret("USAGE_ALERT_WEBHOOK_URL", "the URL that alerts are posted to"),
      secrets: secret(
        "USAGE_ALERT_WEBHOOK_SECRET",
        "`whsec_` and 24 to 64 random bytes in base64; several with spaces between while they are replaced"
      ),
      allowPrivateAddresses: isTrue("USAGE_ALERT_WEBHOOK_ALLOW_PRIVATE", "`true` if the receiver is in your network")
    },
    load: () => import("./WebhookChannel.ts"),
    layer: ({ layer }, { allowPrivateAddresses, secrets, url }) => {
      const [first = secrets, ...others] = Redacted.value(secrets)
        .split(/\s+/)
        .map((text) => Redacted.make(text, { label: "USAGE_ALERT_WEBHOOK_SECRET" }))
      return layer({ url, secrets: [first, ...others], allowPrivateAddresses })
    }
  }),
  slack: channel({
    does: "a channel of Slack",
    variables: { url: secret("USAGE_ALERT_SLACK_URL", "the URL of an incoming webhook of Slack") },
    load: () => import("./SlackChannel.ts"),
    layer: ({ layer }, { url }) => layer({ url })
  }),
  discord: channel({
    does: "a channel of Discord",
    variables: { url: secret("USAGE_ALERT_DISCORD_URL", "the URL of a webhook of Discord") },
    load: () => import("./DiscordChannel.ts"),
    layer: ({ layer }, { url }) => layer({ url })
  }),
  mail: channel({
    does: "mail, over SMTP",
    variables: {
      server: {
        ...secret("USAGE_ALERT_SMTP_URL", "the mail server, such as `smtp://user:password@mail.example.com:587`"),
        options: ["host", "port", "password"]
      },
      from: required("USAGE_ALERT_MAIL_FROM", "the sender, such as `usage@example.com`"),
      to: required("USAGE_ALERT_MAIL_TO", "the receivers, with commas between")
    },
    load: () => import("./MailChannel.ts"),
    layer: ({ layer }, { from, server, to }) => {
      const [first = "", ...others] = to
        .split(",")
        .map((text) => text.trim())
        .filter((text) => text !== "")
      return Layer.unwrap(
        Effect.map(parseSmtpUrl("USAGE_ALERT_SMTP_URL", server), (server) =>
          layer({ ...server, from, to: [first, ...others] })
        )
      )
    }
  }),
  command: channel({
    does: "a program of yours, with the alert as JSON on stdin",
    variables: { command: required("USAGE_ALERT_COMMAND", "the path of a program") },
    load: () => import("./CommandChannel.ts"),
    layer: ({ layer }, { command }) => layer({ command })
  })
}

const readNames = Effect.gen(function* () {
  const text = Option.getOrElse(yield* optional("USAGE_ALERT_CHANNELS"), () => "log")
  // The monitor only records.
  if (text.trim() === "none") return []
  const names = [...new Set(text.split(",").map((name) => name.trim()))].filter((name) => name !== "")
  const unknown = names.find((name) => !Object.hasOwn(channelTable, name))
  if (unknown === undefined) return names
  return yield* new InvalidInput({
    field: "USAGE_ALERT_CHANNELS",
    problem: `there is no channel ${excerpt(unknown)}`,
    remedy: `Give some of ${Object.keys(channelTable).join(", ")}, with commas between, or none`
  })
})

/**
 * The channels that the environment names. `about`: the customer that a command is about; lines in a log and on a terminal name
 * every other one, as those of the shell system did.
 */
export const layerConfig = (about: string | undefined): ConfiguredLayer =>
  Layer.unwrap(
    Effect.map(readNames, (names) => {
      const showCustomer = about === undefined || { except: about }
      return Layer.mergeAll(Layer.empty, ...names.map((name) => channelTable[name]!.layer(showCustomer)))
    })
  )
