/**
 * Usage metering for billing: record usage, store it exactly once, report what it costs.
 *
 * `Usage.layerPostgres` and its siblings give all services at once. Or compose a database (`Postgres.layer` or
 * `Embedded.layer`) with the services that you need; each is a layer on it.
 *
 * The API reference has the order and the categories of this file.
 *
 * @since 0.1.0
 */

/** @category Start here */
export * as Usage from "./Usage.ts"
export {
  type AcceptedUsage,
  createUsage,
  type CreateUsageOptions,
  type LogEntry,
  type QuotaAnswer,
  type ReportedUsage,
  type ReportRequest,
  type UsageClient,
  UsageError
} from "./UsageClient.ts"

/** @category Databases */
export * as Postgres from "./database/postgres/Postgres.ts"
export * as Embedded from "./database/embedded/Embedded.ts"
export * as Migrations from "./database/Migrations.ts"
export { Database } from "./database/Database.ts"
export {
  Busy,
  DatabaseError,
  Denied,
  InUse,
  KeyConflict,
  NotMigrated,
  Refused,
  TooNew,
  Unexpected,
  Unreachable,
  Unsuitable
} from "./database/DatabaseError.ts"

/** @category Record usage */
export { type ForCurrent, NotInTransaction, Recorder, RecorderError, type RecorderOptions } from "./record/Recorder.ts"
export type {
  ApiRequest,
  BandwidthUse,
  ComputeUse,
  DatabaseQuery,
  FunctionInvocation,
  StorageUse,
  TrackedUsage
} from "./domain/Tracking.ts"
export {
  Batcher,
  BatcherError,
  type BatcherOptions,
  type BatcherState,
  Closed,
  InTransaction,
  QueueFull,
  type SpillingBatcherOptions
} from "./record/Batcher.ts"
export { type Direction, Meter, type MeterOptions, type MeterState } from "./record/Meter.ts"
export { StorageMeter, type StorageMeterOptions } from "./record/StorageMeter.ts"
export { Spool, SpoolError, SpoolFull, type SpoolOptions } from "./spool/Spool.ts"
export type { SpoolStatus } from "./spool/SpoolDirectory.ts"
export { SpoolUnusable } from "./spool/SpoolUnusable.ts"
export {
  type SpoolDelivered,
  SpoolDelivery,
  SpoolDeliveryError,
  type SpoolDeliveryOptions
} from "./spool/SpoolDelivery.ts"
export { SpoolOfAnother } from "./spool/SpoolOfAnother.ts"
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
} from "./import/Importer.ts"
export type { ByteSource } from "./import/ByteWindow.ts"
export { DeadLetters, DeadLettersError } from "./import/DeadLetters.ts"
export type { DeadLetter } from "./ledger/DeadLetterStore.ts"

/** @category Report and export it */
export {
  type CustomerUsage,
  type GroupUsage,
  Reporter,
  ReporterError,
  type ReportQuery,
  type ServiceUsage,
  type UsageReport,
  type UsageSpan
} from "./report/Reporter.ts"
export {
  Analytics,
  AnalyticsError,
  type Peak,
  type ServiceForecast,
  type TrendDay,
  type UsageStatistics,
  type Whose
} from "./report/Analytics.ts"
export { HtmlReport, HtmlReportError } from "./report/html/HtmlReport.ts"
export {
  Exporter,
  ExporterError,
  type ExportProgress,
  type ExportQuery,
  type ExportSummary
} from "./export/Exporter.ts"
export type { ExportFormat } from "./export/FileName.ts"
export type { Destination } from "./export/Output.ts"
export { Unwritable } from "./files/NewFile.ts"
export {
  Aggregator,
  AggregatorError,
  type AggregatorSchedule,
  type RebuildSummary,
  type RollUpSummary
} from "./rollup/Aggregator.ts"
export type { RollupDifference, RollupFigures, RollupLag, SetAsideBatch } from "./rollup/RollupStore.ts"

/** @category Services, prices and customers */
export { Catalog, CatalogError, type Customer, type NewPrice, type NewService } from "./catalog/Catalog.ts"
export type { Price } from "./domain/PriceBook.ts"

/** @category Quotas and alerts */
export { Quotas, QuotasError, type NewSubscription } from "./quota/Quotas.ts"
export type { Plan, Subscription } from "./quota/QuotaStore.ts"
export type {
  QuotaBasis,
  QuotaInput,
  QuotaOwner,
  QuotaPeriod,
  QuotaRule,
  StoredThreshold,
  SubscriptionInterval,
  Threshold,
  Thresholds
} from "./domain/QuotaRule.ts"
export {
  Quota,
  type QuotaDecision,
  QuotaError,
  QuotaExceeded,
  type QuotaOptions,
  type WhenUnavailable
} from "./quota/Quota.ts"
export type { QuotaState } from "./quota/QuotaStateStore.ts"
export {
  AlertMonitor,
  AlertMonitorError,
  type AlertMonitorOptions,
  type AlertPass,
  type AlertScope
} from "./alert/AlertMonitor.ts"
export { AlertDelivery, AlertDeliveryError, type DeliverySummary } from "./alert/AlertDelivery.ts"
export type { DeliveryStatus } from "./alert/DeliveryStore.ts"
export type { Alert, AlertLevel } from "./domain/Alert.ts"
export { type AlertChannel, AlertChannels, ChannelError, type Delivery, layerChannel } from "./alert/AlertChannels.ts"
export { type Address, HostUnreachable, type HttpOptions, type Resolve } from "./alert/SafeHttp.ts"
export type { ShowCustomer } from "./alert/AlertText.ts"
export * as CommandChannel from "./alert/channels/CommandChannel.ts"
export * as DiscordChannel from "./alert/channels/DiscordChannel.ts"
export * as JsonLinesChannel from "./alert/channels/JsonLinesChannel.ts"
export * as LogFileChannel from "./alert/channels/LogFileChannel.ts"
export * as MailChannel from "./alert/channels/MailChannel.ts"
export * as SlackChannel from "./alert/channels/SlackChannel.ts"
export * as TerminalChannel from "./alert/channels/TerminalChannel.ts"
export * as WebhookChannel from "./alert/channels/WebhookChannel.ts"

/** @category Archives, retention and erasure */
export {
  type ArchivedMonth,
  type ArchiveOptions,
  Archiver,
  ArchiverError,
  type RestoreOptions,
  type Verification
} from "./retention/Archiver.ts"
export type { Archive, ArchiveId } from "./archive/Archive.ts"
export { ArchiveBroken, ArchiveFileError } from "./archive/ArchiveFile.ts"
export { layerObjectStorageConfig, ObjectStorage } from "./files/Storage.ts"
export type { ObjectStore } from "./files/S3.ts"
export { RollupsDiffer } from "./archive/RollupsDiffer.ts"
export { PeriodArchived, PeriodRemoved } from "./archive/PeriodArchived.ts"
export {
  type DueRecords,
  type RemovedRecords,
  Retention,
  RetentionError,
  type RetentionOptions
} from "./retention/Retention.ts"
export type { RetentionInput, RetentionRule, RetentionSubject } from "./domain/RetentionRule.ts"
export { type EraseOptions, Eraser, EraserError } from "./retention/Eraser.ts"
export type { ErasureCertificate } from "./retention/Certificate.ts"

/** @category Operate it */
export {
  Maintainer,
  MaintainerError,
  type MaintainerOptions,
  type MaintenanceOptions,
  MaintenanceRunning,
  type MaintenanceStep,
  type MaintenanceStepName,
  maintenanceSteps
} from "./operate/Maintainer.ts"
export { Doctor, DoctorError, type ExamineOptions, type Finding } from "./operate/Doctor.ts"
export { Health, type HealthCheck, type HealthOptions, type HealthReport, type HealthStatus } from "./operate/Health.ts"
export { Metrics } from "./operate/Metrics.ts"

/** @category Values */
export { CurrentCustomer, CustomerId } from "./domain/CustomerId.ts"
export { builtIns, type Service, type ServiceName } from "./domain/Service.ts"
export type { RecordKey, UsageInput, UsageRecord } from "./domain/UsageRecord.ts"
export * as Decimal from "./domain/Decimal.ts"
export type { Instant, InstantInput } from "./domain/Instant.ts"
export type { Month } from "./domain/Month.ts"
export * as Window from "./domain/Window.ts"
export { InvalidInput } from "./domain/InvalidInput.ts"
export type { ErrorReason, ServiceErrorClass } from "./domain/ServiceError.ts"
export { NotInstalled } from "./domain/NotInstalled.ts"
