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
export { DatabaseError, KeyConflict } from "./database/DatabaseError.ts"

export { NotInTransaction, Recorder, RecorderError, type RecorderOptions } from "./Recorder.ts"
export {
  Batcher,
  BatcherError,
  type BatcherOptions,
  type BatcherState,
  Closed,
  InTransaction,
  QueueFull
} from "./Batcher.ts"
export {
  Importer,
  ImporterError,
  type ImporterOptions,
  type ImportFormat,
  type ImportOptions,
  type ImportProgress,
  type ImportSummary,
  type Refusal,
  UnreadableSource
} from "./Importer.ts"
export {
  type CustomerUsage,
  type GroupUsage,
  Reporter,
  ReporterError,
  type ReportQuery,
  type ServiceUsage,
  type UsageReport,
  type UsageSpan
} from "./Reporter.ts"
export {
  Aggregator,
  AggregatorError,
  type AggregatorSchedule,
  type RebuildSummary,
  type RollUpSummary
} from "./Aggregator.ts"
export {
  Analytics,
  AnalyticsError,
  type Peak,
  type ServiceForecast,
  type TrendDay,
  type UsageStatistics,
  type Whose
} from "./Analytics.ts"
export { Catalog, CatalogError, type Customer, type NewPrice, type NewService } from "./Catalog.ts"
export type { ApiRequest, BandwidthUse, ComputeUse, DatabaseQuery, FunctionInvocation, StorageUse } from "./Tracking.ts"

export { CurrentCustomer, CustomerId } from "./domain/CustomerId.ts"
export * as Decimal from "./domain/Decimal.ts"
export { InvalidInput } from "./domain/InvalidInput.ts"
export type { Instant, InstantInput } from "./domain/Instant.ts"
export type { Price } from "./domain/PriceBook.ts"
export { builtIns, type Service, type ServiceName } from "./domain/Service.ts"
export type { RecordKey, UsageInput, UsageRecord } from "./domain/UsageRecord.ts"
export * as Window from "./domain/Window.ts"
