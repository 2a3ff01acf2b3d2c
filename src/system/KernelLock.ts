/**
 * A lock that the kernel holds for this process, on a file, and drops when the process ends, however it ends.
 *
 * It answers whether an owner is alive without a process id, a host name or a clock: those mean something else in another
 * container, after a restart, or in a copy. Every process that opens the same file sees it, across containers on one
 * kernel, and across machines where the file system carries locks (NFS 4). A copy of the file is another file, and not locked.
 * A lock is never stale, so nothing is ever taken over from a living owner.
 *
 * The lock is SQLite's, which comes with Node: a write transaction on an empty database, `fcntl` underneath. Nothing is written
 * to the file. Two rules come with `fcntl`: opening and closing the file anywhere in the process drops its lock, so no other code may
 * open it; and a lock belongs to the process, so SQLite itself refuses the second one in a process.
 *
 * Hand-written: `proper-lockfile` goes by the time of a file, so it takes over from an owner that was asleep.
 */
import { accessSync, closeSync, constants, existsSync, linkSync, openSync, rmSync } from "node:fs"
import { randomUUID } from "node:crypto"
import type { DatabaseSync } from "node:sqlite"
import { printable } from "../domain/Shown.ts"

export interface KernelLock {
  /** Releases the lock; the file stays. A second call does nothing. */
  readonly release: () => void
}

/** The locks held: a connection without a reference would be collected, and its lock dropped. */
const held = new Set<DatabaseSync>()

/**
 * Takes the lock of `file`, which is created if needed (0600), in an existing directory. `undefined`: it is taken, perhaps by
 * this process. Throws the operating system's error where the file cannot be used.
 */
export const tryLock = (file: string): KernelLock | undefined => {
  make(file)
  accessSync(file, constants.R_OK | constants.W_OK)
  const { DatabaseSync } = sqlite()
  const connection = new DatabaseSync(file)
  try {
    // No journal beside the file: nothing is written that would have to be undone.
    connection.exec("pragma journal_mode = memory; begin exclusive")
  } catch (cause) {
    connection.close()
    if ((cause as { readonly errcode?: number }).errcode === sqliteBusy) return undefined
    throw new Error(`the lock ${printable(file)} cannot be taken: ${(cause as Error).message}`, { cause })
  }
  held.add(connection)
  return {
    release: () => {
      if (held.delete(connection)) connection.close()
    }
  }
}

const sqliteBusy = 5

/** Makes the file under another name: closing it under its own would drop a lock that another thread has just taken. */
const make = (file: string): void => {
  if (existsSync(file)) return
  const whole = `${file}.${randomUUID()}`
  closeSync(openSync(whole, "wx", 0o600))
  try {
    linkSync(whole, file)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "EEXIST") throw cause
  } finally {
    rmSync(whole, { force: true })
  }
}

/** Silences Node 22's warning that SQLite is experimental: what is used here has been stable since before. */
const sqlite = (): typeof import("node:sqlite") => {
  const { emitWarning } = process
  process.emitWarning = () => {}
  try {
    return process.getBuiltinModule("node:sqlite")
  } finally {
    process.emitWarning = emitWarning
  }
}
