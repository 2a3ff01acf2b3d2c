/** What a database forgets that it had committed, the spool brings again. */
import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Batcher } from "../../src/record/Batcher.ts"
import { Database } from "../../src/database/Database.ts"
import { Spool } from "../../src/spool/Spool.ts"
import { SpoolDelivery } from "../../src/spool/SpoolDelivery.ts"
import { eachEngine } from "../support/engines.ts"
import { assertConsistent, assertExactlyOnce, storedCustomers } from "../support/stored.ts"

const temporary = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-usage-delivered-"))),
  (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
)
const names = (prefix: string, count: number) => Array.from({ length: count }, (_, i) => `${prefix}${i}`)
const usage = (customer: string) => ({ customer, service: "api", quantity: 1, recordedAt: "2026-01-30" })

/** Enqueues through a spool, and delivers. */
const spooled = (directory: string, customers: ReadonlyArray<string>, more: { keepDelivered?: string } = {}) =>
  Effect.flatMap(Batcher, (batcher) =>
    Effect.andThen(
      Effect.forEach(customers, (customer) => batcher.enqueue(usage(customer)), { discard: true }),
      batcher.flush
    )
  ).pipe(
    Effect.provide(
      Layer.fresh(Batcher.layerSpooled({ size: 10, timeout: "10 millis" })).pipe(
        Layer.provide(Spool.layer({ directory, ...(more as object) }))
      )
    )
  )

const deliver = (directory: string) =>
  Effect.flatMap(SpoolDelivery, (delivery) => delivery.deliverAll()).pipe(
    Effect.provide(Layer.fresh(SpoolDelivery.layer()).pipe(Layer.provide(Spool.layer({ directory }))))
  )

/** Takes batches out of the database, as if they had never come. */
const forget = (where: string) =>
  Effect.gen(function* () {
    const { name, sql } = yield* Database
    const which = `batch_id in (select batch_id from ${name("billing_usage_batches")} where ${where})`
    yield* sql.unsafe(`delete from ${name("billing_usage_records")} where ${which}`)
    yield* sql.unsafe(`delete from ${name("billing_usage_keys")} where ${which}`)
    yield* sql.unsafe(`delete from ${name("billing_usage_batches")} where ${where}`)
  })

const kept = (directory: string): ReadonlyArray<string> =>
  readdirSync(join(directory, "delivered"), { recursive: true })
    .map(String)
    .filter((name) => name.endsWith(".segment"))

/** Those that were looked for in the ledger. */
const found = (directory: string) => kept(directory).filter((name) => name.split("/").length === 3)

/** As if they had been found by a server that ran before this one. */
const ofAnotherRun = (directory: string) => {
  const [database, server] = found(directory)[0]!.split("/")
  renameSync(join(directory, "delivered", database!, server!), join(directory, "delivered", database!, "1"))
}

eachEngine("Batches that were delivered", (engine) => {
  layer(engine.layer, { excludeTestServices: true })((it) => {
    it.effect("are kept for a while, and brought again where the ledger lacks them", () =>
      Effect.gen(function* () {
        const directory = yield* temporary
        const all = names("kept-", 35)
        yield* spooled(directory, all)
        const count = kept(directory).length
        assert.isAtLeast(count, 4)
        yield* deliver(directory)
        assert.strictEqual(found(directory).length, count)
        // Found in this run of the server, they are not asked for again. In another run they are.
        yield* forget("source = 'spool' and batch_key::text < '8'")
        const lost = all.length - (yield* storedCustomers("kept-")).length
        assert.strictEqual((yield* deliver(directory)).batches, 0)
        ofAnotherRun(directory)
        assert.strictEqual((yield* deliver(directory)).records, lost)
        assertExactlyOnce(yield* storedCustomers("kept-"), all, "another server")
        assert.deepStrictEqual(yield* deliver(directory), { batches: 0, records: 0, refused: 0 })
        assert.strictEqual(found(directory).length, count)
        yield* assertConsistent
      }).pipe(Effect.scoped)
    )

    it.effect("are left alone by another database, and not kept where that is not wanted", () =>
      Effect.gen(function* () {
        const { name, sql } = yield* Database
        const directory = yield* temporary
        yield* spooled(directory, names("other-", 10))
        yield* forget("source = 'spool'")
        yield* sql.unsafe(`update ${name("billing_database")} set database_id = gen_random_uuid() where kind = 'self'`)
        assert.strictEqual((yield* deliver(directory)).batches, 0)
        assert.strictEqual(kept(directory).length, 1)
        const another = yield* temporary
        yield* spooled(another, names("unkept-", 10), { keepDelivered: "0 millis" })
        assert.deepStrictEqual(readdirSync(another).includes("delivered"), false)
        assert.strictEqual((yield* storedCustomers("unkept-")).length, 10)
      }).pipe(Effect.scoped)
    )

    it.effect("a batch of which a record was refused is found whole, and a batch of nothing is not kept", () =>
      Effect.gen(function* () {
        const { name, sql } = yield* Database
        const directory = yield* temporary
        yield* sql.unsafe(
          `alter table ${name("billing_usage_records")} add constraint no_poison check (customer_id <> 'poison')`
        )
        yield* spooled(directory, [...names("fine-", 5), "poison"])
        for (let look = 0; look < 3; look++) assert.strictEqual((yield* deliver(directory)).batches, 0, `look ${look}`)
        const [letters] = yield* sql.unsafe<{ found: string }>(
          `select count(*)::text as found from ${name("billing_dead_letters")}`
        )
        assert.strictEqual(letters!.found, "1")
        yield* forget("true")
        yield* sql.unsafe(`delete from ${name("billing_dead_letters")}`)
        assert.strictEqual((yield* storedCustomers("fine-")).length, 0)
        yield* sql.unsafe(`alter table ${name("billing_usage_records")} drop constraint no_poison`)
      }).pipe(Effect.scoped)
    )
  })
})
