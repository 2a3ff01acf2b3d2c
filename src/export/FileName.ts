/** Names of the files that exports go to, and what a name says about its content. */
import { hash } from "node:crypto"
import type { CustomerId } from "../domain/CustomerId.ts"
import type { Window } from "../domain/Window.ts"
import type { Compression } from "./Sink.ts"

/** @since 0.1.0 */
export type ExportFormat = "csv" | "json" | "ndjson" | "xlsx" | "parquet"

export const formats: ReadonlyArray<ExportFormat> = ["csv", "json", "ndjson", "xlsx", "parquet"]

const endings: Record<Compression, string> = { gzip: ".gz", zstd: ".zst" }

/** Longest part of a name that a customer's id may be; most file systems take 255 bytes for the whole. */
const longestId = 120

/** An id as a part of a file's name: no two ids are the same part, and none leads out of a directory. */
const partOf = (id: string): string => {
  const escaped = encodeURIComponent(id)
    .replace(/[!'()*~]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`)
    .replace(/^\.+/, (dots) => "%2E".repeat(dots.length))
  if (escaped.length <= longestId) return escaped
  return `${escaped.slice(0, longestId - 17).replace(/%.?$/, "")}~${hash("sha256", id).slice(0, 16)}`
}

const timeOf = (label: string): string => label.replace(" ", "T").replaceAll(":", "-")

/** `usage_acme_2026-01-01_to_2026-01-31.csv.gz`. */
export const fileName = (options: {
  readonly customer: CustomerId | string | undefined
  readonly window: Window
  readonly format: ExportFormat
  readonly compression: Compression | undefined
}): string => {
  const { compression, customer, format, window } = options
  const whose = customer === undefined ? "all" : partOf(customer)
  const ending = compression === undefined ? "" : endings[compression]
  return `usage_${whose}_${timeOf(window.label.start)}_to_${timeOf(window.label.end)}.${format}${ending}`
}

/** What a file's name says that it holds. */
export const saidByName = (
  name: string
): { readonly format: ExportFormat | undefined; readonly compression: Compression | undefined } => {
  const compression = /\.gz$/i.test(name) ? "gzip" : /\.zst$/i.test(name) ? "zstd" : undefined
  const ending = /\.([a-z]+)(?:\.(?:gz|zst))?$/i.exec(name)?.[1]?.toLowerCase()
  const format = ending === "jsonl" ? "ndjson" : formats.find((format) => format === ending)
  return { format, compression }
}
