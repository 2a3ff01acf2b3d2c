/**
 * Delivers alerts through the registered channels, at least once. A delivery that fails is retried with growing delays for about a
 * day; one whose process died is made again under the same id.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import { type AlertChannel, AlertChannels, ChannelError } from "./AlertChannels.ts"
import type { Database } from "../database/Database.ts"
import { DatabaseError } from "../database/DatabaseError.ts"
import * as CustomerId from "../domain/CustomerId.ts"
import * as Decimal from "../domain/Decimal.ts"
import { InvalidInput } from "../domain/InvalidInput.ts"
import * as Instant from "../domain/Instant.ts"
import { builtIns } from "../domain/Service.ts"
import { ServiceError } from "../domain/ServiceError.ts"
import { Shutdown } from "../system/Shutdown.ts"
import * as Telemetry from "../system/Telemetry.ts"
import { DeliveryStore, type DeliveryStatus } from "./DeliveryStore.ts"

/** @since 0.1.0 */
export class AlertDeliveryError extends ServiceError<AlertDeliveryError>()("AlertDeliveryError", [
  InvalidInput,
  DatabaseError,
  ChannelError
]) {}

/**
 * What `deliver` did.
 *
 * - `postponed`: failed, and to be retried
 * - `failed`: given up; `list` says why, `retry` tries them again
 *
 * @since 0.1.0
 */
export interface DeliverySummary {
  readonly sent: number
  readonly postponed: number
  readonly failed: number
}

/** @since 0.1.0 */
export class AlertDelivery extends Context.Service<
  AlertDelivery,
  {
    /** Makes the deliveries that are due. */
    readonly deliver: Effect.Effect<DeliverySummary, AlertDeliveryError>
    /** Deliveries of the alerts of the last days, the latest first; at most 10,000. */
    readonly list: (days: number) => Effect.Effect<ReadonlyArray<DeliveryStatus>, AlertDeliveryError>
    /** Makes those due again that were given up; returns how many. */
    readonly retry: Effect.Effect<number, AlertDeliveryError>
    /** Sends a test alert through one channel, and records nothing. */
    readonly test: (channel: string) => Effect.Effect<void, AlertDeliveryError>
  }
>()("effect-usage/AlertDelivery") {
  /** Delivers on demand. */
  static readonly layer: Layer.Layer<AlertDelivery, never, Database | AlertChannels> = Layer.suspend(() =>
    Layer.provide(Layer.effect(AlertDelivery, make), DeliveryStore.layer)
  )

  /** Delivers on a schedule, every ten seconds by default. */
  static readonly layerScheduled = (
    options: { readonly every?: Duration.Input | undefined } = {}
  ): Layer.Layer<AlertDelivery, never, Database | AlertChannels> =>
    Layer.provideMerge(
      Layer.effectDiscard(
        Effect.gen(function* () {
          const delivery = yield* AlertDelivery
          yield* delivery.deliver.pipe(
            Effect.catch((error) => Effect.logWarning(`sending alerts failed, to be tried again: ${error.message}`)),
            Effect.repeat(Schedule.spaced(options.every ?? "10 seconds")),
            Shutdown.background
          )
        })
      ),
      AlertDelivery.layer
    ).pipe(Layer.provide(Shutdown.layer))
}

/** How long a process has a delivery for itself: longer than any channel takes. */
const leaseMillis = 120_000
const batch = 50
/** Deliveries at the same time. */
const concurrency = 8
/** Ten seconds, twenty, … up to an hour: about a day in all. */
const firstDelayMillis = 10_000
const longestDelayMillis = 3_600_000
const attemptLimit = 32
const listLimit = 10_000

const make = Effect.gen(function* () {
  const store = yield* DeliveryStore
  const channels = yield* AlertChannels
  const after = (millis: number) => Effect.map(Clock.currentTimeMillis, (now) => Instant.fromMillis(now + millis))

  const outcomes = {
    sent: Metric.withAttributes(Telemetry.alertDeliveries, { outcome: "sent" }),
    postponed: Metric.withAttributes(Telemetry.alertDeliveries, { outcome: "postponed" }),
    failed: Metric.withAttributes(Telemetry.alertDeliveries, { outcome: "failed" })
  }
  yield* Telemetry.fromZero(...Object.values(outcomes))

  const send = Effect.fnUntraced(function* ({ alert, attempt, channel, id }: DeliveryStatus, by: AlertChannel) {
    const result = yield* Effect.result(by.send({ id, alert, attempt }))
    if (result._tag === "Success") {
      yield* store.sent(id, yield* after(0))
      return "sent" as const
    }
    const { isRetryable, problem } = result.failure
    if (!isRetryable || attempt >= attemptLimit) {
      yield* Effect.annotateLogs(Effect.logWarning(`alert ${alert.id} is given up: ${result.failure.message}`), {
        alert: alert.id,
        channel,
        attempts: attempt
      })
      yield* store.failed(id, problem, undefined)
      return "failed" as const
    }
    const delay = Math.min(longestDelayMillis, firstDelayMillis * 2 ** (attempt - 1))
    yield* store.failed(id, problem, yield* after(delay * (0.75 + (yield* Random.next) / 2)))
    return "postponed" as const
  })

  const deliver = Effect.fn("AlertDelivery.deliver")(function* () {
    const byName = new Map((yield* channels.all).map((channel) => [channel.name, channel]))
    const summary = { sent: 0, postponed: 0, failed: 0 }
    if (byName.size === 0) return summary
    for (;;) {
      const due = yield* store.claim([...byName.keys()], yield* after(0), yield* after(leaseMillis), batch)
      for (const outcome of yield* Effect.forEach(due, (delivery) => send(delivery, byName.get(delivery.channel)!), {
        concurrency
      })) {
        summary[outcome]++
        yield* Metric.update(outcomes[outcome], 1)
      }
      if (due.length < batch) return summary
    }
  }, Effect.mapError(AlertDeliveryError.from))

  const test = Effect.fn("AlertDelivery.test")(function* (name: string) {
    const all = yield* channels.all
    const channel = all.find((one) => one.name === name)
    if (channel === undefined) {
      return yield* new InvalidInput({
        field: "channel",
        problem: `there is no channel "${name}"`,
        remedy:
          all.length === 0
            ? "Configure one with USAGE_ALERT_CHANNELS"
            : `Use one of ${all.map((one) => one.name).join(", ")}, or add it to USAGE_ALERT_CHANNELS`
      })
    }
    const now = Instant.fromMillis(yield* Clock.currentTimeMillis)
    const id = yield* Effect.sync(() => crypto.randomUUID())
    yield* channel.send({
      id,
      attempt: 1,
      alert: {
        id: "test",
        kind: "quota",
        level: "warning",
        customer: CustomerId.CustomerId.make("test"),
        service: builtIns.api.name,
        unit: builtIns.api.unit,
        used: Decimal.fromDatabase("78000"),
        limit: Decimal.fromDatabase("100000"),
        percent: 78n,
        period: { start: now, end: now },
        raisedAt: now
      }
    })
  }, Effect.mapError(AlertDeliveryError.from))

  return AlertDelivery.of({
    deliver: deliver(),
    list: Effect.fn("AlertDelivery.list")(function* (days: number) {
      return yield* store.list(yield* after(-days * Instant.millisPerDay), listLimit)
    }, Effect.mapError(AlertDeliveryError.from)),
    retry: Effect.mapError(Effect.flatMap(after(0), store.retry), AlertDeliveryError.from),
    test
  })
})
