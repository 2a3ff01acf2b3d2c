/**
 * Metered services. A record keeps an amount in the service's base unit, and a report divides the sum once by
 * `unitSize`: 10 CPU-seconds are not a finite decimal of hours, but 3,600 of them are exactly one.
 */
import * as BigDecimal from "effect/BigDecimal"
import type * as Brand from "effect/Brand"
import * as Result from "effect/Result"
import * as Decimal from "./Decimal.ts"
import { excerpt, InvalidInput } from "./InvalidInput.ts"
import { nearest } from "./Nearest.ts"

/** @since 0.1.0 */
export type ServiceName = string & Brand.Brand<"effect-usage/ServiceName">

/**
 * A metered service.
 *
 * - `unit`: the billing unit that reports show and prices are for (`GB`)
 * - `baseUnit`: the unit in which records keep amounts (`bytes`)
 * - `unitSize`: base units in a billing unit (`1073741824`), exact
 *
 * @since 0.1.0
 */
export interface Service {
  readonly name: ServiceName
  readonly unit: string
  readonly baseUnit: string
  readonly unitSize: Decimal.Decimal
}

/** Bytes in a GB, as this package bills them: 2^30. */
export const bytesPerGB = 1_073_741_824n

const builtIn = (name: string, unit: string, baseUnit: string, unitSize: bigint, unitCost: string) => ({
  name: name as ServiceName,
  unit,
  baseUnit,
  unitSize: BigDecimal.fromBigInt(unitSize),
  unitCost
})

/**
 * The six services that every database starts with, and the default cost of a billing unit.
 *
 * @since 0.1.0
 */
export const builtIns = {
  api: builtIn("api", "requests", "requests", 1n, "0.0001"),
  storage: builtIn("storage", "GB-hours", "byte-hours", bytesPerGB, "0.001"),
  bandwidth: builtIn("bandwidth", "GB", "bytes", bytesPerGB, "0.05"),
  compute: builtIn("compute", "CPU-hours", "CPU-seconds", 3600n, "0.05"),
  database: builtIn("database", "queries", "queries", 1n, "0.00001"),
  functions: builtIn("functions", "invocations", "invocations", 1n, "0.0002")
} as const

const namePattern = /^[a-z][a-z0-9_-]{0,62}$/

/** Checks a service's name: lower-case letters, digits, `-` and `_`, at most 63, a letter first. */
export const parseName = (input: unknown): Result.Result<ServiceName, InvalidInput> =>
  typeof input === "string" && namePattern.test(input)
    ? Result.succeed(input as ServiceName)
    : Result.fail(
        new InvalidInput({
          field: "service",
          problem: input === "" ? "is empty" : `${excerpt(input)} is not a service's name`,
          remedy: "Give lower-case letters, digits, - and _, a letter first, at most 63: api, gpu-hours"
        })
      )

/** The refusal of a service that the catalog does not know. */
export const unknown = (name: ServiceName, known: Iterable<string>): InvalidInput => {
  const names = [...known]
  const meant = nearest(name, names)
  return new InvalidInput({
    field: "service",
    problem: `there is no service "${name}"${meant === undefined ? "" : `; did you mean "${meant}"?`}`,
    remedy: `Use one of ${names.slice(0, 12).join(", ")}, or add it with \`Catalog.addService({ name: "${name}" })\``
  })
}

/** An amount in base units as a quantity in billing units, rounded once. */
export const toQuantity = (amount: Decimal.Decimal, service: Pick<Service, "unitSize">): Decimal.Decimal =>
  Decimal.divide(amount, service.unitSize)

/** The mean quantity of a record in billing units, rounded once. `events` must not be zero. */
export const average = (amount: Decimal.Decimal, events: bigint, service: Pick<Service, "unitSize">): Decimal.Decimal =>
  Decimal.divide(amount, BigDecimal.multiply(service.unitSize, BigDecimal.fromBigInt(events)))
