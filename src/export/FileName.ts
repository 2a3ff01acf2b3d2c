/** Names of the files that exports go to, and what a name says about its content. */
import { hash } from "node:crypto"
import type { CustomerId } from "../domain/CustomerId.ts"
import type { Window } from "../domain/Window.ts"
import type { Compression } from "../files/Sink.ts"

export const formats = ["csv", "json", "ndjson", "xlsx", "parquet"] as const

/** @since 0.1.0 */
export type ExportFormat = (typeof formats)[number]

const endings: Record<Compression, string> = { gzip: ".gz", zstd: ".zst" }

/** Longest part of a name that a customer's id may be; most file systems take 255 bytes for the whole. */
const longestId = 120

/** What stands in the place of an id when a file is of all customers. */
const everybody = "all"

/**
 * An id as a part of a file's name: no two ids are the same part, and none leads out of a directory. `isAlike`: another id
 * differs from it only in case, which many file systems do not tell apart.
 */
const partOf = (id: string, isAlike: boolean): string => {
  const escaped = encodeURIComponent(id)
    .replace(/[!'()*~]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`)
    .replace(/^\.+/, (dots) => "%2E".repeat(dots.length))
  const part =
    escaped.toLowerCase() === everybody ? `%${escaped.charCodeAt(0).toString(16)}${escaped.slice(1)}` : escaped
  if (part.length <= longestId && !isAlike) return part
  return `${part.slice(0, longestId - 17).replace(/%.?$/, "")}~${hash("sha256", id).slice(0, 16)}`
}

const timeOf = (label: string): string => label.replace(" ", "T").replaceAll(":", "-")

/** The ids, in lower case, that several customers have. */
export const alike = (ids: ReadonlyArray<string>): ReadonlySet<string> => {
  const seen = new Set<string>()
  const found = new Set<string>()
  for (const id of ids) {
    const folded = id.toLowerCase()
    if (seen.has(folded)) found.add(folded)
    seen.add(folded)
  }
  return found
}

/** `usage_acme_2026-01-01_to_2026-01-31.csv.gz`. */
export const fileName = (options: {
  readonly customer: CustomerId | string | undefined
  readonly window: Window
  readonly format: ExportFormat
  readonly compression: Compression | undefined
  readonly isAlike?: boolean
}): string => {
  const { compression, customer, format, isAlike = false, window } = options
  const whose = customer === undefined ? everybody : partOf(customer, isAlike)
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
