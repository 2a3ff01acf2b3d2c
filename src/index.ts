/**
 * Usage metering for billing: record usage, store it exactly once, report what it costs.
 *
 * Compose a database (`Postgres.layer` or `Embedded.layer`) with the services that you need; each is a layer on it.
 *
 * @since 0.1.0
 */
export * as Postgres from "./database/Postgres.ts"
export * as Embedded from "./database/Embedded.ts"
export * as Migrations from "./database/Migrations.ts"
export { Database } from "./database/Database.ts"
export { DatabaseError } from "./database/DatabaseError.ts"

export * as Recorder from "./Recorder.ts"
export * as Batcher from "./Batcher.ts"
export * as Reporter from "./Reporter.ts"
export * as Catalog from "./Catalog.ts"

export { CurrentCustomer, CustomerId } from "./domain/CustomerId.ts"
export type { Decimal, DecimalInput } from "./domain/Decimal.ts"
export { InvalidInput } from "./domain/InvalidInput.ts"
export type { Instant, InstantInput } from "./domain/Instant.ts"
export type { Price } from "./domain/PriceBook.ts"
export { builtIns, type Service, type ServiceName } from "./domain/Service.ts"
export type { UsageInput, UsageRecord } from "./domain/UsageRecord.ts"
export * as Window from "./domain/Window.ts"
