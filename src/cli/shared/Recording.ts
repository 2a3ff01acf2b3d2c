/**
 * Recording from the command line: into the database, or, while that is out of reach, into the spool.
 *
 * A record that no attempt was made for goes into the inbox, as anybody's would. One whose attempt had no answer goes into
 * the spool under the key of that attempt: it may have been stored.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import type { InvalidInput } from "../../domain/InvalidInput.ts"
import * as Flags from "./Flags.ts"
import type { UsageInput } from "../../domain/UsageRecord.ts"
import { Recorder, type RecorderError } from "../../record/Recorder.ts"
import { Spool } from "../../spool/Spool.ts"
import { isTryLater } from "./Failures.ts"
import * as Offline from "./Offline.ts"
import * as Session from "./Session.ts"
import * as Whose from "./Whose.ts"

/** The flags of every command that records. */
export const flags = { customer: Whose.one, at: Flags.at, key: Flags.key }

interface Given {
  readonly customer: string
  readonly at: string | undefined
  readonly key: string | undefined
}

interface Common {
  readonly customer: string
  readonly recordedAt: string | undefined
  readonly idempotencyKey: string | undefined
}

/** Records usage with what the flags say of it, and tells a person so. */
export const record = Effect.fnUntraced(function* (
  { at, customer, key }: Given,
  usage: (common: Common) => Result.Result<UsageInput, InvalidInput>
) {
  const where = yield* recordAll([usage({ customer, recordedAt: at, idempotencyKey: key })])
  if (where === "stored") yield* Session.confirm(`recorded for ${customer}`)
})

/** A command waits a little for a busy server, then takes the spool: whoever scripts it wants to go on. */
const patience = "3 seconds"

/** Stores usage, all or none; `"spooled"` if that is where it is. */
export const recordAll = Effect.fnUntraced(function* (usages: ReadonlyArray<Result.Result<UsageInput, InvalidInput>>) {
  const checked = yield* Effect.fromResult(Result.all(usages))
  const spool = yield* Effect.cached(
    Effect.provide(
      Effect.map(Spool, (found) => found),
      Session.layerSpool
    )
  )
  let attempted = false
  const attempt = Effect.gen(function* () {
    const layer = Layer.provide(
      Recorder.layer({
        retryFor: patience,
        writers: 1,
        setAside: ({ key, records }) => {
          attempted = true
          return Effect.flatMap(spool, (found) => found.put(key, records))
        }
      }),
      Session.layerDatabase
    )
    const recorder = Context.get(yield* Layer.build(layer), Recorder)
    // One by itself is refused by its own field's name, not as the first of several.
    const [only, ...others] = checked
    yield* only !== undefined && others.length === 0 ? recorder.record(only) : recorder.recordAll(checked)
  }).pipe(Effect.scoped)
  const result = yield* Effect.result(attempt)
  if (result._tag === "Success" && !attempted) return "stored"
  if (result._tag === "Failure") {
    // The spool that could not take the attempt's batch is not asked again: the record might then count twice.
    if (attempted || !isTryLater(result.failure)) return yield* Effect.fail(result.failure)
    const now = yield* Clock.currentTimeMillis
    const lines = yield* Effect.fromResult(Result.all(checked.map((usage) => Offline.asLine(usage, now))))
    yield* (yield* spool).drop(lines.join(""))
    yield* notice(result.failure)
  } else yield* notice(undefined)
  return "spooled"
})

const notice = (error: RecorderError | { readonly message: string } | undefined) =>
  Session.say(
    `${error === undefined ? "the database did not answer" : error.message.split("\n")[0]}; the usage is in the spool, and \`usage batch flush\` brings it into the database`
  )
