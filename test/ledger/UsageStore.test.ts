import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import { randomUUID } from "node:crypto"
import { Database } from "../../src/database/Database.ts"
import type { CustomerId } from "../../src/domain/CustomerId.ts"
import * as Instant from "../../src/domain/Instant.ts"
import type { ServiceName } from "../../src/domain/Service.ts"
import type { UsageRecord } from "../../src/domain/UsageRecord.ts"
import { CatalogStore } from "../../src/catalog/CatalogStore.ts"
import type { Batch } from "../../src/ledger/Batch.ts"
import { UsageStore } from "../../src/ledger/UsageStore.ts"
import { eachEngine } from "../support/engines.ts"
import { assertConsistent, ledger, storedRecords } from "../support/stored.ts"

const at = (text: string): Instant.Instant => {
  const parsed = Instant.parse("recordedAt", text)
  return parsed._tag === "Success" ? parsed.success : assert.fail(text)
}

const record = (customer: string, more: Partial<UsageRecord> = {}): UsageRecord => ({
  customer: customer as CustomerId,
  service: "api" as ServiceName,
  amount: "1",
  unitCost: undefined,
  recordedAt: at("2026-01-30T16:45:23.5Z"),
  metadata: null,
  ...more
})

const batch = (records: ReadonlyArray<UsageRecord>): Batch => ({ key: randomUUID(), source: "test", records })

const many = (prefix: string, count: number, more: Partial<UsageRecord> = {}) =>
  Array.from({ length: count }, (_, i) => record(`${prefix}${i}`, more))

/** More than the limit, so the batch goes by COPY. */
const copied = 501

/** Texts that a wire format, a quoting rule or a careless reader could take for something else. */
const awkward = [
  "\\",
  "\\N",
  "\\.",
  "\\\\.",
  "\\n",
  "\\x41",
  "\\u0041",
  "a\\",
  "\t",
  "\r",
  "\n",
  "\r\n",
  "\\\n",
  "\b\f\v",
  "\u0001\u001f\u007f",
  "'",
  '"',
  '""',
  '","',
  "{",
  "}",
  "{a,b}",
  "{}",
  ",",
  "NULL",
  "null",
  "",
  " ",
  "  padded  ",
  "\ufeff",
  "\u202eabc",
  "\u2028\u2029",
  "é",
  "é",
  "😀",
  "\u{10ffff}",
  "\uffff",
  "$1",
  "%s",
  "'; drop table billing_usage_records; --",
  "=cmd|'/c calc'!A1",
  "\u0085",
  "x".repeat(65_000)
]

eachEngine("UsageStore", (engine) => {
  layer(UsageStore.layer.pipe(Layer.provideMerge(engine.layer)), { excludeTestServices: true })((it) => {
    for (const [way, count] of [
      ["statement", 3],
      ["copy", copied]
    ] as const) {
      it.effect(`${way}: stores a batch whole, with its ledger row`, () =>
        Effect.gen(function* () {
          const store = yield* UsageStore
          const prefix = `whole-${way}-`
          const records = many(prefix, count, { amount: "123456789012345678901234.123456789012345678" })
          const sent = batch(records)
          const encoded = yield* store.encode(sent)
          assert.strictEqual(encoded.payload.way, way)
          const appended = yield* store.write(encoded)
          assert.deepStrictEqual(appended, {
            key: sent.key,
            records: count,
            duplicates: 0,
            conflicts: [],
            alreadyCommitted: false
          })
          const stored = yield* storedRecords(prefix)
          assert.deepStrictEqual(
            stored.map((_) => _.customer_id),
            records.map((_) => _.customer as string)
          )
          assert.deepStrictEqual(stored[count - 1], {
            customer_id: `${prefix}${count - 1}`,
            service_name: "api",
            amount: "123456789012345678901234.123456789012345678",
            unit_cost: "0.0001",
            recorded_at: `${at("2026-01-30T16:45:23.5Z")}`,
            metadata: null,
            batch_id: encoded.batchId,
            position: `${count - 1}`
          })
          const row = (yield* ledger).find((_) => _.batch_key === sent.key)
          assert.deepStrictEqual(row, {
            batch_id: encoded.batchId,
            batch_key: sent.key,
            record_count: `${count}`,
            months: "{2026-01-01}",
            source: "test"
          })
          yield* assertConsistent
        })
      )

      it.effect(`${way}: the same batch again is stored once, one after the other and ten at a time`, () =>
        Effect.gen(function* () {
          const store = yield* UsageStore
          const prefix = `again-${way}-`
          const sent = batch(many(prefix, count))
          const encoded = yield* store.encode(sent)
          const first = yield* Effect.all(
            Array.from({ length: 10 }, () => store.write(encoded)),
            { concurrency: "unbounded" }
          )
          assert.strictEqual(first.filter((_) => !_.alreadyCommitted).length, 1)
          for (let i = 0; i < 3; i++) assert.isTrue((yield* store.write(encoded)).alreadyCommitted)
          // A new attempt that was encoded again has another id and the same key.
          assert.isTrue((yield* store.append(sent)).alreadyCommitted)
          assert.strictEqual((yield* storedRecords(prefix)).length, count)
          yield* assertConsistent
        })
      )

      it.effect(`${way}: every awkward character comes back as it went in`, () =>
        Effect.gen(function* () {
          const store = yield* UsageStore
          const prefix = `awkward-${way}-`
          const texts = awkward.flatMap((text) => [
            { customer: `${prefix}c`, metadata: JSON.stringify({ [text.slice(0, 60_000)]: text.slice(0, 5_000) }) },
            // Metadata keeps its own spelling: spaces and escapes as they came.
            { customer: `${prefix}c`, metadata: `{ "raw" : ${JSON.stringify(text)} , "a":1,"a":2.50 }` },
            // COPY must not read a customer's id for its own syntax either. Control characters never get that far.
            { customer: `${prefix}${text.slice(0, 200)}`, metadata: null }
          ])
          const records = texts.map(({ customer, metadata }) => record(customer, { metadata }))
          while (records.length < count) records.push(record(`${prefix}fill`))
          if (way === "statement") assert.isAtMost(records.length, 150)
          yield* store.append(batch(records))
          const stored = yield* storedRecords(prefix)
          assert.strictEqual(stored.length, records.length)
          stored.forEach((row, i) => {
            assert.strictEqual(row.customer_id, records[i]!.customer)
            assert.strictEqual(row.metadata, records[i]!.metadata)
          })
          yield* assertConsistent
        })
      )

      it.effect(`${way}: keeps microseconds, and the month at its edges`, () =>
        Effect.gen(function* () {
          const store = yield* UsageStore
          const prefix = `edges-${way}-`
          const times = [
            "2000-01-01T00:00:00Z",
            "2026-02-28T23:59:59.999999Z",
            "2026-03-01T00:00:00Z",
            "2026-03-01T00:00:00.000001Z",
            "2026-12-31T23:59:59.999999Z",
            "2027-01-01T00:00:00Z",
            "2099-12-31T23:59:59.999999Z"
          ].map(at)
          const records = many(prefix, Math.max(count, times.length)).map((_, i) =>
            record(`${prefix}${i}`, { recordedAt: times[i % times.length]! })
          )
          yield* store.append(batch(records))
          const stored = yield* storedRecords(prefix)
          assert.deepStrictEqual(
            stored.map((_) => _.recorded_at),
            records.map((_) => `${_.recordedAt}`)
          )
          yield* assertConsistent
        })
      )

      it.effect(`${way}: a price that is set after encoding and before writing is the price stored`, () =>
        Effect.gen(function* () {
          const store = yield* UsageStore
          const catalogs = yield* CatalogStore
          const prefix = `price-${way}-`
          const encoded = yield* store.encode(
            batch([...many(prefix, count), record(`${prefix}own`), record(`${prefix}given`, { unitCost: "7.5" })])
          )
          const price = { service: "api" as ServiceName, from: at("2026-01-30T16:00:00Z") }
          yield* catalogs.setPrice({ ...price, customer: undefined, unitCost: "0.5" })
          yield* catalogs.setPrice({ ...price, customer: `${prefix}own` as CustomerId, unitCost: "0.25" })
          yield* store.write(encoded)
          const costs = (yield* storedRecords(prefix)).map((_) => _.unit_cost)
          assert.deepStrictEqual(costs, [...many(prefix, count).map(() => "0.5"), "0.25", "7.5"])
          yield* catalogs.setPrice({ ...price, customer: undefined, unitCost: "0.0001" })
        })
      )

      it.effect(`${way}: a price that another process set is the price stored`, () =>
        Effect.gen(function* () {
          const { name, sql } = yield* Database
          const store = yield* UsageStore
          const prefix = `other-${way}-`
          const encoded = yield* store.encode(batch(many(prefix, count, { service: "database" as ServiceName })))
          yield* sql.withTransaction(
            Effect.andThen(
              sql.unsafe(`update ${name("billing_prices")} set unit_cost = 3 where service_name = 'database'`),
              sql.unsafe(`update ${name("billing_catalog")} set version = version + 1`)
            )
          )
          yield* store.write(encoded)
          assert.deepStrictEqual([...new Set((yield* storedRecords(prefix)).map((_) => _.unit_cost))], ["3"])
        })
      )

      it.effect(`${way}: makes a partition that is missing, also one that was dropped behind its back`, () =>
        Effect.gen(function* () {
          const { name, sql } = yield* Database
          const store = yield* UsageStore
          const month = way === "copy" ? "2031-05" : "2031-06"
          const prefix = `partition-${way}-`
          const write = () => store.append(batch(many(prefix, count, { recordedAt: at(`${month}-15`) })))
          yield* write()
          const table = name(`billing_usage_records_${month.replace("-", "_")}`)
          assert.strictEqual((yield* sql.unsafe(`select from ${table}`)).length, count)
          yield* sql.unsafe(`drop table ${table}`)
          yield* sql.unsafe(`delete from ${name("billing_usage_batches")} where months = array['${month}-01'::date]`)
          assert.isFalse((yield* write()).alreadyCommitted)
          assert.strictEqual((yield* storedRecords(prefix)).length, count)
          yield* assertConsistent
        })
      )

      it.effect(`${way}: a companion commits with the batch, runs once, and takes the batch along when it fails`, () =>
        Effect.gen(function* () {
          const { name, sql } = yield* Database
          const store = yield* UsageStore
          const prefix = `companion-${way}-`
          const note = (text: string) =>
            sql.unsafe(`select from ${name("billing_dead_letters")} where place = $1`, [text])
          const insert = `insert into ${name("billing_dead_letters")} (source, place, field, problem, remedy, content)
            values ('test', $1, 'f', 'p', 'r', ''::bytea)`
          const good = batch(many(`${prefix}good-`, count))
          for (let i = 0; i < 3; i++) {
            const { alreadyCommitted } = yield* store.append(good, (query) => query(insert, [`${prefix}good`]))
            assert.strictEqual(alreadyCommitted, i > 0)
          }
          assert.strictEqual((yield* note(`${prefix}good`)).length, 1)
          const bad = batch(many(`${prefix}bad-`, count))
          const exit = yield* Effect.exit(
            store.append(bad, (query) =>
              Effect.andThen(query(insert, [`${prefix}bad`]), query("select 1/0 as boom", []))
            )
          )
          assert.isTrue(Exit.isFailure(exit))
          assert.strictEqual((yield* note(`${prefix}bad`)).length, 0)
          assert.strictEqual((yield* storedRecords(`${prefix}bad-`)).length, 0)
          // Its key is free: the same batch can still be stored.
          assert.isFalse((yield* store.append(bad)).alreadyCommitted)
          yield* assertConsistent
        })
      )

      it.effect(`${way}: a batch that the table refuses leaves nothing, and its key is free`, () =>
        Effect.gen(function* () {
          const store = yield* UsageStore
          const prefix = `refused-${way}-`
          const poison: ReadonlyArray<Partial<UsageRecord>> = [
            { amount: "-1" },
            { amount: "NaN" },
            { amount: "1e24" },
            { amount: `0.${"0".repeat(18)}1` },
            { unitCost: "1e12" },
            { metadata: "{" },
            { amount: "one" }
          ]
          for (const [i, more] of poison.entries()) {
            const records = many(prefix, count)
            records[count - 1] = record(`${prefix}poison`, more)
            const sent = batch(records)
            const error = yield* Effect.flip(store.append(sent))
            assert.strictEqual(error.reason._tag, "Refused", `${i}: ${error.message}`)
            assert.isFalse(error.isRetryable)
            assert.isUndefined((yield* ledger).find((_) => _.batch_key === sent.key))
          }
          assert.deepStrictEqual(yield* storedRecords(prefix), [])
          const { alreadyCommitted } = yield* store.append(batch(many(prefix, count)))
          assert.isFalse(alreadyCommitted)
          yield* assertConsistent
        })
      )
    }

    it.effect("the two ways know each other's batches", () =>
      Effect.gen(function* () {
        const store = yield* UsageStore
        const { sql } = yield* Database
        const prefix = "ways-"
        // A caller's transaction takes any batch in one statement.
        const sent = batch(many(prefix, copied))
        yield* sql.withTransaction(store.appendInTransaction(sent))
        assert.isTrue((yield* store.append(sent)).alreadyCommitted)
        const other = batch(many(`${prefix}other-`, copied))
        assert.isFalse((yield* store.append(other)).alreadyCommitted)
        assert.isTrue((yield* sql.withTransaction(store.appendInTransaction(other))).alreadyCommitted)
        assert.strictEqual((yield* storedRecords(prefix)).length, 2 * copied)
        yield* assertConsistent
      })
    )

    it.effect("customers are registered once, and keep what is known of them", () =>
      Effect.gen(function* () {
        const { name, sql } = yield* Database
        const store = yield* UsageStore
        const catalogs = yield* CatalogStore
        yield* catalogs.putCustomer("known" as CustomerId, "Known Ltd.")
        yield* Effect.all(
          Array.from({ length: 8 }, (_, i) =>
            // In different orders, which would deadlock writers that take the rows as they come.
            store.append(batch(i % 2 === 0 ? many("new-", 40).concat(record("known")) : many("new-", 40).toReversed()))
          ),
          { concurrency: "unbounded" }
        )
        const rows = yield* sql.unsafe<{ customer_id: string; display_name: string | null }>(
          `select customer_id, display_name from ${name("billing_customers")} where customer_id like 'new-%' or customer_id = 'known'`
        )
        assert.strictEqual(rows.length, 41)
        assert.strictEqual(rows.find((_) => _.customer_id === "known")?.display_name, "Known Ltd.")
        yield* assertConsistent
      })
    )

    it.effect("writers that need the same new month at once make it once, and all land", () =>
      Effect.gen(function* () {
        const { name, sql } = yield* Database
        const prefix = "race-"
        const [first, second] = [yield* UsageStore, yield* freshStore]
        yield* Effect.all(
          [first, second].flatMap((store, i) =>
            [3, copied, 5, copied].map((count, j) =>
              store.append(batch(many(`${prefix}${i}-${j}-`, count, { recordedAt: at(`20${50 + j}-0${1 + j}-01`) })))
            )
          ),
          { concurrency: "unbounded" }
        )
        assert.strictEqual((yield* storedRecords(prefix)).length, 2 * (3 + copied + 5 + copied))
        const partitions = yield* sql.unsafe<{ name: string }>(
          `select inhrelid::regclass::text as name from pg_inherits where inhparent = '${name("billing_usage_records")}'::regclass`
        )
        for (const month of ["2050_01", "2051_02", "2052_03", "2053_04"]) {
          assert.strictEqual(partitions.filter((_) => _.name.endsWith(month)).length, 1)
        }
        yield* assertConsistent
      })
    )

    it.effect("two writers of many batches at once lose nothing and double nothing", () =>
      Effect.gen(function* () {
        const prefix = "stress-"
        const stores = [yield* UsageStore, yield* freshStore]
        const sizes = [1, 2, 149, 150, 151, 700]
        const sent = Array.from({ length: 24 }, (_, i) => batch(many(`${prefix}${i}-`, sizes[i % sizes.length]!)))
        // Each batch twice, by either writer.
        const results = yield* Effect.forEach(
          [...sent, ...sent],
          (one, i) => stores[(i + (i >= sent.length ? 1 : 0)) % 2]!.append(one),
          { concurrency: 12 }
        )
        assert.strictEqual(results.filter((_) => !_.alreadyCommitted).length, sent.length)
        const expected = sent.reduce((sum, _) => sum + _.records.length, 0)
        assert.strictEqual((yield* storedRecords(prefix)).length, expected)
        yield* assertConsistent
      })
    )

    it.effect("appendInTransaction commits and rolls back with the caller", () =>
      Effect.gen(function* () {
        const { sql } = yield* Database
        const store = yield* UsageStore
        const prefix = "tx-"
        const inTransaction = (which: string) => store.appendInTransaction(batch(many(`${prefix}${which}-`, 3)))
        assert.isFalse(yield* store.inTransaction)
        assert.isTrue(yield* sql.withTransaction(store.inTransaction))
        yield* sql.withTransaction(inTransaction("kept"))
        yield* Effect.flip(sql.withTransaction(Effect.andThen(inTransaction("rolled"), Effect.fail("changed my mind"))))
        // A savepoint that is rolled back inside a transaction that commits.
        yield* sql.withTransaction(
          Effect.gen(function* () {
            yield* inTransaction("outer")
            yield* Effect.exit(sql.withTransaction(Effect.andThen(inTransaction("inner"), Effect.fail("no"))))
            yield* inTransaction("after")
          })
        )
        const customers = (yield* storedRecords(prefix)).map((_) => _.customer_id)
        assert.sameMembers(
          customers,
          ["kept", "outer", "after"].flatMap((which) => [0, 1, 2].map((i) => `${prefix}${which}-${i}`))
        )
        yield* assertConsistent
      })
    )

    it.effect("a new month in a transaction that rolls back is made again for the next", () =>
      Effect.gen(function* () {
        const { sql } = yield* Database
        const store = yield* UsageStore
        const prefix = "tx-month-"
        const records = many(prefix, 2, { recordedAt: at("2041-07-15") })
        yield* Effect.flip(
          sql.withTransaction(Effect.andThen(store.appendInTransaction(batch(records)), Effect.fail("no")))
        )
        yield* store.append(batch(records))
        yield* sql.withTransaction(store.appendInTransaction(batch(records)))
        assert.strictEqual((yield* storedRecords(prefix)).length, 4)
        yield* assertConsistent
      })
    )

    it.effect("a transaction that finds its partition gone fails, and the next attempt makes it", () =>
      Effect.gen(function* () {
        const { name, sql } = yield* Database
        const store = yield* UsageStore
        const prefix = "tx-gone-"
        const append = sql.withTransaction(
          store.appendInTransaction(batch(many(prefix, 2, { recordedAt: at("2042-07-15") })))
        )
        yield* append
        yield* sql.unsafe(`drop table ${name("billing_usage_records_2042_07")}`)
        yield* sql.unsafe(`delete from ${name("billing_usage_batches")} where months = array['2042-07-01'::date]`)
        yield* Effect.retry(append, { times: 1 })
        assert.strictEqual((yield* storedRecords(prefix)).length, 2)
        yield* assertConsistent
      })
    )

    it.effect("a transaction that registers a customer may record usage of that customer", () =>
      Effect.gen(function* () {
        const { sql } = yield* Database
        const store = yield* UsageStore
        const catalogs = yield* CatalogStore
        const id = "tx-customer-new" as CustomerId
        // On a server the store registers customers on another connection, which must not wait for this one.
        yield* sql
          .withTransaction(
            Effect.andThen(catalogs.putCustomer(id, "New Ltd."), store.appendInTransaction(batch([record(id)])))
          )
          .pipe(Effect.timeout("5 seconds"))
        assert.strictEqual((yield* storedRecords(id)).length, 1)
        assert.strictEqual((yield* catalogs.customers).find((_) => _.id === id)?.name, "New Ltd.")
      })
    )

    it.effect("as many transactions as there are connections can record at once", () =>
      Effect.gen(function* () {
        const { sql } = yield* Database
        const store = yield* UsageStore
        const prefix = "exhausted-"
        const connections = engine.name === "postgres" ? 6 : 1
        const areHeld = yield* Latch.make()
        let held = 0
        // Each holds a connection and then needs customers and a month that nobody knows yet.
        yield* Effect.forEach(
          Array.from({ length: 20 }, (_, i) => i),
          (i) =>
            sql.withTransaction(
              Effect.gen(function* () {
                yield* sql.unsafe("select 1")
                if (++held === connections) yield* areHeld.open
                yield* areHeld.await
                yield* store.appendInTransaction(
                  batch(many(`${prefix}${i}-`, 3, { recordedAt: at(`2043-${`${1 + (i % 12)}`.padStart(2, "0")}-01`) }))
                )
              })
            ),
          { concurrency: "unbounded" }
        ).pipe(Effect.timeout("20 seconds"))
        assert.strictEqual((yield* storedRecords(prefix)).length, 60)
        yield* assertConsistent
      })
    )
  })
})

/** A store with nothing in its memory, as in another process. */
const freshStore = Effect.gen(function* () {
  const database = yield* Database
  const context = yield* Layer.build(
    Layer.fresh(UsageStore.layer.pipe(Layer.provide(Layer.succeed(Database, database))))
  )
  return yield* Effect.provide(UsageStore, context)
})
