/**
 * A `SqlClient` that meters: each statement that an application runs for a customer is one record of `database`, with its
 * type (`SELECT`, `INSERT`, …) and its duration.
 *
 * It is another client on the same connections: code that uses it is metered, while this package's own statements run on the
 * client underneath and are not. Statements are metered in a fiber that has a `CurrentCustomer`; others, such as migrations and
 * background work, belong to nobody. `BEGIN`, `COMMIT` and savepoints are not counted; statements that fail are.
 */
import { PgClient } from "@effect/sql-pg"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Effectable from "effect/Effectable"
import type * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { SqlClient } from "effect/sql/SqlClient"
import type * as Statement from "effect/sql/Statement"
import * as Stream from "effect/Stream"
import { CurrentCustomer } from "../domain/CustomerId.ts"
import { builtIns } from "../domain/Service.ts"
import { queryType } from "./QueryType.ts"
import { Meter } from "../record/Meter.ts"
import * as Tracking from "../domain/Tracking.ts"

type AnyStatement = Statement.Statement<unknown>

/** Milliseconds with three decimals: the rest is clock noise. */
const millisSince = (clock: Clock.Clock, start: bigint): number =>
  Math.round(Number(clock.currentTimeNanosUnsafe() - start) / 1_000) / 1_000

const wrap = <Client extends SqlClient>(client: Client, meter: Meter["Service"]): Client => {
  /** Runs `finish` with what was run, if it was run for a customer. */
  const timed = (statement: AnyStatement, fiber: Fiber.Fiber<unknown, unknown>): (() => void) | undefined => {
    const customer = Context.getOption(fiber.context as Context.Context<CurrentCustomer>, CurrentCustomer)
    if (customer._tag === "None") return undefined
    const clock = fiber.getRef(Clock.Clock)
    const start = clock.currentTimeNanosUnsafe()
    return () =>
      meter.offer(
        builtIns.database,
        Tracking.databaseQuery({
          customer: customer.value,
          type: queryType(statement.segments),
          durationMs: millisSince(clock, start)
        }),
        clock.currentTimeMillisUnsafe()
      )
  }

  const metered = <A, E, R>(statement: AnyStatement, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.withFiber((fiber) => {
      const finish = timed(statement, fiber)
      return finish === undefined ? effect : Effect.onExit(effect, () => Effect.sync(finish))
    })

  const meteredStream = <A, E, R>(statement: AnyStatement, stream: Stream.Stream<A, E, R>): Stream.Stream<A, E, R> =>
    Stream.unwrap(
      Effect.withFiber((fiber) => {
        const finish = timed(statement, fiber)
        return Effect.succeed(finish === undefined ? stream : Stream.onExit(stream, () => Effect.sync(finish)))
      })
    )

  /** The same statement, still usable as a fragment of others, metered however it is run. */
  const meteredStatement = (statement: AnyStatement): AnyStatement =>
    Object.defineProperties(
      Object.assign(
        Object.create(statement),
        Effectable.Prototype<AnyStatement>({ label: "Statement", evaluate: () => metered(statement, statement) })
      ),
      {
        ...Object.fromEntries(
          (["withoutTransform", "raw", "values", "valuesUnprepared", "unprepared"] as const).map((way) => [
            way,
            { get: () => metered(statement, statement[way]) }
          ])
        ),
        stream: { get: () => meteredStream(statement, statement.stream) }
      }
    )

  const call = (...args: ReadonlyArray<never>): unknown => {
    // As a template it makes a statement, as a function an identifier or a helper.
    const made: unknown = (client as unknown as (...args: ReadonlyArray<never>) => unknown)(...args)
    return Effect.isEffect(made) ? meteredStatement(made as unknown as AnyStatement) : made
  }
  const wrapped: Client = Object.assign(call, client, {
    unsafe: (text: string, params?: ReadonlyArray<unknown>) => meteredStatement(client.unsafe(text, params)),
    withoutTransforms: () => wrap(client.withoutTransforms(), meter)
  }) as unknown as Client
  return Object.assign(wrapped, { safe: wrapped })
}

/**
 * The application's `SqlClient`, metered. Give it to code that runs queries for customers, and the plain client to
 * `Usage.layer`.
 *
 * @stability unstable
 * @since 0.1.0
 */
export const layerMeteredSql: Layer.Layer<SqlClient, never, SqlClient | Meter> = Layer.effect(
  SqlClient,
  Effect.map(Effect.all([SqlClient, Meter]), ([client, meter]) => wrap(client, meter))
)

/**
 * The same for a `PgClient`.
 *
 * @stability unstable
 * @since 0.1.0
 */
export const layerMeteredPg: Layer.Layer<SqlClient | PgClient.PgClient, never, PgClient.PgClient | Meter> =
  Layer.effectContext(
    Effect.map(Effect.all([PgClient.PgClient, Meter]), ([client, meter]) => {
      const wrapped = wrap(client, meter)
      return Context.make(PgClient.PgClient, wrapped).pipe(Context.add(SqlClient, wrapped))
    })
  )
