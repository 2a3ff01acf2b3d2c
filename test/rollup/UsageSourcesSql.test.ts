import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Aggregator } from "../../src/rollup/Aggregator.ts"
import { Database } from "../../src/database/Database.ts"
import * as Sql from "../../src/database/Sql.ts"
import type { Filter } from "../../src/domain/Filter.ts"
import type { CustomerId } from "../../src/domain/CustomerId.ts"
import type { Instant } from "../../src/domain/Instant.ts"
import { Recorder } from "../../src/record/Recorder.ts"
import { Reporter } from "../../src/report/Reporter.ts"
import * as Sources from "../../src/rollup/UsageSourcesSql.ts"
import { eachEngine, postgres } from "../support/engines.ts"

const window = {
  start: (Date.UTC(2026, 0, 1) * 1000) as Instant,
  end: (Date.UTC(2026, 1, 1) * 1000) as Instant,
  tz: "UTC",
  label: { start: "", end: "" }
}

const record = (customer: string, count: number) =>
  Effect.flatMap(Recorder, (recorder) =>
    recorder.recordAll(
      Array.from({ length: count }, (_, i) => ({
        customer,
        service: "api",
        quantity: 1,
        recordedAt: new Date(Date.UTC(2026, 0, 10, 0, 0, i))
      }))
    )
  )

const eventsOf = (customer: string) =>
  Effect.gen(function* () {
    const { services } = yield* (yield* Reporter).usage({ window, customer })
    return services.map(({ events }) => Number(events))
  })

eachEngine("UsageSources", (engine) => {
  const services = Layer.mergeAll(Recorder.layer(), Aggregator.layer, Reporter.layer)
  layer(Layer.provideMerge(services, engine.layer), { excludeTestServices: true })((it) => {
    it.effect("one customer's report is the same however long the ledger says that the tail is", () =>
      Effect.gen(function* () {
        const { name, sql } = yield* Database
        yield* record("a", 3)
        yield* record("b", 5)
        yield* (yield* Aggregator).rollUp
        yield* record("a", 2)
        yield* record("b", 7)
        for (const recordCount of [2, 200_000]) {
          yield* sql.unsafe(
            `update ${name("billing_usage_batches")} set record_count = ${recordCount} where rolled_at is null`
          )
          assert.deepStrictEqual([yield* eventsOf("a"), yield* eventsOf("b")], [[5], [12]], `${recordCount}`)
        }
      })
    )
  })
})

layer(Layer.provideMerge(Layer.mergeAll(Recorder.layer(), Aggregator.layer), postgres.layer), {
  excludeTestServices: true
})("plans", (it) => {
  it.effect("no report reads a whole partition, be it new, analysed or planned without its values", () =>
    Effect.gen(function* () {
      const database = yield* Database
      const { name, sql } = database
      const { own } = Sql.make(database)
      const check = (when: string) =>
        Effect.gen(function* () {
          const filters: ReadonlyArray<Filter> = [
            { customer: undefined, service: undefined },
            { customer: "c1" as CustomerId, service: undefined }
          ]
          for (const filter of filters) {
            for (const mode of ["force_custom_plan", "force_generic_plan"]) {
              const { params, text } = own.compile(Sources.usage(window, filter, "month"))
              const plan = yield* sql.withTransaction(
                Effect.gen(function* () {
                  yield* sql.unsafe(`set local plan_cache_mode = ${mode}`)
                  yield* sql.unsafe(`prepare looked_at as ${text}`)
                  const rows = yield* sql.unsafe<{ "QUERY PLAN": string }>(
                    `explain (costs off) execute looked_at (${params.map((value) => `'${value}'`).join(", ")})`
                  )
                  yield* sql.unsafe("deallocate looked_at")
                  return rows
                })
              )
              const lines = plan.map((row) => row["QUERY PLAN"]).join("\n")
              assert.notMatch(lines, /Seq Scan on billing_usage_records_2026_01/, `${when}, ${mode}`)
            }
          }
        })
      yield* record("c1", 1)
      yield* check("new")
      // More than the planner would rather read as a whole, and as few of it is the batches that are not rolled up.
      yield* sql.unsafe(`insert into ${name("billing_usage_records")} (customer_id, service_name, amount, unit_cost, recorded_at, batch_id, position)
        select 'c' || i % 100, 'api', 1, 1, timestamptz '2026-01-01 00:00+00' + i * interval '10 seconds', -1 - i / 500, i % 500
        from generate_series(0, 99999) i`)
      yield* check("not analysed")
      yield* sql.unsafe("analyze")
      yield* check("analysed")
    })
  )
})
