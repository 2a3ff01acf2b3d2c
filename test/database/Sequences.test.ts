/** Ids that are taken already: after logical replication, a fail-over, or a recovery to an earlier point in time. */
import { assert, layer } from "@effect/vitest"
import * as BigDecimal from "effect/BigDecimal"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { randomUUID } from "node:crypto"
import { Batcher } from "../../src/record/Batcher.ts"
import { Catalog } from "../../src/catalog/Catalog.ts"
import { Database } from "../../src/database/Database.ts"
import { DeadLetters } from "../../src/import/DeadLetters.ts"
import type { UsageRecord } from "../../src/domain/UsageRecord.ts"
import { Quotas } from "../../src/quota/Quotas.ts"
import { Recorder } from "../../src/record/Recorder.ts"
import { AlertStore, type NewAlert } from "../../src/alert/AlertStore.ts"
import { ArchiveFilesStore } from "../../src/archive/ArchiveFilesStore.ts"
import { ArchiveStore } from "../../src/archive/ArchiveStore.ts"
import { DeadLetterStore } from "../../src/ledger/DeadLetterStore.ts"
import { UsageStore } from "../../src/ledger/UsageStore.ts"
import { eachEngine } from "../support/engines.ts"
import { named } from "../support/FakeStore.ts"
import { assertConsistent, assertExactlyOnce, storedCustomers } from "../support/stored.ts"

const names = (prefix: string, count: number) => Array.from({ length: count }, (_, i) => `${prefix}${i}`)
const usage = (customer: string) => ({ customer, service: "api", quantity: 1, recordedAt: "2026-01-30" })
const withKey = (name: string): UsageRecord => ({ ...named(name), key: { id: name, fingerprint: randomUUID() } })

/** Lets the sequence of batch ids begin anew, as if nothing had ever been taken from it. */
const beginAnew = Effect.gen(function* () {
  const { name, sql } = yield* Database
  yield* sql.unsafe(`select setval('${name("billing_usage_batch_ids")}', 1, false)`)
})

/** Rows of a ledger whose sequence was left behind. */
const fillLedger = Effect.gen(function* () {
  const { name, sql } = yield* Database
  yield* sql.unsafe(`insert into ${name("billing_usage_batches")} (batch_id, batch_key, record_count, months, source, rolled_at)
    select highest + g, gen_random_uuid(), 0, '{}', 'old', now() from generate_series(1, 3000) g,
      (select coalesce(max(batch_id), 0) as highest from ${name("billing_usage_batches")}) b`)
  yield* beginAnew
})

const count = (table: string) =>
  Effect.gen(function* () {
    const { name, sql } = yield* Database
    const [row] = yield* sql.unsafe<{ found: string }>(`select count(*)::text as found from ${name(table)}`)
    return Number(row!.found)
  })

/** A store of its own, as another process would have. */
const anotherStore = Effect.map(Layer.build(Layer.fresh(UsageStore.layer)), (context) =>
  Context.get(context, UsageStore)
)

eachEngine("Ids of batches that are taken", (engine) => {
  layer(engine.layer, { excludeTestServices: true })((it) => {
    it.effect.each([
      ["statement", (prefix: string) => names(prefix, 3).map(named)],
      ["copy", (prefix: string) => names(prefix, 400).map(named)],
      ["keyed", (prefix: string) => names(prefix, 400).map(withKey)]
    ] as const)("%s: a batch whose id is taken is stored with another, once", ([way, make]) =>
      Effect.gen(function* () {
        yield* beginAnew
        const here = yield* anotherStore
        const first = { key: randomUUID(), source: "here", records: make(`${way}-here-`) }
        const encoded = yield* here.encode(first)
        assert.strictEqual(encoded.payload.way, way)
        // The other reserves what the one here holds, as after a fail-over, and is quicker.
        yield* beginAnew
        const there = yield* anotherStore
        const elsewhere = yield* there.encode({ key: randomUUID(), source: "there", records: make(`${way}-there-`) })
        assert.strictEqual(elsewhere.batchId, encoded.batchId)
        yield* there.write(elsewhere)
        for (const before of [false, true]) {
          const appended = yield* here.write(encoded)
          assert.strictEqual(appended.records, first.records.length)
          assert.strictEqual(appended.alreadyCommitted, before)
        }
        assertExactlyOnce(
          yield* storedCustomers(`${way}-`),
          [...first.records, ...elsewhere.batch.records].map((record) => record.customer),
          way
        )
        yield* assertConsistent
      }).pipe(Effect.scoped)
    )

    it.effect("five processes with the same block refuse nothing, at once", () =>
      Effect.gen(function* () {
        yield* beginAnew
        const stores = yield* Effect.forEach(names("p", 5), () =>
          Effect.tap(anotherStore, (store) =>
            Effect.andThen(store.encode({ key: randomUUID(), source: "reserve", records: [named("never")] }), beginAnew)
          )
        )
        yield* Effect.forEach(
          stores.flatMap((store, s) => names(`same-${s}-`, 40).map((name) => [store, name] as const)),
          ([store, name], i) =>
            store.append({ key: randomUUID(), source: "same", records: [i % 3 === 0 ? withKey(name) : named(name)] }),
          { concurrency: 10 }
        )
        assertExactlyOnce(
          yield* storedCustomers("same-"),
          names("same-", 5).flatMap((s) => names(`${s}-`, 40)),
          "same block"
        )
        yield* assertConsistent
      }).pipe(Effect.scoped)
    )

    it.effect("a sequence that is far behind is moved beyond the ledger, and never back", () =>
      Effect.gen(function* () {
        const { name, sql } = yield* Database
        yield* fillLedger
        const before = yield* count("billing_usage_batches")
        yield* Effect.gen(function* () {
          const batcher = yield* Batcher
          yield* batcher.enqueueAll(names("behind-", 500).map(usage))
          yield* batcher.flush
          assert.include(yield* batcher.state, { committed: 500, failed: 0 })
        }).pipe(Effect.provide(Layer.fresh(Batcher.layer({ size: 50, timeout: "10 millis" }))))
        assert.strictEqual(yield* count("billing_dead_letters"), 0)
        assertExactlyOnce(yield* storedCustomers("behind-"), names("behind-", 500), "behind")
        assert.strictEqual(yield* count("billing_usage_batches"), before + 10)
        const [row] = yield* sql.unsafe<{ lowest: string }>(
          `select min(batch_id)::text as lowest from ${name("billing_usage_batches")} where source = 'batcher'`
        )
        assert.isAbove(Number(row!.lowest), before)
        // An archive remembers the batches of records that have left ledger and table.
        yield* sql.unsafe(`insert into ${name("billing_archives")} (month, generation, file, state, record_count, bytes, sha256,
            taken_count, taken_last, first_event, last_event, owner, created_at)
          values ('2020-01-01', 1, 'x', 'removed', 1, 1, '${"0".repeat(64)}', 1, 90000000, now(), now(), gen_random_uuid(), now())`)
        const encoded = yield* (yield* anotherStore).encode({ key: randomUUID(), source: "x", records: [named("x")] })
        assert.isAbove(Number(encoded.batchId), 90_000_000)
        yield* sql.unsafe(`delete from ${name("billing_archives")}`)
      }).pipe(Effect.scoped)
    )

    it.effect("the caller's own transaction goes on, and has both what it did and the usage", () =>
      Effect.gen(function* () {
        const { name, sql } = yield* Database
        yield* beginAnew
        yield* sql.unsafe(`create table ${name("orders")} (id int primary key)`)
        for (const [order, key] of [
          [1, undefined],
          [2, "order-2"]
        ] as const) {
          // The block is reserved before what the ledger holds by then.
          yield* Effect.gen(function* () {
            const recorder = yield* Recorder
            yield* sql.withTransaction(recorder.recordInTransaction(usage(`warm-${order}`)))
            yield* sql.unsafe(`insert into ${name("billing_usage_batches")} (batch_id, batch_key, record_count, months, source, rolled_at)
              select g, gen_random_uuid(), 0, '{}', 'taken', now() from generate_series(1, 5000) g on conflict do nothing`)
            yield* sql.withTransaction(
              Effect.gen(function* () {
                yield* sql.unsafe(`insert into ${name("orders")} values (${order})`)
                yield* recorder.recordInTransaction({
                  ...usage(`own-${order}`),
                  ...(key === undefined ? {} : { idempotencyKey: key })
                })
                yield* sql.unsafe(`insert into ${name("orders")} values (${order} + 10)`)
              })
            )
          }).pipe(Effect.provide(Layer.fresh(Recorder.layer())))
          yield* sql.unsafe(`delete from ${name("billing_usage_batches")} where source = 'taken'`)
          yield* beginAnew
        }
        assert.deepStrictEqual(yield* storedCustomers("own-"), ["own-1", "own-2"])
        assert.strictEqual(yield* count("orders"), 4)
        yield* assertConsistent
      })
    )

    it.effect("a dead letter without a batch is kept, once", () =>
      Effect.gen(function* () {
        const letters = Context.get(yield* Layer.build(Layer.fresh(DeadLetterStore.layer)), DeadLetterStore)
        yield* beginAnew
        const letter = { source: "t", place: "t", field: "t", problem: "t", remedy: "t", content: Buffer.from("{}") }
        yield* letters.keepOnce(randomUUID(), [letter])
        yield* fillLedger
        const before = yield* count("billing_dead_letters")
        const key = randomUUID()
        for (let i = 0; i < 3; i++) yield* letters.keepOnce(key, [letter])
        assert.strictEqual((yield* count("billing_dead_letters")) - before, 1)
      }).pipe(Effect.scoped)
    )
  })
})

eachEngine("Ids of identity columns that are taken", (engine) => {
  const services = Layer.mergeAll(
    Catalog.layer,
    Quotas.layer,
    AlertStore.layer,
    ArchiveStore.layer,
    ArchiveFilesStore.layer,
    DeadLetters.layer,
    DeadLetterStore.layer,
    Batcher.layer({ size: 10 })
  )
  layer(Layer.provideMerge(services, engine.layer), { excludeTestServices: true })((it) => {
    it.effect("are moved on: prices, plans and quotas, alerts, archives, dead letters", () =>
      Effect.gen(function* () {
        const { name, sql } = yield* Database
        const catalog = yield* Catalog
        const quotas = yield* Quotas
        const alerts = yield* AlertStore
        const archives = yield* ArchiveStore
        const files = yield* ArchiveFilesStore
        const batcher = yield* Batcher
        const alert = (customer: string): NewAlert => ({
          kind: "spike",
          level: undefined,
          customer: customer as NewAlert["customer"],
          service: "api" as NewAlert["service"],
          unit: "requests",
          used: BigDecimal.fromBigInt(1n),
          limit: BigDecimal.fromBigInt(1n),
          percent: 1n,
          period: { start: 0 as never, end: 1_000_000 as never },
          raisedAt: 0 as never
        })
        const archive = (month: string) => ({
          month,
          generation: 1,
          file: `/archives/${month}.csv`,
          records: 1,
          bytes: 1,
          sha256: "0".repeat(64),
          takenCount: 1,
          takenLast: "1",
          first: `${month}-01 00:00:00+00`,
          last: `${month}-01 00:00:00+00`,
          selection: undefined
        })
        const conflicting = (value: string) =>
          Effect.gen(function* () {
            for (const quantity of [1, 2])
              yield* batcher.enqueue({ ...usage("letters"), quantity, idempotencyKey: value })
            yield* batcher.flush
          })
        const once = (round: number) =>
          Effect.gen(function* () {
            yield* catalog.addService({ name: `gpu-${round}`, unit: "hours", unitCost: "1" })
            yield* catalog.setPrice({ service: "api", unitCost: "2", from: `2030-01-0${round}` })
            yield* quotas.setPlan({ name: "pro" })
            yield* quotas.subscribe({ customer: `c-${round}`, plan: "pro" })
            yield* quotas.set({ customer: `c-${round}`, service: "api", limit: 10 })
            assert.strictEqual((yield* alerts.recordSpikes([alert(`c-${round}`)], ["log"])).length, 1)
            const archived = archive(`201${round}-01`)
            yield* files.begin(archived.file, true)
            assert.strictEqual(yield* archives.written(archived as never), "written")
            yield* conflicting(`k-${round}`)
          })
        for (const round of [1, 2, 3]) {
          yield* once(round)
          for (const [table, column] of [
            ["billing_prices", "price_id"],
            ["billing_subscriptions", "subscription_id"],
            ["billing_quotas", "quota_id"],
            ["billing_alerts", "alert_id"],
            ["billing_archives", "archive_id"],
            ["billing_dead_letters", "dead_letter_id"]
          ] as const) {
            yield* sql.unsafe(`alter table ${name(table)} alter column ${column} restart with 1`)
          }
        }
        // The same spike again is none.
        assert.deepStrictEqual(yield* alerts.recordSpikes([alert("c-1")], ["log"]), [])
        const found = yield* Effect.forEach(
          ["subscriptions", "quotas", "alerts", "alert_deliveries", "archives", "dead_letters"],
          (table) => count(`billing_${table}`)
        )
        assert.deepStrictEqual(found, [3, 3, 3, 3, 3, 3])
      })
    )
  })
})
