/**
 * How a `WriteQueue` stores a batch: attempt by attempt, until each of its items is stored, set aside, or failed.
 *
 *     attempt ─▶ stored
 *        ├─ retryable ─▶ the same attempt again, until `retry` or the deadline ends that
 *        ├─ refused ───▶ its halves; the culprit alone becomes a dead letter, or fails its caller
 *        └─ otherwise ─▶ set aside where possible, else failed
 *
 * An attempt that is still running at the deadline is abandoned. It may yet store its batch, so the batch is set aside under
 * the key of the attempt.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Schedule from "effect/Schedule"
import { bisect, isRefusal } from "../database/Bisect.ts"
import { type DatabaseError, fromUnknown } from "../database/DatabaseError.ts"
import { leavable } from "../system/Shutdown.ts"
import type { Batch, EncodedBatch } from "./Batch.ts"
import { companionOf, partOf } from "./Deliverer.ts"
import { longestClosingDelay, type QueueOptions } from "./QueueOptions.ts"
import { refusalOf } from "./Refusals.ts"
import type { Settlement, Taken } from "./Settlement.ts"
import type { UsageStore } from "./UsageStore.ts"
import { Group, type Item, recordsOf } from "./Waiting.ts"

/** An event that happens once, and can be awaited. */
class Moment {
  readonly #latch = Latch.makeUnsafe(false)
  readonly await = this.#latch.await
  isPast = false
  arrive(): void {
    this.isPast = true
    this.#latch.openUnsafe()
  }
}

/** A defect in the store is a bug, but the callers that wait for the batch must be told. */
const defectsAsErrors = <A>(effect: Effect.Effect<A, DatabaseError>): Effect.Effect<A, DatabaseError> =>
  Effect.catchDefect(effect, (defect) => Effect.fail(fromUnknown(defect)))

export const make = Effect.fnUntraced(function* (
  store: UsageStore["Service"],
  settlement: Settlement,
  options: QueueOptions
) {
  const clock = yield* Clock.Clock
  const { isRetryable, letters, setAside } = options
  /** The queue is closing: whoever waits to retry is woken. */
  const closing = new Moment()
  /** The deadline has passed: nothing is retried or awaited any longer. */
  const deadline = new Moment()
  /** Why setting a batch aside failed last. */
  let asideFailure: string | undefined

  /** Whether to stop retrying. While closing, the first failure does if the batch can be set aside. */
  const isFinal = (error: DatabaseError) =>
    !isRetryable(error) || (closing.isPast && setAside !== undefined && asideFailure === undefined)

  /** Retries while that may help. Closing, and then its deadline, end the wait for the next attempt. */
  const persistently = <A>(effect: Effect.Effect<A, DatabaseError>): Effect.Effect<A, DatabaseError> =>
    Effect.catch(effect, (error) => retry(effect, error))

  const retry = Effect.fnUntraced(function* <A>(
    effect: Effect.Effect<A, DatabaseError>,
    first: DatabaseError
  ): Effect.fn.Return<A, DatabaseError> {
    const step = yield* Schedule.toStep(options.retry)
    for (let error = first; ;) {
      yield* settlement.failedAttempt(error)
      if (isFinal(error)) return yield* error
      const next = yield* Effect.option(step(clock.currentTimeMillisUnsafe(), error))
      if (next._tag === "None") return yield* error
      yield* Effect.annotateLogs(Effect.logDebug("a batch could not be stored and is tried again", error.message), {
        source: options.source,
        reason: error.reason._tag
      })
      const [, delay] = next.value
      yield* closing.isPast
        ? Effect.timeoutOption(deadline.await, Duration.min(delay, longestClosingDelay))
        : Effect.timeoutOption(closing.await, delay)
      if (deadline.isPast) return yield* error
      const result = yield* Effect.result(effect)
      if (result._tag === "Success") return result.success
      error = result.failure
    }
  })

  const untilDeadline = <A>(effect: Effect.Effect<A, DatabaseError>): Effect.Effect<A, DatabaseError> =>
    Effect.suspend(() => {
      const over = Effect.suspend(() => Effect.fail(settlement.interruption()))
      if (deadline.isPast) return over
      return Effect.raceFirst(leavable(defectsAsErrors(effect)), Effect.andThen(deadline.await, over))
    })

  /** A running write is awaited if its batch cannot be set aside, so that its outcome is known. */
  const untilKnown = <A>(effect: Effect.Effect<A, DatabaseError>): Effect.Effect<A, DatabaseError> =>
    setAside === undefined && !deadline.isPast ? leavable(defectsAsErrors(effect)) : untilDeadline(effect)

  const wholeOf = ({ key, records }: Taken): Batch => ({
    key,
    source: options.source,
    records,
    onConflict: letters === undefined ? "fail" : "skip"
  })

  /** Writes a part of a batch with retries, and settles it; fails with the last failure. */
  const write = (taken: Taken, items: ReadonlyArray<Item>, encoded: EncodedBatch) => {
    const companion = letters === undefined ? undefined : companionOf(letters, encoded.batch)
    const { records } = encoded.batch
    let isStored = false
    let isLeft = false
    // Uninterruptible, so that callers are always told of a commit.
    const attempt = Effect.uninterruptible(
      Effect.flatMap(store.write(encoded, companion), (appended) => {
        // The batch has been set aside or failed meanwhile: its outcome is no longer ours to report.
        if (isLeft) return Effect.void
        isStored = true
        return settlement.stored(taken, items, records, appended)
      })
    )
    const left = Effect.onError(untilKnown(persistently(attempt)), () =>
      Effect.sync(() => {
        isLeft = true
      })
    )
    return Effect.catch(left, (error) => (isStored ? Effect.void : Effect.fail(error)))
  }

  /** Settles items whose attempts have ended. Returns the failure, or nothing if they are safe elsewhere. */
  const giveUp = Effect.fnUntraced(function* (
    taken: Taken,
    items: ReadonlyArray<Item>,
    batch: Batch,
    error: DatabaseError,
    again: Effect.Effect<DatabaseError | undefined, DatabaseError>
  ) {
    if (setAside !== undefined && isRetryable(error)) {
      // A failed attempt may have committed: so the batch is handed over under its key.
      const result = yield* Effect.result(setAside(batch, error))
      if (result._tag === "Success") {
        yield* settlement.setAside(taken, items, batch.key, error)
        return undefined
      }
      asideFailure = result.failure instanceof Error ? result.failure.message : String(result.failure)
      // Only the database is left.
      if (closing.isPast && !deadline.isPast) return yield* again
    }
    yield* settlement.failed(taken, items, error)
    return error
  })

  /** Stores a batch, which may be encoded already, and settles all its items. Returns the first failure. */
  const storeBatch = (taken: Taken, ahead: EncodedBatch | undefined): Effect.Effect<DatabaseError | undefined> => {
    const whole = wholeOf(taken)

    const attempt = (
      items: ReadonlyArray<Item>,
      path: string
    ): Effect.Effect<DatabaseError | undefined, DatabaseError> => {
      const batch = partOf(whole, path === "" ? whole.records : recordsOf(items), path)
      const encoded =
        path === "" && ahead !== undefined ? Effect.succeed(ahead) : untilDeadline(persistently(store.encode(batch)))
      const stored = Effect.as(
        Effect.flatMap(encoded, (ready) => write(taken, items, ready)),
        undefined
      )
      const again = Effect.suspend(() => attempt(items, path))
      const isOver = (error: DatabaseError) => !isRefusal(error)
      return Effect.catchIf(stored, isOver, (error) => giveUp(taken, items, batch, error, again))
    }

    const alone = Effect.fnUntraced(function* (item: Item, error: DatabaseError, path: string) {
      if (letters !== undefined && !(item instanceof Group)) {
        const batch = partOf(whole, [item], path)
        const burial = persistently(letters.keepOnce(batch.key, [refusalOf(batch, error)]))
        yield* Effect.ignore(untilDeadline(burial))
      }
      yield* settlement.failed(taken, [item], error)
      return error
    })

    // `attempt` fails with refusals only, which `bisect` handles.
    return Effect.orDie(
      Effect.map(bisect(taken.items, attempt, alone), (parts) => parts.find((failure) => failure !== undefined))
    )
  }

  return {
    storeBatch,
    /** Encodes a batch ahead of its turn. A failure is ignored: it occurs again, and is handled, when the batch is stored. */
    encodeAhead: (taken: Taken): Effect.Effect<EncodedBatch | undefined> =>
      Effect.map(Effect.option(untilDeadline(store.encode(wholeOf(taken)))), (encoded) =>
        encoded._tag === "Some" ? encoded.value : undefined
      ),
    closing,
    deadline,
    /** Why batches could not be set aside, if they could not. */
    asideFailure: () => asideFailure
  }
})
