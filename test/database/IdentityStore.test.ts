import { assert, describe, it, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { cpSync, mkdirSync, renameSync, rmSync } from "node:fs"
import { join } from "node:path"
import type { Database } from "../../src/database/Database.ts"
import * as Embedded from "../../src/database/embedded/Embedded.ts"
import * as Postgres from "../../src/database/postgres/Postgres.ts"
import { isOf, IdentityStore } from "../../src/database/IdentityStore.ts"
import { cloneOf, makeHome, restoredDumpOf } from "../support/copies.ts"
import { administer, eachEngine, freshDatabase } from "../support/engines.ts"
import { temporaryDirectory } from "../support/exports.ts"

type Opened = Layer.Layer<Database, unknown>
const on = (database: Opened) => Layer.fresh(Layer.provide(IdentityStore.layer, database))
const historyOf = (database: Opened) =>
  Effect.provide(
    Effect.flatMap(IdentityStore, ({ history }) => history),
    on(database)
  )
const claim = (database: Opened, id: string) =>
  Effect.provide(
    Effect.flatMap(IdentityStore, (store) => store.claim(id)),
    on(database)
  )
const server = (url: string): Opened => Postgres.layer({ url: Redacted.make(url), maxConnections: 2 })
const home = (directory: string): Opened => Embedded.layer({ directory })

eachEngine("IdentityStore", (engine) => {
  layer(Layer.provideMerge(IdentityStore.layer, engine.layer), { excludeTestServices: true })((test) => {
    test.effect("a database has one id, however many ask for it first; it claims others, and goes its own way", () =>
      Effect.gen(function* () {
        const store = yield* IdentityStore
        const found = yield* Effect.all(
          Array.from({ length: 8 }, () => store.current),
          { concurrency: "unbounded" }
        )
        const [{ id }] = found as [(typeof found)[number]]
        assert.deepStrictEqual([...new Set(found.map((one) => one.id))], [id])
        assert.deepStrictEqual(found[0]!.predecessors, [])
        assert.isTrue(isOf(found[0]!, id))

        const other = "0b0c6c1e-6b0e-4d5e-9a57-1f0f7c0f7a11"
        assert.deepStrictEqual(yield* store.claim(` ${other.toUpperCase()}`), { id, predecessors: [other] })
        assert.deepStrictEqual((yield* store.claim(other)).predecessors, [other])
        for (const wrong of ["", "prod", id, `${other}0`]) {
          const refused = yield* Effect.flip(store.claim(wrong))
          assert.strictEqual(refused._tag, "InvalidInput", wrong)
        }

        const forked = yield* store.fork
        assert.notStrictEqual(forked.id, id)
        assert.deepStrictEqual([forked.predecessors, (yield* store.history).isCopy], [[], true])
        assert.isFalse(isOf(forked, id))
        assert.deepStrictEqual((yield* store.history).ancestors, [id])
        assert.deepStrictEqual(yield* store.current, forked)
        // Whom a predecessor had claimed comes with it.
        assert.deepStrictEqual((yield* store.claim(id)).predecessors.toSorted(), [id, other].toSorted())
        assert.deepStrictEqual((yield* store.history).ancestors, [])
      })
    )
  })
})

describe("a copy of a database is another one", () => {
  it.live(
    "on a server: a template's clone and a restored dump take ids of their own, and claim nothing by themselves",
    () =>
      Effect.gen(function* () {
        const url = yield* freshDatabase
        const original = yield* historyOf(server(url))
        for (const copyOf of [cloneOf, restoredDumpOf]) {
          yield* claim(server(url), "0b0c6c1e-6b0e-4d5e-9a57-1f0f7c0f7a11")
          const copy = yield* copyOf(url)
          const found = yield* historyOf(server(copy))
          assert.notStrictEqual(found.id, original.id)
          assert.deepStrictEqual([found.predecessors, found.ancestors], [[], [original.id]])
          assert.deepStrictEqual(yield* historyOf(server(copy)), found)
          // A clone of the clone has two ancestors.
          const again = yield* historyOf(server(yield* cloneOf(copy)))
          assert.deepStrictEqual(again.ancestors.toSorted(), [found.id, original.id].toSorted())
          assert.strictEqual((yield* historyOf(server(url))).id, original.id)
        }
      }).pipe(Effect.scoped)
  )

  it.live("embedded: a copied home is another, a renamed one the same", () =>
    Effect.gen(function* () {
      const root = yield* temporaryDirectory
      const first = makeHome(join(root, "first"))
      const original = yield* historyOf(home(first))
      const copy = join(root, "copy")
      cpSync(first, copy, { recursive: true, preserveTimestamps: true })
      const copied = yield* historyOf(home(copy))
      assert.notStrictEqual(copied.id, original.id)
      assert.deepStrictEqual(copied.ancestors, [original.id])
      const moved = join(root, "elsewhere", "moved")
      mkdirSync(join(root, "elsewhere"))
      renameSync(first, moved)
      assert.deepStrictEqual(yield* historyOf(home(moved)), original)
      // In the place of the original, and still a copy.
      renameSync(copy, first)
      assert.deepStrictEqual(yield* historyOf(home(first)), copied)
      rmSync(moved, { recursive: true })
    }).pipe(Effect.scoped)
  )

  it.live("whoever may use the tables may ask, also where the server does not say who it is, or takes no writes", () =>
    Effect.gen(function* () {
      const url = yield* freshDatabase
      const original = yield* historyOf(server(url))
      const role = `asker_${Math.random().toString(36).slice(2, 10)}`
      const asRole = (text: string) => {
        const other = new URL(text)
        other.username = role
        other.password = "secret"
        return server(other.href)
      }
      yield* Effect.acquireRelease(
        Effect.promise(() => administer(`create role ${role} login password 'secret'`)),
        () => Effect.promise(() => administer(`drop role ${role}`))
      )
      const clone = yield* cloneOf(url)
      const may = (on: string) =>
        `grant select, insert, update on billing_database to ${on}; grant select on billing_migrations to ${on}`
      for (const one of [url, clone]) yield* Effect.promise(() => administer(may(role), one))
      yield* Effect.addFinalizer(() => Effect.promise(() => administer(`drop owned by ${role}`, url)))
      assert.deepStrictEqual(yield* historyOf(asRole(url)), original)
      const copied = yield* historyOf(asRole(clone))
      assert.deepStrictEqual(copied.ancestors, [original.id])

      const silent = yield* cloneOf(url)
      yield* Effect.promise(() => administer(may(role), silent))
      yield* Effect.promise(() => administer("revoke execute on function pg_control_system() from public", silent))
      const found = yield* historyOf(asRole(silent))
      assert.notStrictEqual(found.id, original.id)
      assert.deepStrictEqual(yield* historyOf(asRole(silent)), found)

      const stopped = yield* cloneOf(url)
      const name = new URL(stopped).pathname.slice(1)
      yield* Effect.promise(() => administer(`alter database ${name} set default_transaction_read_only = on`))
      const none = yield* historyOf(server(stopped))
      assert.isFalse(isOf(none, original.id))
    }).pipe(Effect.scoped)
  )
})
