/**
 * Names a directory by a short path: a Unix socket's path is limited to about a hundred bytes, a directory's is not.
 *
 * On Linux the name is also pinned: through a descriptor the directory is found after a rename, and never another that took its
 * place. Elsewhere it is the given path, or a link to it where that is too long.
 */
import { closeSync, constants, existsSync, mkdtempSync, openSync, rmSync, symlinkSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"

export interface PinnedDirectory {
  readonly path: string
  readonly close: () => void
}

/** The shortest limit of a socket's path among systems, with its final zero; and what follows the directory. */
const longestPath = 103 - "/run/socket".length

/** Pins an existing `directory`. `descriptors`: where the system shows those of this process as links. */
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
