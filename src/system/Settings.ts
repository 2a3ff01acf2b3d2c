/** The environment variables, each read in one place, and the environment that programs started by us are given. */
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import { join } from "node:path"

/** A duration: a plain number is seconds, as in the environment of shell scripts; `500 millis` and the like work too. */
export const parseDuration = (text: string): Option.Option<Duration.Duration> => {
  const trimmed = text.trim()
  if (/^\d+(\.\d+)?$/.test(trimmed)) return Option.some(Duration.seconds(Number(trimmed)))
  const match = /^(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)$/.exec(trimmed)
  const units = { ms: "millis", s: "seconds", m: "minutes", h: "hours", d: "days" } as const
  return Duration.fromInput(
    (match === null ? trimmed : `${match[1]!} ${units[match[2] as keyof typeof units]}`) as Duration.Input
  )
}

const DurationText = Schema.String.check(
  Schema.makeFilter(
    (text) =>
      Option.isSome(parseDuration(text)) || `${JSON.stringify(text)} is not a duration such as 5, 500ms or "2 minutes"`
  )
).pipe(
  Schema.decodeTo(
    Schema.Duration,
    SchemaTransformation.transform({
      decode: (text) => Option.getOrElse(parseDuration(text), () => Duration.zero),
      encode: (duration) => `${Duration.toMillis(duration)} millis`
    })
  )
)

/** Read by the driver, where a URL has no password, and by AWS's client, where it takes the role of a task. */
const secrets = new Set(["PGPASSWORD", "AWS_CONTAINER_AUTHORIZATION_TOKEN"])

/** A setting that is never passed on. */
const secret = (name: string) => {
  secrets.add(name)
  return Config.option(Config.Redacted(name))
}

const PositiveInt = Schema.FiniteFromString.check(Schema.isInt(), Schema.isBetween({ minimum: 1, maximum: 100_000 }))

/** `USAGE_BATCH_SIZE`, 100. */
export const batchSize = Config.schema(PositiveInt, "USAGE_BATCH_SIZE").pipe(Config.withDefault(100))

/** `USAGE_BATCH_TIMEOUT`, 5 seconds. */
export const batchTimeout = Config.schema(DurationText, "USAGE_BATCH_TIMEOUT").pipe(
  Config.withDefault(Duration.seconds(5))
)

/** `USAGE_DATABASE_URL`: a PostgreSQL server. Absent or empty: the embedded database in `home`. */
export const databaseUrl = secret("USAGE_DATABASE_URL")

/** `USAGE_HOME`, `./.usage`: where the embedded database and the spool are. */
export const home = Config.String("USAGE_HOME").pipe(Config.withDefault("./.usage"))

/** `USAGE_CUSTOMER_ID`: the customer where a command names none. */
export const customerId = Config.option(Config.String("USAGE_CUSTOMER_ID"))

/** `USAGE_SCHEMA`, `public`: the PostgreSQL schema of the tables. */
export const schema = Config.String("USAGE_SCHEMA").pipe(Config.withDefault("public"))

/** `USAGE_SPOOL_KEEP`, 10 minutes: how long delivered batches are kept; 0: not at all. */
export const spoolKeep = Config.schema(DurationText, "USAGE_SPOOL_KEEP").pipe(Config.withDefault(Duration.minutes(10)))

const alertPrefix = "USAGE_ALERT_"

/** A variable of alerts. The thresholds' are read here, the channels' in `ChannelConfig`. */
export type AlertVariable = `${typeof alertPrefix}${string}`

const thresholds = new Set<string>()

const percent = (name: AlertVariable, otherwise: string) => {
  thresholds.add(name)
  return Config.String(name).pipe(Config.withDefault(otherwise))
}

/** `USAGE_ALERT_WARNING`, `_CRITICAL`, `_EXCEEDED`: percent of a quota; 75, 90, 100. */
export const alertThresholds = Config.all({
  warning: percent("USAGE_ALERT_WARNING", "75"),
  critical: percent("USAGE_ALERT_CRITICAL", "90"),
  exceeded: percent("USAGE_ALERT_EXCEEDED", "100")
})

/** `USAGE_ARCHIVE_DIR`: where archives go; `archives` in `home`, if absent. */
export const archiveDirectory = Config.map(
  Config.all({ home, configured: Config.String("USAGE_ARCHIVE_DIR").pipe(Config.withDefault("")) }),
  ({ configured, home }) => (configured === "" ? join(home, "archives") : configured)
)

/** `USAGE_RETENTION_DAYS`: how long records without a rule are kept before they are archived; for ever, if absent. */
export const retentionDays = Config.option(Config.String("USAGE_RETENTION_DAYS")).pipe(
  Config.map((days) => (Option.isSome(days) && days.value.trim() !== "" ? Number(days.value) : undefined))
)

const optional = (name: string) => Config.option(Config.String(name))

/** The object store from AWS's own variables: `AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL_S3`, … */
export const objectStore = Config.all({
  accessKeyId: optional("AWS_ACCESS_KEY_ID"),
  secretAccessKey: secret("AWS_SECRET_ACCESS_KEY"),
  sessionToken: secret("AWS_SESSION_TOKEN"),
  endpoint: optional("AWS_ENDPOINT_URL_S3"),
  anyEndpoint: optional("AWS_ENDPOINT_URL"),
  region: optional("AWS_REGION"),
  defaultRegion: optional("AWS_DEFAULT_REGION")
})

/** A connection URL without its password; `undefined` if it cannot be parsed. */
const withoutPassword = (text: string): string | undefined => {
  const url = URL.parse(text)
  if (url === null) return undefined
  url.password = ""
  // Rewritten only where needed: `%20` would become `+`, which libpq reads as a plus sign.
  if (url.searchParams.has("password")) url.searchParams.delete("password")
  return url.href
}

/**
 * The environment for a program that we start, without our secrets.
 *
 * - Of `USAGE_ALERT_…` only the thresholds are passed on, so the secret of a channel that is added tomorrow stays here although
 *   nobody lists it.
 * - Everything else is passed on except the secrets that are read here. An allow-list would be safer still, but few programs
 *   would work: they need `PATH`, proxies, certificates and the token of the pager that they call, whatever its name is.
 * - The database's URL is passed on without its password. Without the URL a program that starts `usage` would silently use the
 *   embedded database; this way it is refused, or has a password of its own.
 */
export const childEnvironment = (env: NodeJS.ProcessEnv): NodeJS.ProcessEnv => {
  const passes = (name: string) => (name.startsWith(alertPrefix) ? thresholds.has(name) : !secrets.has(name))
  const url = env["USAGE_DATABASE_URL"]
  return {
    ...Object.fromEntries(Object.entries(env).filter(([name]) => passes(name))),
    ...(url !== undefined && { USAGE_DATABASE_URL: withoutPassword(url) })
  }
}
