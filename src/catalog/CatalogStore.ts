/**
 * Services, prices and customers as the database has them, and a copy of the first two in memory.
 *
 * The copy is what records are checked and priced with. It may be behind; the write path compares its version with the
 * database's inside each batch's transaction, and `reload` is called when they differ. So a price that was set before a
 * batch committed is the price in that batch.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Column from "../database/Column.ts"
import { Database } from "../database/Database.ts"
import type { DatabaseError } from "../database/DatabaseError.ts"
import { refuseNewer } from "../database/StepsSql.ts"
import * as Sql from "../database/Sql.ts"
import { at, literal, micros, replaced, row, sql, t, texts } from "../database/Sql.ts"
import type { CustomerId } from "../domain/CustomerId.ts"
import type * as Instant from "../domain/Instant.ts"
import * as PriceBook from "../domain/PriceBook.ts"
import type { Service } from "../domain/Service.ts"
import * as Sequences from "../database/Sequences.ts"
import { serverRun } from "../database/ServerRun.ts"

/**
 * The version of the catalog in SQL, as text, where it is read from `billing_catalog`. A server that was failed over may count
 * to the same number with other prices, so it is that of one run of a server.
 */
export const versionText = `version::text || '@' || ${serverRun}`

/** What the catalog said at one version. */
export interface Catalog {
  readonly version: string
  readonly services: ReadonlyMap<string, Service>
  readonly prices: PriceBook.PriceBook
}

/** A customer as listed. @since 0.1.0 */
export interface Customer {
  readonly id: CustomerId
  readonly name: string | undefined
  readonly createdAt: Instant.Instant
}

const ServiceRow = Schema.Struct({
  name: Column.Service,
  unit: Schema.String,
  baseUnit: Schema.String,
  unitSize: Column.Decimal
})

const PriceRow = Schema.Struct({
  service: Column.Service,
  customer: Column.orUndefined(Column.Customer),
  from: Column.Number,
  unitCost: Schema.String
})

const CustomerRow = Schema.Struct({
  id: Column.Customer,
  name: Column.orUndefined(Schema.String),
  createdAt: Column.Instant
})

const services = sql`select service_name as name, unit, base_unit as "baseUnit", unit_size::text as "unitSize"
  from ${t.services} order by place`
const prices = sql`select service_name as service, customer_id as customer, trim_scale(unit_cost)::text as "unitCost",
    (extract(epoch from effective_from) * 1000000)::text as "from"
  from ${t.prices} order by service_name, customer_id nulls first, effective_from`
const customers = sql`select customer_id as id, display_name as name, ${micros("created_at")} as "createdAt"
  from ${t.customers} order by customer_id`
const version = sql`select ${literal(versionText)} as version from ${t.catalog}`

/** Customers that this process knows to be registered; bounded, and cheap to learn again. */
const knownCustomersLimit = 200_000

export class CatalogStore extends Context.Service<
  CatalogStore,
  {
    /** The copy in memory, loaded when it is first asked for. */
    readonly current: Effect.Effect<Catalog, DatabaseError>
    /** The copy in memory, read again if the catalog has changed since. */
    readonly latest: Effect.Effect<Catalog, DatabaseError>
    /** Reads the catalog again. */
    readonly reload: Effect.Effect<Catalog, DatabaseError>
    readonly prices: Effect.Effect<ReadonlyArray<PriceBook.Price>, DatabaseError>
    /** Adds a service with its price from always on. `false` if the name is taken. */
    readonly addService: (service: Service, unitCost: string) => Effect.Effect<boolean, DatabaseError>
    /** Sets a price; one of the same service, customer and start is replaced. */
    readonly setPrice: (price: PriceBook.Price) => Effect.Effect<void, DatabaseError>
    readonly customers: Effect.Effect<ReadonlyArray<Customer>, DatabaseError>
    /** Adds or renames a customer. */
    readonly putCustomer: (id: CustomerId, name: string | undefined) => Effect.Effect<void, DatabaseError>
    /** Registers the customers that are not yet. Never waits for a caller's own transaction on a server. */
    readonly ensureCustomers: (ids: Iterable<CustomerId>) => Effect.Effect<void, DatabaseError>
  }
>()("effect-usage/catalog/CatalogStore") {
  static readonly layer: Layer.Layer<CatalogStore, never, Database> = Layer.effect(
    CatalogStore,
    Effect.gen(function* () {
      const database = yield* Database
      const { caller, own } = Sql.make(database)

      const readVersion = Effect.map(
        own.maybe(Schema.Struct({ version: Schema.String }), version),
        (row) => row?.version ?? "0"
      )

      let cached: Catalog | undefined
      let known = new Set<string>()

      // The version is read first: a change in between makes the copy look older than it is, and it is read again. A breaking
      // migration raises it too: behind one nothing more is written.
      const reload = Effect.gen(function* () {
        const version = yield* readVersion
        yield* refuseNewer(database.own, database.schema)
        const catalog: Catalog = {
          version,
          services: new Map((yield* own.all(ServiceRow, services)).map((service) => [service.name, service])),
          prices: PriceBook.make(yield* own.all(PriceRow, prices))
        }
        cached = catalog
        // Customers may have been erased.
        known = new Set()
        return catalog
      })

      const latest = Effect.gen(function* () {
        const copy = cached
        return copy !== undefined && (yield* readVersion) === copy.version ? copy : yield* reload
      })

      /** Runs a change and raises the version with it; the row's lock puts changes one after the other. */
      const change = <A>(effect: Effect.Effect<A, DatabaseError>) =>
        caller.transaction(Effect.andThen(caller.run(sql`update ${t.catalog} set version = version + 1`), effect)).pipe(
          Sequences.withFreshIds(database),
          Effect.tap(() => reload)
        )

      const addService = Effect.fn("CatalogStore.addService")((service: Service, unitCost: string) =>
        change(
          Effect.gen(function* () {
            const added = yield* caller.run(
              sql`insert into ${t.services} ${row({
                service_name: service.name,
                unit: service.unit,
                base_unit: service.baseUnit,
                unit_size: service.unitSize
              })} on conflict do nothing returning 1`
            )
            if (added === 0) return false
            yield* caller.run(sql`insert into ${t.prices} ${row({ service_name: service.name, unit_cost: unitCost })}`)
            return true
          })
        )
      )

      const setPrice = Effect.fn("CatalogStore.setPrice")(function* (price: PriceBook.Price) {
        if (price.customer !== undefined) yield* ensureCustomers([price.customer])
        yield* change(
          caller.run(
            sql`insert into ${t.prices} ${row({
              service_name: price.service,
              customer_id: price.customer,
              unit_cost: price.unitCost,
              effective_from: price.from === -Infinity ? "-infinity" : at(price.from as Instant.Instant)
            })} on conflict (service_name, customer_id, effective_from) do update set ${replaced(["unit_cost"])}`
          )
        )
      })

      const putCustomer = Effect.fn("CatalogStore.putCustomer")((id: CustomerId, displayName: string | undefined) =>
        Effect.asVoid(
          caller.run(sql`insert into ${t.customers} as c ${row({ customer_id: id, display_name: displayName })}
            on conflict (customer_id) do update set display_name = coalesce(excluded.display_name, c.display_name)`)
        )
      )

      const ensureCustomers = Effect.fnUntraced(function* (ids: Iterable<CustomerId>) {
        const missing = new Set<CustomerId>()
        for (const id of ids) if (!known.has(id)) missing.add(id)
        if (missing.size === 0) return
        for (const id of yield* visibleInTransaction(missing)) missing.delete(id)
        if (missing.size === 0) return
        // In order: two writers that register the same customers in different orders would deadlock.
        yield* own.run(sql`insert into ${t.customers} (customer_id)
          select u.id from unnest(${texts(missing)}) as u(id) order by u.id on conflict do nothing`)
        yield* database.own.afterCommit(
          Effect.sync(() => {
            if (known.size + missing.size > knownCustomersLimit) known = new Set()
            for (const id of missing) known.add(id)
          })
        )
      })

      /**
       * Those of the customers that the caller's transaction sees. It may have registered some itself: another connection
       * that registers them would wait for it, while it waits for us.
       */
      const visibleInTransaction = Effect.fnUntraced(function* (ids: ReadonlySet<CustomerId>) {
        if (database.own === database.sql || !(yield* caller.isOpen)) return []
        const rows = yield* caller.all(
          Schema.Struct({ id: Column.Customer }),
          sql`select customer_id as id from ${t.customers} where customer_id = any(${texts(ids)})`
        )
        return rows.map(({ id }) => id)
      })

      return CatalogStore.of({
        current: Effect.suspend(() => (cached === undefined ? reload : Effect.succeed(cached))),
        latest,
        reload,
        prices: caller.all(PriceRow, prices),
        addService,
        setPrice,
        customers: caller.all(CustomerRow, customers),
        putCustomer,
        ensureCustomers
      })
    })
  )
}
