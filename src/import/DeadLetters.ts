/**
 * Dead letters: usage that was refused and is kept with the reason. A replay stores a letter's usage and removes the letter in
 * one transaction, so it is stored once however often it is replayed.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import type { Database } from "../database/Database.ts"
import { DatabaseError } from "../database/DatabaseError.ts"
import { excerpt, InvalidInput } from "../domain/InvalidInput.ts"
import * as Instant from "../domain/Instant.ts"
import { ServiceError } from "../domain/ServiceError.ts"
import type { UsageRecord } from "../domain/UsageRecord.ts"
import * as Ndjson from "./Ndjson.ts"
import { makeIntake } from "../ledger/Intake.ts"
import { CatalogStore } from "../catalog/CatalogStore.ts"
import { type DeadLetter, DeadLetterStore } from "../ledger/DeadLetterStore.ts"
import { UsageStore } from "../ledger/UsageStore.ts"
import { derivedKey } from "../ledger/DerivedKey.ts"

/** @since 0.1.0 */
export class DeadLettersError extends ServiceError<DeadLettersError>()("DeadLettersError", [
  InvalidInput,
  DatabaseError
]) {}

/** @since 0.1.0 */
export class DeadLetters extends Context.Service<
  DeadLetters,
  {
    /** Those with an id above `after`, the oldest first. */
    readonly list: (options?: {
      readonly after?: string | undefined
      readonly limit?: number | undefined
    }) => Effect.Effect<ReadonlyArray<DeadLetter>, DeadLettersError>
    readonly find: (id: string) => Effect.Effect<DeadLetter, DeadLettersError>
    readonly count: Effect.Effect<bigint, DeadLettersError>
    /**
     * Stores a letter's usage, or that of a corrected line of NDJSON, and removes the letter. Fails with what is still wrong, and
     * then keeps the letter.
     */
    readonly replay: (id: string, mended?: string) => Effect.Effect<UsageRecord, DeadLettersError>
    /** Removes letters permanently; returns how many existed. */
    readonly drop: (ids: ReadonlyArray<string>) => Effect.Effect<number, DeadLettersError>
  }
>()("effect-usage/DeadLetters") {
  /** The dead letters of a database. */
  static readonly layer: Layer.Layer<DeadLetters, never, Database> = Layer.suspend(() =>
    Layer.provide(Layer.effect(DeadLetters, make), [UsageStore.layer, DeadLetterStore.layer])
  )
}

const checkId = (id: string): Result.Result<string, InvalidInput> =>
  /^[1-9]\d{0,17}$/.test(id)
    ? Result.succeed(id)
    : Result.fail(
        new InvalidInput({
          field: "id",
          problem: `${excerpt(id)} is not a dead letter's number`,
          remedy: "See `DeadLetters.list`"
        })
      )

const make = Effect.gen(function* () {
  const store = yield* UsageStore
  const letters = yield* DeadLetterStore
  const intake = makeIntake(yield* CatalogStore)

  const find = Effect.fnUntraced(function* (id: string) {
    const letter = yield* letters.find(yield* Effect.fromResult(checkId(id)))
    if (letter !== undefined) return letter
    return yield* new InvalidInput({
      field: "id",
      problem: `there is no dead letter ${id}`,
      remedy: "See `DeadLetters.list`"
    })
  })

  const replay = Effect.fn("DeadLetters.replay")(function* (id: string, mended?: string) {
    const letter = yield* find(id)
    const line = mended ?? Buffer.from(letter.content).toString("utf8")
    const usage = yield* Effect.fromResult(Ndjson.parseLine(line, undefined))
    // A line without a time was used before it was refused, not when it is replayed.
    const record = yield* intake.check({ ...usage, recordedAt: usage.recordedAt ?? Instant.toMillis(letter.refusedAt) })
    yield* store.append(
      {
        key: derivedKey(`dead letter ${letter.source} ${id}`),
        source: "dead letter",
        records: [record],
        onConflict: "fail"
      },
      letters.dropCompanion(id)
    )
    return record
  }, Effect.mapError(DeadLettersError.from))

  return DeadLetters.of({
    list: ({ after = "0", limit = 100 } = {}) => Effect.mapError(letters.list({ after, limit }), DeadLettersError.from),
    find: (id) => Effect.mapError(find(id), DeadLettersError.from),
    count: Effect.mapError(letters.count, DeadLettersError.from),
    replay,
    drop: (ids) =>
      Effect.fromResult(Result.all(ids.map(checkId))).pipe(
        Effect.flatMap(letters.drop),
        Effect.mapError(DeadLettersError.from)
      )
  })
})
