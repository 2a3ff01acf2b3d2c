/**
 * Takes usage from instrumentation, at once, in a handful of instructions, and without ever failing: so metering neither slows
 * nor fails a request.
 *
 * A record waits here for at most `every`, and then goes to the `Batcher`, in order. Bytes are added up by customer and
 * direction as they flow, and become one record of bandwidth each time, so that a long download is metered while it runs.
 *
 * Owners and bounds: one fiber hands records over. It belongs to the layer's scope; closing it hands over what is left, until
 * the application's deadline for shutting down. While the batcher accepts nothing, because its queue is full and there is no
 * spool, up to `capacity` records wait here. Beyond that, records are dropped, counted and logged: for instrumentation,
 * availability comes before completeness. Bytes are never dropped, only added up for longer. With a spool
 * (`Usage.layer({ spool })`) none of this happens before the disk is full.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import type { CustomerId } from "../domain/CustomerId.ts"
import * as Instant from "../domain/Instant.ts"
import type { InvalidInput } from "../domain/InvalidInput.ts"
import { builtIns, type Service } from "../domain/Service.ts"
import * as UsageRecord from "../domain/UsageRecord.ts"
import { Shutdown } from "../system/Shutdown.ts"
import * as Telemetry from "../system/Telemetry.ts"
import { Batcher, type BatcherError } from "./Batcher.ts"

/**
 * - `every`: how long records wait here, 1 s
 * - `capacity`: how many may wait while the batcher accepts none, 100,000
 * - `drainTimeout`: the longest that closing waits to hand over what is left
 *
 * @since 0.1.0
 */
export interface MeterOptions {
  readonly every?: Duration.Input | undefined
  readonly capacity?: number | undefined
  readonly drainTimeout?: Duration.Input | undefined
}

/**
 * - `waiting`: records that the batcher has not accepted yet
 * - `dropped`: records since the start that found no room, were refused, or were left when the meter closed
 *
 * @since 0.1.0
 */
export interface MeterState {
  readonly waiting: number
  readonly dropped: number
}

/** @since 0.1.0 */
export type Direction = "egress" | "ingress"

/** @since 0.1.0 */
export class Meter extends Context.Service<
  Meter,
  {
    /** Takes a checked record. */
    readonly put: (record: UsageRecord.UsageRecord) => void
    /** Takes usage of one of the six built-in services. Refused usage is logged, and counted as dropped. */
    readonly offer: (service: Service, usage: Result.Result<UsageRecord.UsageInput, InvalidInput>, now: number) => void
    /** Adds bytes that a customer has transferred. */
    readonly transferred: (customer: CustomerId, direction: Direction, bytes: number) => void
    /** Returns when everything taken before is stored; fails as `Batcher.flush` does. */
    readonly flush: Effect.Effect<void, BatcherError>
    readonly state: Effect.Effect<MeterState>
  }
>()("effect-usage/Meter") {
  static readonly layer = (options: MeterOptions = {}): Layer.Layer<Meter, never, Batcher> =>
    Layer.provide(Layer.effect(Meter, make(options)), Shutdown.layer)
}

/** Records that are handed over together: no more than a batcher's smallest queue holds. */
const chunkSize = 100
/** Chunks that are handed over at once while closing: a spool syncs them together. */
const closingChunks = 16

const make = Effect.fnUntraced(function* (options: MeterOptions) {
  const batcher = yield* Batcher
  const shutdown = yield* Shutdown
  const every = options.every ?? "1 second"
  const capacity = options.capacity ?? 100_000
  const wake = Latch.makeUnsafe()

  let pending: Array<UsageRecord.UsageRecord> = []
  /** Records taken out of `pending` that the batcher has not accepted yet. */
  let handing = 0
  let dropped = 0
  let closing = false
  let refusal: string | undefined
  let bytes = new Map<CustomerId, Record<Direction, number>>()
  let waiters: Array<Deferred.Deferred<void>> = []

  const put = (record: UsageRecord.UsageRecord): void => {
    if (pending.length + handing < capacity && !closing) pending.push(record)
    else dropped++
  }

  const refuse = (error: InvalidInput): void => {
    dropped++
    refusal = error.message
  }

  const takeBytes = (now: number): void => {
    const taken = bytes
    bytes = new Map()
    for (const [customer, directions] of taken) {
      for (const direction of ["egress", "ingress"] as const) {
        const amount = directions[direction]
        if (amount === 0) continue
        // Sums are kept however much waits: there are two a customer.
        pending.push({
          customer,
          service: builtIns.bandwidth.name,
          amount: `${amount}`,
          unitCost: undefined,
          recordedAt: Instant.fromMillis(now),
          metadata: `{"bytes":${amount},"direction":"${direction}"}`
        })
      }
    }
  }

  /** Waits while the queue or spool is full; a closed batcher accepts nothing more. */
  const hand = (chunk: ReadonlyArray<UsageRecord.UsageRecord>) =>
    batcher.enqueueRecords(chunk).pipe(
      Effect.retry({ schedule: Schedule.spaced("50 millis"), while: (error) => error.isRetryable }),
      Effect.catchCause((cause) =>
        Effect.sync(() => {
          dropped += chunk.length
          refusal = Cause.pretty(cause)
        })
      ),
      Effect.ensuring(Effect.sync(() => (handing -= chunk.length)))
    )

  let reported = 0
  const report = Effect.suspend(() => {
    if (dropped === reported) return Effect.void
    const lost = dropped - reported
    reported = dropped
    const why = refusal ?? `more than ${capacity} wait, because the batcher takes none`
    refusal = undefined
    return Effect.andThen(
      Metric.update(Telemetry.recordsDropped, lost),
      Effect.annotateLogs(Effect.logError(`${lost} usage records dropped: ${why}`), { records: lost })
    )
  })

  const handOver = Effect.gen(function* () {
    const asked = waiters
    waiters = []
    takeBytes(yield* Clock.currentTimeMillis)
    const records = pending
    pending = []
    handing = records.length
    for (let start = 0; start < records.length;) {
      const end = Math.min(records.length, start + (closing ? closingChunks : 1) * chunkSize)
      const together: Array<ReadonlyArray<UsageRecord.UsageRecord>> = []
      for (; start < end; start += chunkSize) together.push(records.slice(start, Math.min(end, start + chunkSize)))
      yield* Effect.forEach(together, hand, { concurrency: "unbounded", discard: true })
    }
    yield* report
    for (const waiter of asked) yield* Deferred.succeed(waiter, undefined)
  })

  yield* Telemetry.fromZero(Telemetry.recordsDropped)
  // Handing over waits while the batcher accepts nothing; what is lost meanwhile must be reported meanwhile.
  yield* Effect.forkScoped(Effect.repeat(report, Schedule.spaced(every)))

  const pass = Effect.gen(function* () {
    yield* Effect.timeoutOption(wake.await, every)
    wake.closeUnsafe()
    yield* handOver
  })
  const fiber = yield* pass.pipe(Effect.repeat({ while: () => !closing }), Effect.andThen(handOver), Effect.forkScoped)

  yield* Effect.addFinalizer(() =>
    shutdown.close(({ all }) =>
      Effect.gen(function* () {
        closing = true
        wake.openUnsafe()
        const limit = Duration.min(all(), Duration.fromInputUnsafe(options.drainTimeout ?? Duration.infinity))
        const inTime = yield* Effect.timeoutOption(Effect.interruptible(Fiber.await(fiber)), limit)
        if (inTime._tag === "Some") return
        const left = pending.length + handing
        yield* Fiber.interrupt(fiber)
        dropped += left
        yield* Effect.logError(`closed while ${left} usage records could not be queued`)
      })
    )
  )

  return Meter.of({
    put,
    offer: (service, usage, now) => {
      const record = Result.flatMap(usage, (input) => UsageRecord.make(input, service, now))
      if (Result.isSuccess(record)) put(record.success)
      else refuse(record.failure)
    },
    transferred: (customer, direction, amount) => {
      let directions = bytes.get(customer)
      if (directions === undefined) {
        directions = { egress: 0, ingress: 0 }
        bytes.set(customer, directions)
      }
      directions[direction] += amount
    },
    flush: Effect.suspend(() => {
      const waiter = Deferred.makeUnsafe<void>()
      waiters.push(waiter)
      wake.openUnsafe()
      return Effect.andThen(closing ? Effect.void : Deferred.await(waiter), batcher.flush)
    }),
    state: Effect.sync(() => ({ waiting: pending.length + handing, dropped }))
  })
})
