/** Whose what waits in a spool is. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { cpSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { Batcher } from "../../src/record/Batcher.ts"
import { Spool } from "../../src/spool/Spool.ts"
import { SpoolDelivery } from "../../src/spool/SpoolDelivery.ts"
import * as SpoolDirectory from "../../src/spool/SpoolDirectory.ts"
import { IdentityStore } from "../../src/database/IdentityStore.ts"
import { temporaryDirectory } from "../support/child.ts"
import { usage } from "../support/cli.ts"
import { cloneOf, makeHome } from "../support/copies.ts"
import { freshDatabase, postgresLayer } from "../support/engines.ts"
import { storedCustomers } from "../support/stored.ts"

const line = (customer: string) => `{"customer":"${customer}","service":"api","quantity":1}\n`

const drop = (directory: string, customer: string) =>
  Effect.promise(async () => SpoolDirectory.drop(await SpoolDirectory.openSpool(directory), line(customer)))

const deliver = (url: string, directory: string) =>
  Effect.flatMap(SpoolDelivery, (delivery) => delivery.deliverAll()).pipe(
    Effect.provide(
      Layer.fresh(SpoolDelivery.layer({ retryFor: "10 seconds" })).pipe(
        Layer.provide([postgresLayer(url), Spool.layer({ directory })])
      )
    )
  )

const customersOf = (url: string) =>
  Effect.map(Effect.provide(storedCustomers(), postgresLayer(url)), (customers) => customers.toSorted())

const identityOf = (url: string) =>
  Effect.provide(
    Effect.flatMap(IdentityStore, ({ current }) => current),
    IdentityStore.layer.pipe(Layer.provide(postgresLayer(url)))
  )

describe("a spool", () => {
  it.live("in which something waits is delivered to its own database, or to its successor, and to no other", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const ours = yield* freshDatabase
      yield* drop(directory, "first")
      yield* deliver(ours, directory)
      const { id } = yield* identityOf(ours)
      const copy = yield* cloneOf(ours)
      yield* drop(directory, "second")
      const refused = yield* Effect.flip(deliver(copy, directory))
      assert.strictEqual(refused.reason._tag, "SpoolOfAnother")
      assert.isFalse(refused.isRetryable)
      assert.include(refused.message, id)
      assert.deepStrictEqual(yield* customersOf(copy), ["first"])
      yield* deliver(ours, directory)
      assert.deepStrictEqual(yield* customersOf(ours), ["first", "second"])
      // Nothing waits: whoever comes next may have it.
      assert.deepStrictEqual(yield* deliver(copy, directory), { batches: 0, records: 0, refused: 0 })
      yield* drop(directory, "third")
      assert.strictEqual((yield* Effect.flip(deliver(ours, directory))).reason._tag, "SpoolOfAnother")
      const other = yield* identityOf(copy)
      yield* Effect.provide(
        Effect.flatMap(IdentityStore, (store) => store.claim(other.id)),
        IdentityStore.layer.pipe(Layer.provide(postgresLayer(ours)))
      )
      yield* deliver(ours, directory)
      assert.deepStrictEqual(yield* customersOf(ours), ["first", "second", "third"])
      assert.deepStrictEqual(yield* customersOf(copy), ["first"])
    }).pipe(Effect.scoped)
  )

  it.live("that was copied is delivered to the same database without harm", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const copy = yield* temporaryDirectory
      const url = yield* freshDatabase
      const spool = yield* Effect.promise(() => SpoolDirectory.openSpool(directory))
      for (const customer of ["a", "b"]) {
        yield* drop(directory, customer)
        yield* Effect.promise(() => SpoolDirectory.claimInbox(spool))
      }
      cpSync(directory, copy, { recursive: true, preserveTimestamps: true })
      yield* deliver(url, directory)
      yield* deliver(url, copy)
      assert.deepStrictEqual(yield* customersOf(url), ["a", "b"])
    }).pipe(Effect.scoped)
  )

  it.live("of another keeps what a batcher enqueues, and loses nothing when that is mended", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const [ours, other] = [yield* freshDatabase, yield* freshDatabase]
      yield* drop(directory, "first")
      yield* deliver(ours, directory)
      yield* drop(directory, "waiting")
      yield* Effect.flatMap(Batcher, (batcher) =>
        Effect.andThen(batcher.enqueue({ customer: "enqueued", service: "api", quantity: 1 }), batcher.flush)
      ).pipe(
        Effect.provide(
          Layer.fresh(Batcher.layerSpooled({ size: 10, timeout: "20 millis" })).pipe(
            Layer.provide([postgresLayer(other), Spool.layer({ directory })])
          )
        )
      )
      assert.deepStrictEqual(yield* customersOf(other), [])
      yield* deliver(ours, directory)
      assert.deepStrictEqual(yield* customersOf(ours), ["enqueued", "first", "waiting"])
    }).pipe(Effect.scoped)
  )
})

describe("a home that is copied with its spool", () => {
  it.live("says whose that is, and delivers it once somebody has claimed it", () =>
    Effect.gen(function* () {
      const root = yield* temporaryDirectory
      const home = makeHome(join(root, "home"))
      const env = { USAGE_HOME: home }
      yield* usage(env, "batch", "add", "acme", "api", "1")
      assert.strictEqual((yield* usage(env, "batch", "flush")).code, 0)
      yield* usage(env, "batch", "add", "acme", "api", "2")
      const copy = { USAGE_HOME: join(root, "copy") }
      cpSync(home, copy.USAGE_HOME, { recursive: true, preserveTimestamps: true })
      const id = readFileSync(join(home, "spool", "database"), "utf8").trim()
      const flushed = yield* usage(copy, "batch", "flush")
      assert.strictEqual(flushed.code, 1)
      assert.include(flushed.stderr, `belongs to database ${id}`)
      assert.include(flushed.stderr, `usage database claim ${id}`)
      const status = JSON.parse((yield* usage(copy, "batch", "status", "--format", "json")).stdout)
      assert.deepStrictEqual([status.inbox_files, status.database], [1, id])
      const doctor = yield* usage(copy, "doctor")
      assert.strictEqual(doctor.code, 3)
      assert.include(doctor.stdout, `belongs to database ${id}`)
      const erased = yield* usage(copy, "customer", "erase", "acme", "--confirm", "acme")
      assert.strictEqual(erased.code, 3, erased.stderr)
      assert.include(`${erased.stdout}${erased.stderr}`, "another database's")
      assert.strictEqual(readdirSync(join(copy.USAGE_HOME, "spool", "inbox")).length, 1)
      yield* usage(copy, "database", "claim", id)
      assert.include((yield* usage(copy, "batch", "flush")).stderr, "delivered 1 records")
      assert.include((yield* usage(env, "batch", "flush")).stderr, "delivered 1 records")
    }).pipe(Effect.scoped)
  )
})
