/** Batch keys that are derived, so that a retry after a crash sends the same ones. */
import { createHash } from "node:crypto"

/** A UUID (version 8) from a text. */
export const derivedKey = (text: string): string => {
  const hex = createHash("sha256").update(text).digest("hex")
  const variant = ((Number.parseInt(hex[16]!, 16) & 0x3) | 0x8).toString(16)
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20, 32)}`
}

/** The key of a part of a batch, by its path (see `bisect`). The whole batch keeps its own. */
export const partKey = (key: string, path: string): string => (path === "" ? key : derivedKey(`${key} part ${path}`))
