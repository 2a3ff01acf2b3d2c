/**
 * Shutting down has one deadline, which all parts of this package share, whatever is broken.
 *
 * It starts when the first part closes; later parts use what is left. Three quarters of it are for the database. What is not
 * stored by then is set aside on the disk, or lost and reported. After the deadline nothing is waited for: a resource that
 * does not close is left behind, and ends with the process.
 *
 * A part may also close by itself while the application goes on. Once nothing has been closing for a second, the next close
 * starts a new deadline.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"

/** How long a shutdown may take in all. Containers and service managers often wait 10 s before they kill. */
export const GracePeriod = Context.Reference<Duration.Duration>("effect-usage/GracePeriod", {
  defaultValue: () => Duration.seconds(6)
})

/** How long work that will be repeated anyway may take to stop: a periodic pass, a retried attempt. */
const backgroundLimit = Duration.seconds(2)

export class Shutdown extends Context.Service<
  Shutdown,
  {
    /** Returns once a part is closing. */
    readonly closing: Effect.Effect<void>
    /** Runs the closing of a part, and tells it how long the database, and then the disk, may take. */
    readonly close: <A, E, R>(closing: (limits: Limits) => Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
    /** Acquires a resource whose release is waited for until the deadline, or for `atMost`, and no longer. */
    readonly bounded: <A, E, R>(
      resource: Effect.Effect<A, E, R>,
      atMost?: Duration.Duration
    ) => Effect.Effect<A, E, Exclude<R, Scope.Scope> | Scope.Scope>
    /** Runs an effect in the background until the scope closes. */
    readonly background: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<void, never, R | Scope.Scope>
  }
>()("effect-usage/system/Shutdown") {
  /** Runs an effect in the background until the scope closes. */
  static readonly background = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.flatMap(Shutdown, (shutdown) => shutdown.background(effect))

  /** One value, so that layers built together share it. */
  static readonly layer: Layer.Layer<Shutdown> = Layer.effect(
    Shutdown,
    Effect.suspend(() => make)
  )
}

/** The time left at each call. */
export interface Limits {
  readonly storing: () => Duration.Duration
  readonly all: () => Duration.Duration
}

/** Once nothing has been closing for this long, the last shutdown is over. */
const pauseMillis = 1_000

const make = Effect.gen(function* () {
  const clock = yield* Clock.Clock
  const grace = Duration.toMillis(yield* GracePeriod)
  let parts = 0
  const closing = yield* Latch.make(false)
  let beganAt = -Infinity
  let quietSince = -Infinity

  const left = (part: number) => () =>
    Duration.millis(Math.max(0, beganAt + grace * part - clock.currentTimeMillisUnsafe()))
  const limits: Limits = { storing: left(0.75), all: left(1) }

  const close: Shutdown["Service"]["close"] = (run) =>
    Effect.suspend(() => {
      const now = clock.currentTimeMillisUnsafe()
      if (parts++ === 0 && now - quietSince > pauseMillis) beganAt = now
      closing.openUnsafe()
      return Effect.ensuring(
        run(limits),
        Effect.sync(() => {
          if (--parts === 0) closing.closeUnsafe()
          quietSince = clock.currentTimeMillisUnsafe()
        })
      )
    })

  const bounded: Shutdown["Service"]["bounded"] = (resource, atMost = Duration.infinity) =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      yield* Effect.addFinalizer((exit) =>
        close(({ all }) =>
          Effect.flatMap(Effect.forkDetach(Scope.close(scope, exit), { startImmediately: true }), (closed) =>
            Effect.timeoutOption(Effect.interruptible(Fiber.await(closed)), Duration.min(all(), atMost))
          )
        )
      )
      return yield* Scope.provide(resource, scope)
    })

  return Shutdown.of({
    closing: closing.await,
    close,
    bounded,
    background: (effect) => Effect.asVoid(bounded(Effect.forkScoped(effect), backgroundLimit))
  })
})

/** A database that has taken nothing for this long is no longer waited for, if there is another place. */
const silenceLimit = Duration.seconds(2)

/** Returns when a count has not changed for two seconds. */
export const silence = (count: () => number): Effect.Effect<void> =>
  Effect.gen(function* () {
    let before: number
    do {
      before = count()
      yield* Effect.sleep(silenceLimit)
    } while (count() !== before)
  })

/**
 * Runs an effect that is not interrupted midway: when interrupted, it gets two seconds to finish, and is then left behind; its
 * outcome is unknown to the interrupted caller. `leave`: cuts off what it waits for.
 */
export const toItsEnd = <A, E, R>(effect: Effect.Effect<A, E, R>, leave?: () => void): Effect.Effect<A, E, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(Effect.forkDetach(effect, { startImmediately: true }), (fiber) =>
      Effect.onInterrupt(restore(Fiber.join(fiber)), () =>
        Effect.map(Effect.timeoutOption(Effect.interruptible(Fiber.await(fiber)), backgroundLimit), (ended) => {
          if (ended._tag === "Some") return
          leave?.()
          fiber.interruptUnsafe()
        })
      )
    )
  )

/** Runs an effect that goes on by itself when its caller is interrupted. */
export const leavable = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(Effect.forkDetach(effect, { startImmediately: true }), (fiber) =>
      Effect.onInterrupt(restore(Fiber.join(fiber)), () => Effect.sync(() => fiber.interruptUnsafe()))
    )
  )
