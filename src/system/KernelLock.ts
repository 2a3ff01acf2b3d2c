/**
 * A lock that the kernel holds for this process, on a file, and drops when the process ends, however it ends.
 *
 * It answers whether an owner is alive without a process id, a host name or a clock: those mean something else in another
 * container, after a restart, or in a copy. It is seen by every process that has the same file, across containers on one
 * kernel, and across machines where the file system carries locks (NFS 4). A copy of the file is another file: nobody holds it.
 * Nothing is ever stale, so nothing is ever taken over from somebody who is alive.
 *
 * The lock is SQLite's, which Node brings: a write transaction on an empty database, `fcntl` underneath. Nothing is written
 * to the file. Two rules come with `fcntl`: whoever opens and closes the file drops this process's lock, so no other code
 * may open it; and a lock belongs to the process, so SQLite itself refuses the second one in a process.
 */
import { accessSync, closeSync, constants, existsSync, linkSync, openSync, rmSync } from "node:fs"
import { randomUUID } from "node:crypto"
import type { DatabaseSync } from "node:sqlite"
import { printable } from "../domain/Shown.ts"

export interface KernelLock {
  /** Lets go; the file stays. Again, it does nothing. */
  readonly release: () => void
}

/** What is held: a connection that nobody refers to would be closed, and its lock gone. */
const held = new Set<DatabaseSync>()

/**
 * Takes the lock of `file`, which is made if need be (0600), in a directory that is there. `undefined`: somebody has it,
 * perhaps this process. Throws the operating system's error where the file cannot be used.
 */
export const tryLock = (file: string): KernelLock | undefined => {
  make(file)
  accessSync(file, constants.R_OK | constants.W_OK)
  const { DatabaseSync } = sqlite()
  const connection = new DatabaseSync(file)
  try {
    // No journal lies beside the file: nothing is written that would have to be undone.
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

/** Node 22 warns of SQLite, which is experimental there; what is used of it here is older than that. */
const sqlite = (): typeof import("node:sqlite") => {
  const { emitWarning } = process
  process.emitWarning = () => {}
  try {
    return process.getBuiltinModule("node:sqlite")
  } finally {
    process.emitWarning = emitWarning
  }
}
