/**
 * A directory by a short path: that of a Unix socket may have a hundred bytes, and the directory's own may have any number.
 *
 * On Linux it is also the directory's for good: through a descriptor it is found after it was renamed, and never by mistake
 * another that has come into its place. Elsewhere it is the path that was given, or a link to that where it is too long.
 */
import { closeSync, constants, existsSync, mkdtempSync, openSync, rmSync, symlinkSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"

export interface PinnedDirectory {
  readonly path: string
  readonly close: () => void
}

/** Bytes of a socket's path, with the zero at its end, on the systems with the least; and what follows the directory. */
const longestPath = 103 - "/run/socket".length

/** Pins `directory`, which is there. `descriptors`: where the system shows those of this process as links. */
export const open = (directory: string, descriptors = "/proc/self/fd"): PinnedDirectory => {
  if (existsSync(descriptors)) {
    const descriptor = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY)
    return { path: join(descriptors, `${descriptor}`), close: once(() => closeSync(descriptor)) }
  }
  const whole = resolve(directory)
  if (Buffer.byteLength(whole) <= longestPath) return { path: whole, close: () => {} }
  const folder = mkdtempSync(join(tmpdir(), "usage-"))
  symlinkSync(whole, join(folder, "home"))
  return { path: join(folder, "home"), close: once(() => rmSync(folder, { recursive: true, force: true })) }
}

/** A descriptor that is closed twice may be another's by then. */
const once = (close: () => void): (() => void) => {
  let isOpen = true
  return () => {
    if (isOpen) close()
    isOpen = false
  }
}
