/**
 * The spool: a durable buffer on disk in front of the database, shared by all processes that name its directory.
 *
 * Usage in the spool is safe; `SpoolDelivery`, or a `Batcher` with a spool, brings it into the database, exactly once. Nothing
 * here opens a database. `spool/SpoolDirectory` documents the layout and how other programs drop usage into it.
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { ServiceError } from "../domain/ServiceError.ts"
import { printable } from "../domain/Shown.ts"
import type { UsageRecord } from "../domain/UsageRecord.ts"
import * as Segment from "./Segment.ts"
import * as SpoolDirectory from "./SpoolDirectory.ts"
import type { SpoolStatus } from "./SpoolDirectory.ts"
import { SpoolUnusable } from "./SpoolUnusable.ts"

/** The spool has reached `maxBytes`. @since 0.1.0 */
export class SpoolFull extends Schema.TaggedError<SpoolFull>()("SpoolFull", {
  path: Schema.String,
  maxBytes: Schema.Finite
}) {
  readonly isRetryable = true
  override get message(): string {
    return `the spool in ${printable(this.path)} is full (${this.maxBytes} bytes): deliver it with \`SpoolDelivery.deliverAll\`, or allow it more (\`maxBytes\`)`
  }
}

/** @since 0.1.0 */
export class SpoolError extends ServiceError<SpoolError>()("SpoolError", [SpoolUnusable, SpoolFull]) {}

/**
 * - `directory`: where it is; created if missing
 * - `maxBytes`: how much it may hold, 1 GiB
 * - `keepDelivered`: how long delivered batches are kept, 10 minutes; at most `maxBytes` of them, beside what waits. They are
 *   delivered again if the database lacks them after it failed over or was restored. 0: they are not kept
 *
 * @since 0.1.0
 */
export interface SpoolOptions {
  readonly directory: string
  readonly maxBytes?: number | undefined
  readonly keepDelivered?: Duration.Input | undefined
}

interface Interface {
  /** For writing and delivering segments. @internal */
  readonly directory: SpoolDirectory.SpoolDirectory
  readonly maxBytes: number
  readonly keepDelivered: Duration.Duration
  /** Puts lines of NDJSON, as the `Importer` reads them, into the inbox. They are durable when it returns. */
  readonly drop: (lines: string) => Effect.Effect<void, SpoolError>
  /** Puts a batch into the spool under its key, so that it is stored once even if an earlier attempt has stored it. */
  readonly put: (key: string, records: ReadonlyArray<UsageRecord>) => Effect.Effect<void, SpoolError>
  readonly status: Effect.Effect<SpoolStatus, SpoolError>
  /** Fails if nothing can be written to it. */
  readonly probe: Effect.Effect<void, SpoolError>
  /** Removes useless leftovers of interrupted processes. */
  readonly tidy: Effect.Effect<void, SpoolError>
}

/** @since 0.1.0 */
export class Spool extends Context.Service<Spool, Interface>()("effect-usage/Spool") {
  static readonly layer = (options: SpoolOptions): Layer.Layer<Spool, SpoolError> => Layer.effect(Spool, make(options))
}

const make = Effect.fn("Spool.open")(function* (options: SpoolOptions) {
  const maxBytes = options.maxBytes ?? 1_073_741_824
  const attempt = <A>(step: string, run: () => Promise<A>): Effect.Effect<A, SpoolError> =>
    Effect.mapError(SpoolUnusable.attempt(options.directory)(step, run), SpoolError.from)
  const directory = yield* attempt("opening it", () => SpoolDirectory.openSpool(options.directory))
  const status = attempt("counting what waits", () => SpoolDirectory.status(directory))

  const withRoom = <A>(bytes: number, write: Effect.Effect<A, SpoolError>) =>
    Effect.flatMap(status, (found) =>
      found.bytes + bytes > maxBytes
        ? Effect.fail(new SpoolError({ reason: new SpoolFull({ path: options.directory, maxBytes }) }))
        : write
    )

  return Spool.of({
    directory,
    maxBytes,
    keepDelivered: Duration.fromInputUnsafe(options.keepDelivered ?? "10 minutes"),
    drop: (lines) =>
      withRoom(
        Buffer.byteLength(lines),
        attempt("adding to the inbox", () => SpoolDirectory.drop(directory, lines))
      ),
    put: (key, records) => {
      const text = Segment.encodeAll(records)
      return withRoom(
        Buffer.byteLength(text),
        Effect.asVoid(attempt("adding a batch", () => SpoolDirectory.putSealed(directory, key, text)))
      )
    },
    status,
    probe: attempt("trying to write", () => SpoolDirectory.probe(directory)),
    tidy: attempt("tidying up", () => SpoolDirectory.tidy(directory))
  })
})
