/** Names of files in a spool. */
import { readdir } from "node:fs/promises"
import { isMissing } from "../files/Files.ts"

/** A batch: when it was begun, its key, and its kind. */
export const sealedPattern = /^[0-9a-z]+-([0-9a-f-]{36})\.(segment|claim|file)$/

/** A name by which batches sort by age. */
export const stampedName = (key: string): string => `${Date.now().toString(36).padStart(9, "0")}-${key}`

/** The contents of a directory; empty if it does not exist. */
export const names = (directory: string): Promise<Array<string>> =>
  readdir(directory).catch((cause: unknown) => {
    if (isMissing(cause)) return []
    throw cause
  })

export const ignoreMissing = (cause: unknown): undefined => {
  if (!isMissing(cause)) throw cause
  return undefined
}
