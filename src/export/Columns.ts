/** The columns of an export, by what it is of. */
import { InvalidInput } from "../domain/InvalidInput.ts"
import type { RecordColumn, SpanColumn } from "./ExportStore.ts"
import type { ExportFormat } from "./FileName.ts"
import type { Column, Kind } from "../files/Column.ts"
import type { Compression } from "../files/Sink.ts"
import type { Of } from "./Table.ts"

interface Shape {
  readonly of: Of
  readonly format: ExportFormat
  readonly withIds: boolean
  readonly byCustomer: boolean
}

export const units = { hourly: "hour", daily: "day", monthly: "month" } as const

/** As in the tables of `usage aggregate`. */
const spanNames = { hourly: "hour", daily: "date", monthly: "month" } as const

const kinds: Record<RecordColumn | SpanColumn, Kind> = {
  customer_id: "text",
  timestamp: "time",
  service: "text",
  quantity: "number",
  rounded_amount: "number",
  unit_cost: "number",
  total_cost: "number",
  metadata: "json",
  batch_id: "integer",
  position: "integer",
  service_name: "text",
  span: "label",
  event_count: "integer",
  total_quantity: "number",
  avg_quantity: "number"
}

export const ofRecords = ({ byCustomer, format, withIds }: Shape): ReadonlyArray<RecordColumn> => [
  // A line that is to be imported again names its customer.
  ...(byCustomer || format === "ndjson" ? (["customer_id"] as const) : []),
  "timestamp",
  "service",
  "quantity",
  ...(format === "ndjson" ? (["rounded_amount"] as const) : []),
  "unit_cost",
  "total_cost",
  "metadata",
  ...(withIds ? (["batch_id", "position"] as const) : [])
]

export const ofSpans = ({ byCustomer }: Shape): ReadonlyArray<SpanColumn> => [
  ...(byCustomer ? (["customer_id"] as const) : []),
  "service_name",
  "span",
  "event_count",
  "total_quantity",
  "total_cost",
  "avg_quantity"
]

export const columnsOf = (shape: Shape): ReadonlyArray<Column> => {
  const { of } = shape
  if (of === "records") return ofRecords(shape).map((name) => ({ name, kind: kinds[name] }))
  return ofSpans(shape).map((name) => ({ name: name === "span" ? spanNames[of] : name, kind: kinds[name] }))
}

/** The options that exclude each other, if any. */
export const problemOf = (
  shape: Shape & { readonly compression: Compression | undefined }
): InvalidInput | undefined => {
  if (shape.withIds && shape.of !== "records") {
    return new InvalidInput({
      field: "withIds",
      problem: "only records have ids",
      remedy: `Leave it out, or export records instead of ${shape.of} sums`
    })
  }
  if (shape.compression !== undefined && (shape.format === "xlsx" || shape.format === "parquet")) {
    return new InvalidInput({
      field: "compression",
      problem: `${shape.format} is compressed already`,
      remedy: "Leave it out, and the ending .gz or .zst too"
    })
  }
  return undefined
}
