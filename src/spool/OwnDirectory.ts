/**
 * A directory in `open/` that one process writes to, and its retirement once that process is gone.
 *
 * A kernel lock on a file in it shows that its owner is alive, from before anything is in it until it is retired. So no live
 * process loses its directory, whichever container it is in, and no dead one keeps it. Whoever gets the lock may retire the
 * directory: its batches move to `ready/`, and it is removed. No directory is retired by two at once, nor while it is
 * written to.
 */
import { randomUUID } from "node:crypto"
import { existsSync } from "node:fs"
import { readdir, rename, rm } from "node:fs/promises"
import { basename, join } from "node:path"
import { isMissing, makePrivateDirectory, syncDirectory } from "../files/Files.ts"
import * as KernelLock from "../system/KernelLock.ts"
import { names, sealedPattern } from "./SpoolNames.ts"

export interface OwnDirectory {
  readonly path: string
  /** Moves what is left to `ready/`, and removes the directory. Releases the lock in any case: what cannot be moved is left to the next process. */
  readonly retire: () => Promise<void>
}

const lockName = "lock"

/** Whether a file is the lock of such a directory. */
export const isLock = (file: string): boolean => basename(file) === lockName

/** Creates a directory in `open/`, and locks it. */
export const make = async (spool: string): Promise<OwnDirectory> => {
  for (;;) {
    const path = join(spool, "open", randomUUID())
    await makePrivateDirectory(path)
    const lock = take(path)
    // Somebody may have found it without a lock in between, and retired it.
    if (lock === undefined) continue
    await syncDirectory(join(spool, "open"))
    return { path, retire: () => retire(spool, path, lock) }
  }
}

/** Retires the directories whose owners are gone. */
export const adoptAll = async (spool: string): Promise<void> => {
  for (const name of await names(join(spool, "open"))) {
    const path = join(spool, "open", name)
    if (name.startsWith(".")) {
      await rm(path, { recursive: true, force: true })
      continue
    }
    const lock = takeIfAllowed(path)
    if (lock !== undefined) await retire(spool, path, lock)
  }
}

/** Takes the lock of a directory; `undefined` if somebody holds it, or the directory is gone. */
const take = (path: string): KernelLock.KernelLock | undefined => {
  try {
    const file = join(path, lockName)
    const lock = KernelLock.tryLock(file)
    // The file may have been removed before it was locked.
    if (lock === undefined || existsSync(file)) return lock
    lock.release()
  } catch (cause) {
    // SQLite has its own error for a file that disappears while it is opened.
    if (!isMissing(cause) && existsSync(path)) throw cause
  }
  return undefined
}

/** Another user's directory is left to that user's processes. */
const takeIfAllowed = (path: string): KernelLock.KernelLock | undefined => {
  try {
    return take(path)
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    if (code === "EACCES" || code === "EPERM") return undefined
    throw cause
  }
}

const retire = async (spool: string, path: string, lock: KernelLock.KernelLock): Promise<void> => {
  try {
    const left = (await readdir(path)).filter((name) => !name.startsWith(lockName))
    for (const name of left) {
      // Somebody else's file is not ours to remove.
      const place = sealedPattern.test(name) ? join("ready", name) : join("broken", `${basename(path)}-${name}`)
      await rename(join(path, name), join(spool, place))
    }
    if (left.length > 0) await syncDirectory(join(spool, "ready"))
    // Renamed first, so that nobody finds it half removed.
    const gone = join(spool, "open", `.${basename(path)}`)
    await rename(path, gone)
    await rm(gone, { recursive: true, force: true })
  } catch (cause) {
    if (!isMissing(cause)) throw cause
  } finally {
    lock.release()
  }
}
