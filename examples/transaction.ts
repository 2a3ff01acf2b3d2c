/**
 * The usage record commits or rolls back with the application's own row.
 *
 *     node examples/transaction.ts
 */
import { Console, Effect } from "effect"
import { PgClient } from "@effect/sql-pg"
import { Recorder, Reporter, Usage } from "../src/index.ts"

const program = Effect.gen(function* () {
  const sql = yield* PgClient.PgClient
  const recorder = yield* Recorder
  const reporter = yield* Reporter
  yield* sql`create table orders (order_id integer primary key)`

  const placeOrder = (order: number, quantity = 1) =>
    sql.withTransaction(
      Effect.gen(function* () {
        yield* sql`insert into orders ${sql.insert({ order_id: order })}`
        yield* recorder.recordInTransaction({
          customer: "acme",
          service: "functions",
          quantity,
          metadata: { order }
        })
      })
    )

  yield* placeOrder(1)
  // The same order again: the insert fails, and nothing is metered.
  yield* Effect.ignore(placeOrder(1))
  // Usage that is refused: there is no such order either.
  yield* Effect.ignore(placeOrder(2, -1))
  // The application changes its mind after both were written.
  yield* Effect.ignore(sql.withTransaction(Effect.andThen(placeOrder(3), Effect.fail("out of stock"))))

  const orders = yield* sql`select order_id from orders`
  const [functions] = (yield* reporter.usage({ customer: "acme", window: "today" })).services
  yield* Console.log(`orders placed: ${orders.length}, invocations metered: ${functions?.events}`)
})

// On the application's own client it is Usage.layer(), and the same transaction.
await Effect.runPromise(Effect.provide(program, Usage.layerEmbedded()))
