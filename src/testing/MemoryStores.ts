/**
 * The stores of the write path in memory: what services do with them is what they do with a database.
 *
 * A batch is stored whole or not at all, once for its key; idempotency keys are taken if and only if their records are
 * stored; records have the price in force at their time.
 */
import * as BigDecimal from "effect/BigDecimal"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { DatabaseError, KeyConflict } from "../database/DatabaseError.ts"
import * as Decimal from "../domain/Decimal.ts"
import * as Instant from "../domain/Instant.ts"
import * as PriceBook from "../domain/PriceBook.ts"
import { builtIns } from "../domain/Service.ts"
import type { UsageRecord } from "../domain/UsageRecord.ts"
import type { Catalog, CatalogStore, Customer } from "../catalog/CatalogStore.ts"
import type { DeadLetter, DeadLetterStore } from "../ledger/DeadLetterStore.ts"
import type { Appended, Batch, EncodedBatch } from "../ledger/Batch.ts"
import type { UsageStore } from "../ledger/UsageStore.ts"

/** A record and the unit cost that it was stored with. */
export interface StoredUsage {
  readonly record: UsageRecord
  readonly unitCost: string
}

/** What is stored, or what a transaction has written on top of `below`. */
class Shelf {
  readonly below: Shelf | undefined
  stored: Array<StoredUsage> = []
  readonly batches = new Set<string>()
  readonly fingerprints = new Map<string, string>()
  readonly afterCommit: Array<Effect.Effect<void>> = []
  constructor(below?: Shelf) {
    this.below = below
  }
  hasBatch(key: string): boolean {
    return this.batches.has(key) || (this.below?.hasBatch(key) ?? false)
  }
  fingerprintOf(name: string): string | undefined {
    return this.fingerprints.get(name) ?? this.below?.fingerprintOf(name)
  }
  /** A transaction's end: what it wrote is written below. */
  commit(): void {
    const below = this.below!
    for (const one of this.stored) below.stored.push(one)
    for (const key of this.batches) below.batches.add(key)
    for (const [name, fingerprint] of this.fingerprints) below.fingerprints.set(name, fingerprint)
    below.afterCommit.push(...this.afterCommit)
  }
}

/** The transaction that the calling fiber is in. */
const CurrentShelf = Context.Reference<Shelf | undefined>("effect-usage/testing/CurrentShelf", {
  defaultValue: () => undefined
})

const nameOf = ({ customer, key }: UsageRecord): string => `${customer}\u0000${key!.id}`

export const make = () => {
  const bottom = new Shelf()
  let letters: Array<DeadLetter> = []
  const letterKeys = new Set<string>()
  let lastLetter = 0
  const services = new Map<string, Catalog["services"] extends ReadonlyMap<string, infer S> ? S : never>()
  let prices: Array<PriceBook.Price> = []
  const customers = new Map<string, Customer>()
  let catalog: Catalog

  const publish = (version: number) => {
    catalog = { version: `${version}`, services: new Map(services), prices: PriceBook.make(prices) }
  }
  for (const { unitCost, ...service } of Object.values(builtIns)) {
    services.set(service.name, service)
    prices.push({ service: service.name, customer: undefined, from: -Infinity, unitCost })
  }
  publish(1)
  const change = (body: () => boolean) =>
    Effect.sync(() => {
      const changed = body()
      if (changed) publish(Number(catalog.version) + 1)
      return changed
    })
  const register = (id: Customer["id"], name?: string) =>
    Effect.map(Clock.currentTimeMillis, (now) => {
      const before = customers.get(id)
      customers.set(id, {
        id,
        name: name ?? before?.name,
        createdAt: before?.createdAt ?? Instant.fromMillis(now)
      })
    })

  const catalogs: CatalogStore["Service"] = {
    current: Effect.sync(() => catalog),
    latest: Effect.sync(() => catalog),
    reload: Effect.sync(() => catalog),
    prices: Effect.sync(() => prices),
    addService: (service, unitCost) =>
      change(() => {
        if (services.has(service.name)) return false
        services.set(service.name, service)
        prices.push({ service: service.name, customer: undefined, from: -Infinity, unitCost })
        return true
      }),
    setPrice: (price) =>
      Effect.asVoid(
        change(() => {
          const isReplaced = (other: PriceBook.Price) =>
            other.service === price.service && other.customer === price.customer && other.from === price.from
          prices = [...prices.filter((other) => !isReplaced(other)), price]
          return true
        })
      ),
    customers: Effect.sync(() => [...customers.values()].sort((a, b) => (a.id < b.id ? -1 : 1))),
    putCustomer: register,
    ensureCustomers: (ids) => Effect.forEach([...ids], (id) => register(id), { discard: true })
  }

  const unused = Effect.die("only the refusals of a batcher are kept in memory")
  const keep: DeadLetterStore["Service"]["write"] = (_, added) =>
    Effect.map(Clock.currentTimeMillis, (now) => {
      for (const letter of added) letters.push({ ...letter, id: `${++lastLetter}`, refusedAt: Instant.fromMillis(now) })
    })
  const deadLetters: DeadLetterStore["Service"] = {
    write: keep,
    keepOnce: (key, added) =>
      Effect.suspend(() => {
        if (letterKeys.has(key)) return Effect.void
        letterKeys.add(key)
        return keep(() => unused, added)
      }),
    list: ({ after, limit }) =>
      Effect.sync(() => letters.filter(({ id }) => Number(id) > Number(after)).slice(0, limit)),
    find: (id) => Effect.sync(() => letters.find((letter) => letter.id === id)),
    count: Effect.sync(() => BigInt(letters.length)),
    drop: (ids) =>
      Effect.sync(() => {
        const before = letters.length
        letters = letters.filter(({ id }) => !ids.includes(id))
        return before - letters.length
      }),
    dropCompanion: () => () => unused
  }

  /** What becomes of a batch's idempotency keys: as in `IdempotencyKeys`, the first of a key in a batch speaks for it. */
  const takeKeys = (shelf: Shelf, records: ReadonlyArray<UsageRecord>) => {
    const taken = new Map<string, string>()
    const duplicates = new Set<number>()
    const conflicts: Array<number> = []
    for (const [position, record] of records.entries()) {
      if (record.key === undefined) continue
      const name = nameOf(record)
      const before = taken.get(name) ?? shelf.fingerprintOf(name)
      if (before === undefined) taken.set(name, record.key.fingerprint)
      else if (before === record.key.fingerprint) duplicates.add(position)
      else conflicts.push(position)
    }
    return { taken, duplicates, conflicts }
  }

  const write = (shelf: Shelf, batch: Batch): Effect.Effect<Appended, DatabaseError> =>
    Effect.gen(function* () {
      const { key, records } = batch
      if (shelf.hasBatch(key)) {
        return { key, records: records.length, duplicates: 0, conflicts: [], alreadyCommitted: true }
      }
      const { conflicts, duplicates, taken } = takeKeys(shelf, records)
      if (conflicts.length > 0 && batch.onConflict === "fail") {
        const { customer, key } = records[conflicts[0]!]!
        return yield* new DatabaseError({ reason: new KeyConflict({ customer, key: key!.id }) })
      }
      yield* catalogs.ensureCustomers(new Set(records.map(({ customer }) => customer)))
      const left = new Set([...conflicts, ...duplicates])
      const fresh = records.filter((_, position) => !left.has(position))
      for (const record of fresh) {
        const { customer, recordedAt, service } = record
        const unitCost = record.unitCost ?? PriceBook.unitCost(catalog.prices, service, customer, recordedAt)
        shelf.stored.push({ record, unitCost: Decimal.toText(BigDecimal.fromStringUnsafe(unitCost)) })
      }
      for (const [name, fingerprint] of taken) shelf.fingerprints.set(name, fingerprint)
      shelf.batches.add(key)
      return { key, records: fresh.length, duplicates: duplicates.size, conflicts, alreadyCommitted: false }
    })

  const encode = (batch: Batch): EncodedBatch => ({
    batch,
    batchId: "0",
    version: catalog.version,
    months: [],
    customers: new Set(),
    payload: { way: "statement", columns: [] }
  })
  const store: UsageStore["Service"]["write"] = ({ batch }, companion) =>
    Effect.tap(write(bottom, batch), (appended) =>
      appended.alreadyCommitted || companion === undefined ? Effect.void : companion(() => unused, appended)
    )
  const usage: UsageStore["Service"] = {
    encode: (batch) => Effect.sync(() => encode(batch)),
    write: store,
    append: (batch, companion) => store(encode(batch), companion),
    appendInTransaction: (batch) => Effect.flatMap(CurrentShelf, (shelf) => write(shelf ?? bottom, batch)),
    afterCommit: (effect) =>
      Effect.flatMap(CurrentShelf, (shelf) =>
        shelf === undefined ? effect : Effect.sync(() => void shelf.afterCommit.push(effect))
      ),
    inTransaction: Effect.map(CurrentShelf, (shelf) => shelf !== undefined),
    heldByCaller: Effect.succeed(false),
    // Memory forgets nothing.
    lacking: () => Effect.succeed({ keys: new Set(), identity: { id: "memory", predecessors: [] }, server: "memory" })
  }

  /** What is written in it is stored when it succeeds, and not when it fails. In another one it is a savepoint. */
  const withTransaction = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.flatMap(CurrentShelf, (outer) => {
      const shelf = new Shelf(outer ?? bottom)
      return Effect.tap(Effect.provideService(effect, CurrentShelf, shelf), () =>
        Effect.suspend(() => {
          shelf.commit()
          return outer === undefined ? Effect.all(bottom.afterCommit.splice(0), { discard: true }) : Effect.void
        })
      )
    })

  return {
    catalogs,
    deadLetters,
    usage,
    withTransaction,
    stored: Effect.sync((): ReadonlyArray<StoredUsage> => bottom.stored),
    services: Effect.sync(() => catalog.services),
    clear: Effect.sync(() => {
      bottom.stored = []
      bottom.fingerprints.clear()
      bottom.batches.clear()
      letters = []
    })
  }
}
