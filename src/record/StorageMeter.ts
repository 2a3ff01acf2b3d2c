/**
 * Storage over time, in GB-hours: the application reports what a customer stores whenever that changes, and the meter records
 * the bytes × hours in between.
 *
 * Every `every`, and when the layer's scope closes, each customer's byte-hours since the last time become one record of
 * `storage`. They are exact: what an amount's 18 decimals cannot hold is carried over to the next record. The meter is in
 * memory: after a start, the application reports again what its customers store. Time in which it did not run is not
 * metered.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as BigDecimal from "effect/BigDecimal"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as CustomerId from "../domain/CustomerId.ts"
import * as Decimal from "../domain/Decimal.ts"
import { excerpt, InvalidInput } from "../domain/InvalidInput.ts"
import { builtIns } from "../domain/Service.ts"
import type { UsageInput } from "../domain/UsageRecord.ts"
import { Shutdown } from "../system/Shutdown.ts"
import { Meter } from "./Meter.ts"

/**
 * - `every`: how often what was stored is recorded, 1 hour
 *
 * @since 0.1.0
 */
export interface StorageMeterOptions {
  readonly every?: Duration.Input | undefined
}

/** @since 0.1.0 */
export class StorageMeter extends Context.Service<
  StorageMeter,
  {
    /** From now on the customer stores so many bytes: a whole number, zero or more. */
    readonly set: (customer: string, bytes: number | bigint) => Effect.Effect<void, InvalidInput>
    /** From now on so many bytes more, or fewer if negative; never below zero. */
    readonly add: (customer: string, bytes: number | bigint) => Effect.Effect<void, InvalidInput>
    /** What a customer stores now. */
    readonly stored: (customer: string) => Effect.Effect<bigint>
    /** Records the byte-hours up to now; `Meter.flush` waits until they are stored. */
    readonly record: Effect.Effect<void>
  }
>()("effect-usage/StorageMeter") {
  static readonly layer = (options: StorageMeterOptions = {}): Layer.Layer<StorageMeter, never, Meter> =>
    Layer.provide(Layer.effect(StorageMeter, make(options)), Shutdown.layer)
}

const millisPerHour = 3_600_000n
/** Records that are passed to the meter at once. */
const crowd = 10_000
const decimals = 10n ** BigInt(Decimal.amountBounds.decimals)

interface Gauge {
  bytes: bigint
  /** The time up to which `byteMillis` is added up, in milliseconds since 1970. */
  at: number
  /** Since when. */
  from: number
  byteMillis: bigint
  /** Of the amounts recorded so far, in units of the last decimal ÷ 3,600,000. */
  carried: bigint
}

const refuse = (bytes: unknown, problem: string) =>
  new InvalidInput({ field: "bytes", problem: `${excerpt(bytes)} ${problem}`, remedy: "Give a whole number of bytes" })

const parseBytes = (bytes: unknown): Result.Result<bigint, InvalidInput> => {
  if (typeof bytes === "number" && !Number.isSafeInteger(bytes)) return Result.fail(refuse(bytes, "is not exact"))
  if (typeof bytes !== "number" && typeof bytes !== "bigint") return Result.fail(refuse(bytes, "is no number"))
  const whole = BigInt(bytes)
  // 2^63, as many as any disk has.
  return whole > -(2n ** 63n) && whole < 2n ** 63n ? Result.succeed(whole) : Result.fail(refuse(bytes, "is too many"))
}

const make = Effect.fnUntraced(function* (options: StorageMeterOptions) {
  const meter = yield* Meter
  const shutdown = yield* Shutdown
  const gauges = new Map<CustomerId.CustomerId, Gauge>()

  const advance = (gauge: Gauge, now: number): void => {
    // A clock that was set back measures nothing.
    if (now > gauge.at) gauge.byteMillis += gauge.bytes * BigInt(now - gauge.at)
    gauge.at = now
  }

  const change = Effect.fnUntraced(function* (
    id: string,
    input: number | bigint,
    next: (old: bigint, given: bigint) => bigint
  ) {
    const customer = yield* Effect.fromResult(CustomerId.parse(id))
    const given = yield* Effect.fromResult(parseBytes(input))
    const now = yield* Clock.currentTimeMillis
    const gauge = gauges.get(customer) ?? { bytes: 0n, at: now, from: now, byteMillis: 0n, carried: 0n }
    const bytes = next(gauge.bytes, given)
    if (bytes < 0n) return yield* refuse(input, `leaves ${bytes}`)
    advance(gauge, now)
    gauge.bytes = bytes
    gauges.set(customer, gauge)
  })

  /** Takes the byte-hours since the last time. */
  const take = (customer: CustomerId.CustomerId, gauge: Gauge): UsageInput => {
    const parts = gauge.byteMillis * decimals + gauge.carried
    const millis = BigInt(gauge.at - gauge.from)
    const usage = {
      customer,
      service: builtIns.storage.name,
      amount: Decimal.toText(BigDecimal.make(parts / millisPerHour, Decimal.amountBounds.decimals)),
      recordedAt: gauge.at,
      metadata: `{"bytes":${gauge.byteMillis / millis},"hours":${Number(millis) / Number(millisPerHour)}}`
    }
    gauge.carried = parts % millisPerHour
    gauge.byteMillis = 0n
    gauge.from = gauge.at
    return usage
  }

  /** In portions: many customers at once must not crowd out requests that are metered meanwhile. */
  const room = Effect.repeat(
    Effect.map(meter.state, ({ waiting }) => waiting < crowd),
    { until: (isThere) => isThere, schedule: Schedule.spaced("20 millis") }
  )

  const recordWhere = Effect.fnUntraced(function* (thereIsRoom: Effect.Effect<unknown>) {
    const now = yield* Clock.currentTimeMillis
    let given = 0
    for (const [customer, gauge] of gauges) {
      advance(gauge, now)
      if (gauge.byteMillis > 0n) {
        if (given++ % crowd === 0) yield* thereIsRoom
        meter.offer(builtIns.storage, Result.succeed(take(customer, gauge)), now)
      } else if (gauge.bytes === 0n) gauges.delete(customer)
      else gauge.from = gauge.at
    }
  })

  const record = recordWhere(room)
  yield* record.pipe(Effect.schedule(Schedule.spaced(options.every ?? "1 hour")), Effect.forkScoped)
  // After the deadline, the meter counts as dropped what it has no room for.
  yield* Effect.addFinalizer(() =>
    shutdown.close(({ storing }) =>
      recordWhere(Effect.suspend(() => Effect.timeoutOption(Effect.interruptible(room), storing())))
    )
  )

  return StorageMeter.of({
    set: (customer, bytes) => change(customer, bytes, (_, given) => given),
    add: (customer, bytes) => change(customer, bytes, (old, given) => old + given),
    stored: (customer) => Effect.sync(() => gauges.get(customer as CustomerId.CustomerId)?.bytes ?? 0n),
    record
  })
})
