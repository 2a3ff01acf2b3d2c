/**
 * Names of archives' files. One that is made here has a part that nobody else thinks of: what is there under it is its writer's,
 * whatever the store promises. A name that a person gave is kept as it is on a disk, where of two who want it one gets it;
 * object stores do not all promise that, so there it has such a part too.
 */
import { randomBytes } from "node:crypto"
import { resolve } from "node:path"
import type { Month } from "../domain/Month.ts"
import { isObjectUrl } from "../files/ObjectUrl.ts"
import type { Compression } from "./ArchiveFile.ts"

/** `isOurs`: nobody else can have thought of it. */
export interface Name {
  readonly file: string
  readonly isOurs: boolean
}

const endings: Readonly<Record<Compression, string>> = { none: "", gzip: ".gz", zstd: ".zst" }
const known = /\.(csv|parquet)(\.(gz|gzip|zst|zstd))?$|\.(gz|gzip|zst|zstd)$/i

const unique = () => randomBytes(6).toString("hex")

/** A path from the root, or an object's name as it is. */
export const at = (directory: string, file: string): string => {
  if (isObjectUrl(file)) return file
  return isObjectUrl(directory) ? `${directory.replace(/\/+$/, "")}/${file}` : resolve(directory, file)
}

/** Names for a month's file, one after the other, until one is free. `months`: how many there are. */
export const namesFor = (
  options: {
    readonly directory: string
    readonly file?: string | undefined
    readonly format?: "csv" | "parquet" | undefined
    readonly compression?: Compression | undefined
  },
  month: Month,
  months: number
): ((number: number) => Name) => {
  const { compression, directory, file, format } = options
  if (file === undefined) {
    const ending = format === "parquet" ? ".parquet" : `.csv${endings[compression ?? "gzip"]}`
    return () => ({ file: at(directory, `usage_${month}-${unique()}${ending}`), isOurs: true })
  }
  const ending = /(\.[a-z0-9]{1,8}){0,2}$/i.exec(file)?.[0] ?? ""
  const stem = `${file.slice(0, file.length - ending.length)}${months === 1 ? "" : `_${month}`}`
  if (isObjectUrl(file)) return () => ({ file: `${stem}-${unique()}${ending}`, isOurs: true })
  return (number) => ({ file: at(".", `${stem}${number === 1 ? "" : `.${number}`}${ending}`), isOurs: false })
}

/** A name beside another file, which says nothing but the month. */
export const nameBeside = (file: string, month: Month): Name => {
  const slash = file.lastIndexOf("/")
  const ending = known.exec(file.slice(slash + 1))?.[0] ?? ""
  return { file: `${file.slice(0, slash + 1)}usage_${month}-${unique()}${ending}`, isOurs: true }
}
