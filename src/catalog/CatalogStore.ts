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
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as SqlSchema from "effect/sql/SqlSchema"
import { atomically, Database, serialized } from "../database/Database.ts"
import { type DatabaseError, fromUnknown } from "../database/DatabaseError.ts"
import type { CustomerId } from "../domain/CustomerId.ts"
import * as Decimal from "../domain/Decimal.ts"
import * as Instant from "../domain/Instant.ts"
import * as PriceBook from "../domain/PriceBook.ts"
import type { Service, ServiceName } from "../domain/Service.ts"
import * as Sequences from "../database/Sequences.ts"
import { serverRun } from "../database/ServerRun.ts"
import { timestamp } from "../database/Timestamp.ts"

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
  service_name: Schema.String,
  unit: Schema.String,
  base_unit: Schema.String,
  unit_size: Schema.String
})

const PriceRow = Schema.Struct({
  service_name: Schema.String,
  customer_id: Schema.NullOr(Schema.String),
  unit_cost: Schema.String,
  effective_from: Schema.String
})

const CustomerRow = Schema.Struct({
  customer_id: Schema.String,
  display_name: Schema.NullOr(Schema.String),
  created_at: Schema.String
})

/** Customers that this process knows to be registered; bounded, and cheap to learn again. */
const knownCustomersLimit = 200_000

const serviceOf = (row: typeof ServiceRow.Type): Service => ({
  name: row.service_name as ServiceName,
  unit: row.unit,
  baseUnit: row.base_unit,
  unitSize: Decimal.fromDatabase(row.unit_size)
})

const priceOf = (row: typeof PriceRow.Type): PriceBook.Price => ({
  service: row.service_name as ServiceName,
  customer: row.customer_id === null ? undefined : (row.customer_id as CustomerId),
  from: row.effective_from === "-Infinity" ? -Infinity : Number(row.effective_from),
  unitCost: row.unit_cost
})

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
      const { bounded, name, own, sql } = database
      const services = name("billing_services")
      const prices = name("billing_prices")
      const catalogTable = name("billing_catalog")
      const customers = name("billing_customers")

      const readServices = SqlSchema.findAll({
        Request: Schema.Void,
        Result: ServiceRow,
        execute: () =>
          own.unsafe(`select service_name, unit, base_unit, unit_size::text from ${services} order by place`).unprepared
      })
      const readPrices = (client: typeof sql) =>
        SqlSchema.findAll({
          Request: Schema.Void,
          Result: PriceRow,
          execute: () =>
            serialized(
              client,
              client.unsafe(`select service_name, customer_id, trim_scale(unit_cost)::text as unit_cost,
                (extract(epoch from effective_from) * 1000000)::text as effective_from
              from ${prices} order by service_name, customer_id nulls first, effective_from`)
            )
        })
      const readCustomers = SqlSchema.findAll({
        Request: Schema.Void,
        Result: CustomerRow,
        execute: () =>
          serialized(
            sql,
            sql.unsafe(`select customer_id, display_name, (extract(epoch from created_at) * 1000000)::bigint::text as created_at
              from ${customers} order by customer_id`).unprepared
          )
      })
      const readVersion = Effect.map(
        own.unsafe<{ version: string }>(`select ${versionText} as version from ${catalogTable}`).unprepared,
        (rows) => rows[0]?.version ?? "0"
      )

      let cached: Catalog | undefined
      let known = new Set<string>()

      // The version is read first: a change in between makes the copy look older than it is, and it is read again.
      const reload = Effect.gen(function* () {
        const version = yield* readVersion
        const foundServices = yield* readServices(undefined)
        const foundPrices = yield* readPrices(own)(undefined)
        const catalog: Catalog = {
          version,
          services: new Map(foundServices.map((row) => [row.service_name, serviceOf(row)])),
          prices: PriceBook.make(foundPrices.map(priceOf))
        }
        cached = catalog
        // Customers may have been erased.
        known = new Set()
        return catalog
      }).pipe(Effect.mapError(fromUnknown), bounded)

      const latest = Effect.gen(function* () {
        const copy = cached
        if (copy === undefined) return yield* reload
        const version = yield* bounded(Effect.mapError(readVersion, fromUnknown))
        return version === copy.version ? copy : yield* reload
      })

      /** Runs a change and raises the version with it; the row's lock puts changes one after the other. */
      const change = <A>(effect: Effect.Effect<A, unknown>) =>
        atomically(
          sql,
          Effect.andThen(sql.unsafe(`update ${catalogTable} set version = version + 1`).unprepared, effect)
        ).pipe(
          Effect.mapError(fromUnknown),
          Sequences.withFreshIds(database),
          Effect.tap(() => reload)
        )

      const addService = Effect.fn("CatalogStore.addService")((service: Service, unitCost: string) =>
        change(
          Effect.gen(function* () {
            const added = yield* sql.unsafe(
              `insert into ${services} (service_name, unit, base_unit, unit_size)
              values ($1, $2, $3, ($4::text)::numeric) on conflict do nothing returning 1 as added`,
              [service.name, service.unit, service.baseUnit, Decimal.toText(service.unitSize)]
            ).unprepared
            if (added.length === 0) return false
            yield* sql.unsafe(`insert into ${prices} (service_name, unit_cost) values ($1, ($2::text)::numeric)`, [
              service.name,
              unitCost
            ]).unprepared
            return true
          })
        )
      )

      const setPrice = Effect.fn("CatalogStore.setPrice")(function* (price: PriceBook.Price) {
        if (price.customer !== undefined) yield* ensureCustomers([price.customer])
        yield* change(
          sql.unsafe(
            `insert into ${prices} (service_name, customer_id, unit_cost, effective_from)
            values ($1, $2, ($3::text)::numeric, coalesce($4::text::timestamptz, '-infinity'))
            on conflict (service_name, customer_id, effective_from) do update set unit_cost = excluded.unit_cost`,
            [
              price.service,
              price.customer ?? null,
              price.unitCost,
              price.from === -Infinity ? null : timestamp(price.from as Instant.Instant)
            ]
          ).unprepared
        )
      })

      const putCustomer = Effect.fn("CatalogStore.putCustomer")((id: CustomerId, displayName: string | undefined) =>
        Effect.asVoid(
          Effect.mapError(
            serialized(
              sql,
              sql.unsafe(
                `insert into ${customers} (customer_id, display_name) values ($1, $2)
                on conflict (customer_id) do update set display_name = coalesce(excluded.display_name, ${customers}.display_name)`,
                [id, displayName ?? null]
              ).unprepared
            ),
            fromUnknown
          )
        )
      )

      const ensureCustomers = Effect.fnUntraced(function* (ids: Iterable<CustomerId>) {
        const missing = new Set<CustomerId>()
        for (const id of ids) if (!known.has(id)) missing.add(id)
        if (missing.size === 0) return
        for (const id of yield* visibleInTransaction(missing)) missing.delete(id)
        if (missing.size === 0) return
        // In order: two writers that register the same customers in different orders would deadlock.
        yield* bounded(
          own.unsafe(
            `insert into ${customers} (customer_id) select u.id from unnest($1::text[]) as u(id) order by u.id on conflict do nothing`,
            [[...missing]]
          ).unprepared
        )
        yield* own.afterCommit(
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
        if (own === sql || Option.isNone(yield* Effect.serviceOption(sql.transactionService))) return []
        const rows = yield* Effect.mapError(
          sql.unsafe<{ customer_id: CustomerId }>(
            `select customer_id from ${customers} where customer_id = any($1::text[])`,
            [[...ids]]
          ).unprepared,
          fromUnknown
        )
        return rows.map((row) => row.customer_id)
      })

      return CatalogStore.of({
        current: Effect.suspend(() => (cached === undefined ? reload : Effect.succeed(cached))),
        latest,
        reload,
        prices: Effect.map(Effect.mapError(readPrices(sql)(undefined), fromUnknown), (rows) => rows.map(priceOf)),
        addService,
        setPrice,
        customers: Effect.map(Effect.mapError(readCustomers(undefined), fromUnknown), (rows) =>
          rows.map((row) => ({
            id: row.customer_id as CustomerId,
            name: row.display_name ?? undefined,
            createdAt: Number(row.created_at) as Instant.Instant
          }))
        ),
        putCustomer,
        ensureCustomers
      })
    })
  )
}
