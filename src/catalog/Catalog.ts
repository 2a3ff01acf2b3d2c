/** What is metered and what it costs: services, customers and prices. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import type { Database } from "../database/Database.ts"
import { DatabaseError } from "../database/DatabaseError.ts"
import * as CustomerId from "../domain/CustomerId.ts"
import * as Decimal from "../domain/Decimal.ts"
import * as Instant from "../domain/Instant.ts"
import { InvalidInput } from "../domain/InvalidInput.ts"
import type { Price } from "../domain/PriceBook.ts"
import * as Service from "../domain/Service.ts"
import { ServiceError } from "../domain/ServiceError.ts"
import { parseIdentifier } from "../domain/Text.ts"
import { CatalogStore, type Customer } from "./CatalogStore.ts"

export type { Customer } from "./CatalogStore.ts"

/** @since 0.1.0 */
export class CatalogError extends ServiceError<CatalogError>()("CatalogError", [InvalidInput, DatabaseError]) {}

/**
 * A service to be added.
 *
 * - `unit`: the billing unit (`GPU-hours`)
 * - `baseUnit`: the unit that records keep (`GPU-seconds`); the billing unit, if absent
 * - `unitSize`: base units in a billing unit (`3600`), 1 if absent
 * - `unitCost`: of a billing unit, from always on; 0 if absent
 *
 * @since 0.1.0
 */
export interface NewService {
  readonly name: string
  readonly unit: string
  readonly baseUnit?: string | undefined
  readonly unitSize?: Decimal.DecimalInput | undefined
  readonly unitCost?: Decimal.DecimalInput | undefined
}

/**
 * A price to be set. `from`: from then on, in UTC; from always on, if absent. `customer`: for everybody, if absent.
 *
 * @since 0.1.0
 */
export interface NewPrice {
  readonly service: string
  readonly unitCost: Decimal.DecimalInput
  readonly from?: Instant.InstantInput | undefined
  readonly customer?: string | undefined
}

/** @since 0.1.0 */
export class Catalog extends Context.Service<
  Catalog,
  {
    readonly services: Effect.Effect<ReadonlyArray<Service.Service>, CatalogError>
    readonly addService: (service: NewService) => Effect.Effect<Service.Service, CatalogError>
    readonly prices: Effect.Effect<ReadonlyArray<Price>, CatalogError>
    /** Sets a price; one that starts at the same time for the same customer is replaced. */
    readonly setPrice: (price: NewPrice) => Effect.Effect<Price, CatalogError>
    readonly customers: Effect.Effect<ReadonlyArray<Customer>, CatalogError>
    /** Adds a customer, or renames one. */
    readonly putCustomer: (customer: {
      readonly id: string
      readonly name?: string | undefined
    }) => Effect.Effect<CustomerId.CustomerId, CatalogError>
  }
>()("effect-usage/Catalog") {
  /** @internal */
  static readonly layerNoDeps: Layer.Layer<Catalog, never, CatalogStore> = Layer.effect(
    Catalog,
    Effect.gen(function* () {
      const store = yield* CatalogStore
      const services = Effect.map(store.reload, (catalog) => [...catalog.services.values()])

      return Catalog.of({
        services: Effect.mapError(services, CatalogError.from),
        addService: Effect.fn("Catalog.addService")(function* (input: NewService) {
          const { service, unitCost } = yield* Effect.fromResult(checkService(input))
          if (!(yield* store.addService(service, unitCost))) {
            return yield* new InvalidInput({
              field: "name",
              problem: `there is a service "${service.name}" already`,
              remedy: "Give another name; prices are changed with `Catalog.setPrice`"
            })
          }
          return service
        }, Effect.mapError(CatalogError.from)),
        prices: Effect.mapError(store.prices, CatalogError.from),
        setPrice: Effect.fn("Catalog.setPrice")(function* (input: NewPrice) {
          const catalog = yield* store.reload
          const price = yield* Effect.fromResult(checkPrice(input))
          if (!catalog.services.has(price.service)) {
            return yield* Service.unknown(price.service, catalog.services.keys())
          }
          yield* store.setPrice(price)
          return price
        }, Effect.mapError(CatalogError.from)),
        customers: Effect.mapError(store.customers, CatalogError.from),
        putCustomer: Effect.fn("Catalog.putCustomer")(function* (input: {
          readonly id: string
          readonly name?: string | undefined
        }) {
          const id = yield* Effect.fromResult(CustomerId.parse(input.id))
          const name =
            input.name === undefined ? undefined : yield* Effect.fromResult(parseIdentifier("name", input.name, 255))
          yield* store.putCustomer(id, name)
          return id
        }, Effect.mapError(CatalogError.from))
      })
    })
  )

  /** The catalog of a database. */
  static readonly layer: Layer.Layer<Catalog, never, Database> = Layer.provide(Catalog.layerNoDeps, CatalogStore.layer)
}

const checkService = (input: NewService) =>
  Result.gen(function* () {
    const name = yield* Service.parseName(input.name)
    const unit = yield* parseIdentifier("unit", input.unit, 64)
    const baseUnit = input.baseUnit === undefined ? unit : yield* parseIdentifier("baseUnit", input.baseUnit, 64)
    const unitSize = yield* Decimal.parse("unitSize", input.unitSize ?? 1, Decimal.amountBounds)
    if (unitSize.value === 0n) {
      return yield* Result.fail(
        new InvalidInput({
          field: "unitSize",
          problem: "is zero",
          remedy: `Give the number of ${baseUnit} in one of ${unit}`
        })
      )
    }
    const unitCost = yield* Decimal.parse("unitCost", input.unitCost ?? 0, Decimal.unitCostBounds)
    return { service: { name, unit, baseUnit, unitSize }, unitCost: Decimal.toText(unitCost) }
  })

const checkPrice = (input: NewPrice) =>
  Result.gen(function* () {
    const service = yield* Service.parseName(input.service)
    const unitCost = yield* Decimal.parse("unitCost", input.unitCost, Decimal.unitCostBounds)
    const customer = input.customer === undefined ? undefined : yield* CustomerId.parse(input.customer)
    const from: number = input.from === undefined ? -Infinity : yield* Instant.parse("from", input.from)
    return { service, customer, from, unitCost: Decimal.toText(unitCost) }
  })
