/**
 * The usage record commits or rolls back with the application's own row.
 *
 *     node examples/transaction.ts
 */
import { Console, Effect, Layer } from "effect"
import { PgClient } from "@effect/sql-pg"
import { Embedded, Recorder, Reporter, Window } from "../src/index.ts"

const program = Effect.gen(function* () {
  const sql = yield* PgClient.PgClient
  const recorder = yield* Recorder
  const reporter = yield* Reporter
  yield* sql`create table orders (order_id integer primary key)`

  const placeOrder = (order: number) =>
    sql.withTransaction(
      Effect.gen(function* () {
        yield* recorder.recordInTransaction({
          customer: "acme",
          service: "functions",
          quantity: 1,
          metadata: { order }
        })
        yield* sql`insert into orders ${sql.insert({ order_id: order })}`
      })
    )

  yield* placeOrder(1)
  // The same order again: the insert fails, and with it the usage is rolled back.
  yield* Effect.ignore(placeOrder(1))

  const window = yield* Effect.fromResult(Window.resolve({ period: "today", now: Date.now() }))
  const [functions] = (yield* reporter.usage({ customer: "acme", window })).services
  yield* Console.log(`orders placed: 1, invocations metered: ${functions?.events}`)
})

const layer = Layer.mergeAll(Recorder.layer(), Reporter.layer).pipe(Layer.provideMerge(Embedded.layer()))

await Effect.runPromise(Effect.provide(program, layer))
