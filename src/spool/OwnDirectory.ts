/**
 * A directory of `open/` that one process writes in, and what becomes of it when that process is gone.
 *
 * A kernel lock on a file in it says whose it is, from before anything is in it until it is retired; so nobody who is alive
 * loses one, whichever container he is in, and nobody who is gone keeps one. Whoever gets the lock of a directory may
 * retire it: batches in it move to `ready/`, and the directory goes. Two can neither retire one at once, nor can one be
 * retired while it is written in.
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
  /** Moves what is left in it to `ready/`, and removes it. The lock goes in any case: what cannot be moved is the next one's. */
  readonly retire: () => Promise<void>
}

const lockName = "lock"

/** Whether a file of a spool is the lock of such a directory. */
export const isLock = (file: string): boolean => basename(file) === lockName

/** Makes a directory in `open/` and takes it. */
export const make = async (spool: string): Promise<OwnDirectory> => {
  for (;;) {
    const path = join(spool, "open", randomUUID())
    await makePrivateDirectory(path)
    const lock = take(path)
    // Whoever has found it in between, with nobody's lock, has retired it.
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

/** The lock of a directory; `undefined` if somebody has it, or the directory is gone. */
const take = (path: string): KernelLock.KernelLock | undefined => {
  try {
    const file = join(path, lockName)
    const lock = KernelLock.tryLock(file)
    // It may be that of a file that was removed before it was locked.
    if (lock === undefined || existsSync(file)) return lock
    lock.release()
  } catch (cause) {
    // SQLite has words of its own for a file that goes while it is opened.
    if (!isMissing(cause) && existsSync(path)) throw cause
  }
  return undefined
}

/** Another user's directory is for that user's processes. */
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
      // Somebody else's file is nothing to remove.
      const place = sealedPattern.test(name) ? join("ready", name) : join("broken", `${basename(path)}-${name}`)
      await rename(join(path, name), join(spool, place))
    }
    if (left.length > 0) await syncDirectory(join(spool, "ready"))
    // Out of everybody's way first: nobody then finds it with half of it gone.
    const gone = join(spool, "open", `.${basename(path)}`)
    await rename(path, gone)
    await rm(gone, { recursive: true, force: true })
  } catch (cause) {
    if (!isMissing(cause)) throw cause
  } finally {
    lock.release()
  }
}
