/** What a command needs from outside: which database, which customer, and how to speak on stderr. */
import { join } from "node:path"
import { setFlagsFromString } from "node:v8"
import * as Config from "effect/Config"
import * as Console from "effect/Console"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { Database, isSchemaName } from "../../database/Database.ts"
import type { DatabaseError } from "../../database/DatabaseError.ts"
import { excerpt, InvalidInput } from "../../domain/InvalidInput.ts"
import { printable } from "../../domain/Shown.ts"
import { Spool, type SpoolError } from "../../spool/Spool.ts"
import * as Settings from "../../system/Settings.ts"
import { layerObjectStorageConfig } from "../../files/Storage.ts"
import { DatabaseUrl, Quiet, SchemaName } from "./Flags.ts"

/** Which database the flags and the environment name. */
export const target = Effect.gen(function* () {
  const flagged = yield* DatabaseUrl
  const configured = Option.isSome(flagged) ? flagged : yield* Settings.databaseUrl
  const schema = (yield* SchemaName) ?? (yield* Settings.schema)
  if (!isSchemaName(schema)) {
    return yield* new InvalidInput({
      field: "schema",
      problem: `${excerpt(schema)} is not a schema's name`,
      remedy: "Give lower-case letters, digits and underscores, at most 63"
    })
  }
  const home = yield* Settings.home
  return {
    url: Option.filter(configured, (text) => Redacted.value(text) !== ""),
    schema,
    home
  }
})

/**
 * The database that the flags and the environment name. The engines are loaded when they are used: neither is needed for
 * `--help`, and the embedded one is 20 MB.
 */
export const layerDatabase: Layer.Layer<Database, DatabaseError | InvalidInput | Config.ConfigError, SettingServices> =
  Layer.unwrap(
    Effect.gen(function* () {
      const { home, schema, url } = yield* target
      const shared = yield* SharedDatabases
      const opened = yield* openDatabase(home, schema, url)
      if (shared === undefined) return opened
      const key = JSON.stringify([Option.match(url, { onNone: () => home, onSome: Redacted.value }), schema])
      return Layer.effectContext(shared(key, opened))
    })
  )

type OpenDatabase = Layer.Layer<Database, DatabaseError | InvalidInput>

const openDatabase = Effect.fnUntraced(function* (
  home: string,
  schema: string,
  url: Option.Option<Redacted.Redacted>
): Effect.fn.Return<OpenDatabase> {
  if (Option.isSome(url)) {
    const Postgres = yield* Effect.promise(() => import("../../database/postgres/Postgres.ts"))
    return Postgres.layer({ url: url.value, schema, maxConnections: 4, applicationName: "usage" }).pipe(
      // The library calls it `url`, as it calls that of a webhook.
      Layer.catchTag("InvalidInput", ({ problem, remedy }) =>
        Layer.effect(Database, new InvalidInput({ field: "database-url", problem, remedy }))
      )
    )
  }
  // A command is over before optimised WebAssembly would pay, and it cannot end while that is being compiled: with no
  // function ever hot enough a report takes 1.9 s instead of 3.7, and an import of 200,000 lines no longer.
  yield* Effect.sync(() => setFlagsFromString("--wasm-tiering-budget=1000000000"))
  const Embedded = yield* Effect.promise(() => import("../../database/embedded/Embedded.ts"))
  return Embedded.layer({ directory: home, schema })
})

/** Databases that several commands of one process share: each is opened for the first, and closed after the last. */
export const SharedDatabases = Context.Reference<
  | ((key: string, layer: OpenDatabase) => Effect.Effect<Context.Context<Database>, DatabaseError | InvalidInput>)
  | undefined
>("effect-usage/cli/SharedDatabases", { defaultValue: () => undefined })

export const layerSharedDatabases: Layer.Layer<never> = Layer.effect(
  SharedDatabases,
  Effect.gen(function* () {
    const scope = yield* Effect.scope
    const open = new Map<string, Context.Context<Database>>()
    return (key: string, layer: OpenDatabase) =>
      Effect.suspend(() => {
        const found = open.get(key)
        if (found !== undefined) return Effect.succeed(found)
        return Effect.tap(Layer.buildWithScope(Layer.fresh(layer), scope), (built) =>
          Effect.sync(() => open.set(key, built))
        )
      })
  })
)

/** Whether commands are read from stdin, which is then nobody's data. */
export const StdinIsTaken = Context.Reference<boolean>("effect-usage/cli/StdinIsTaken", { defaultValue: () => false })

/** Stdin, as data. */
export const stdin = Effect.gen(function* () {
  if (!(yield* StdinIsTaken)) return process.stdin
  return yield* new InvalidInput({
    field: "-",
    problem: "stdin has the commands of this run, and no data",
    remedy: "Give a file"
  })
})

/** The database, and the object store of the environment, where archives may be. */
export const layerArchives = Layer.merge(layerDatabase, layerObjectStorageConfig)

/** The spool in `$USAGE_HOME`. It opens no database. */
export const layerSpool: Layer.Layer<Spool, SpoolError | Config.ConfigError> = Layer.unwrap(
  Effect.map(Config.all({ home: Settings.home, keepDelivered: Settings.spoolKeep }), ({ home, keepDelivered }) =>
    Spool.layer({ directory: join(home, "spool"), keepDelivered })
  )
)

type ServiceOf<T> = T extends Effect.Effect<unknown, unknown, infer R> ? R : never
type SettingServices = ServiceOf<typeof DatabaseUrl> | ServiceOf<typeof SchemaName>

/** Whether a person is looking at stderr. */
export const isWatched: Effect.Effect<boolean, never, ServiceOf<typeof Quiet>> = Effect.map(
  Quiet,
  (quiet) => !quiet && process.stderr.isTTY === true
)

/** Whether a person reads stdout, who would rather see figures than read them. */
export const isRead: Effect.Effect<boolean> = Effect.sync(() => process.stdout.isTTY === true)

/** The path of a file that was written, on stdout: as it is for a script, harmless for a terminal. */
export const printPath = Effect.fnUntraced(function* (path: string) {
  yield* Console.log((yield* isRead) ? printable(path) : path)
})

/** A line on stderr, unless `--quiet`. */
export const say = Effect.fnUntraced(function* (line: string) {
  if (!(yield* Quiet)) yield* Console.error(line)
})

/** A line on stderr for a person; a script does not see it. */
export const confirm = Effect.fnUntraced(function* (line: string) {
  if (yield* isWatched) yield* Console.error(line)
})

/** Shows a person how far work is, and takes that away when it ends; `undefined`: nobody is looking. */
export const watched = Effect.fnUntraced(function* <P extends { readonly clear: () => void }, A, E, R>(
  make: (stream: NodeJS.WriteStream) => P,
  run: (progress: P | undefined) => Effect.Effect<A, E, R>
) {
  if (!(yield* isWatched)) return yield* run(undefined)
  const progress = make(process.stderr)
  return yield* Effect.ensuring(run(progress), Effect.sync(progress.clear))
})
