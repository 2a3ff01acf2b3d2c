/**
 * Who owns the directory of an embedded database: PGlite does not lock its data, and two processes in it destroy it.
 *
 * The owner is the process that holds the kernel's lock of the file `lock`. The lock is free as soon as its holder is gone, so
 * nothing is ever taken over from a living owner, in whatever container. `owner.json` describes the owner to people, and tells
 * guests whether they are admitted; it may be missing or stale, and nothing is decided by it. Both stay the owner's when the
 * directory is renamed; a copy has a lock of its own that nobody holds.
 */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import * as Schema from "effect/Schema"
import * as KernelLock from "../../system/KernelLock.ts"
import * as PinnedDirectory from "../../files/PinnedDirectory.ts"
import * as ProcessOwner from "../../system/ProcessOwner.ts"
import { Busy, DatabaseError, fromUnknown, InUse, Unsuitable } from "../DatabaseError.ts"
import * as Directory from "./Directory.ts"

export interface Ownership {
  /** A path that leads to the directory, and on Linux to no other. */
  readonly directory: string
  readonly release: () => void
}

/** `shared`: whether it admits other processes. */
const Owner = Schema.Struct({
  pid: Schema.Int,
  host: Schema.String,
  command: Schema.String,
  shared: Schema.Boolean
})
export type Owner = typeof Owner.Type

const OwnerFile = Schema.fromJsonString(Owner)
const encode = Schema.encodeSync(OwnerFile)
const decode = Schema.decodeUnknownSync(OwnerFile)

/** Makes this process the owner of `directory`, which is created if needed. `undefined`: it has an owner, perhaps this process. */
export const take = (directory: string, shared: boolean): Ownership | undefined => {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    // Until the directory that was locked is the one that the path leads to: it may have been replaced meanwhile.
    for (;;) {
      const pinned = PinnedDirectory.open(directory)
      const taken = takePinned(pinned, shared)
      if (taken === undefined || Directory.isSame(pinned.path, directory)) return taken
      taken.release()
    }
  } catch (cause) {
    throw unusable(directory, cause)
  }
}

const takePinned = (pinned: PinnedDirectory.PinnedDirectory, shared: boolean): Ownership | undefined => {
  let lock: KernelLock.KernelLock | undefined
  try {
    lock = KernelLock.tryLock(Directory.lock(pinned.path))
    if (lock !== undefined) describeSelf(pinned.path, shared)
    return lock === undefined ? undefined : { directory: pinned.path, release: releaseOf(pinned, lock) }
  } catch (cause) {
    lock?.release()
    throw cause
  } finally {
    if (lock === undefined) pinned.close()
  }
}

const releaseOf = (pinned: PinnedDirectory.PinnedDirectory, lock: KernelLock.KernelLock) => () => {
  rmSync(Directory.owner(pinned.path), { force: true })
  lock.release()
  pinned.close()
}

/** Writes who owns the directory; the caller does. */
export const describeSelf = (directory: string, shared: boolean): void => {
  const file = Directory.owner(directory)
  writeFileSync(`${file}.new`, encode({ ...ProcessOwner.self(), shared }), { mode: 0o600 })
  renameSync(`${file}.new`, file)
}

/** The last process that said it owns the directory. */
export const ownerOf = (directory: string): Owner | undefined => {
  try {
    return decode(readFileSync(Directory.owner(directory), "utf8"))
  } catch {
    return undefined
  }
}

/** `problem`: why its owner cannot be joined. */
export const inUse = (directory: string, problem: string): DatabaseError => {
  const owner = ownerOf(directory)
  return new DatabaseError({
    reason: new InUse({
      directory,
      owner: owner === undefined ? "a process that has not said who it is" : ProcessOwner.describe(owner),
      problem
    })
  })
}

const another = "let USAGE_HOME name a directory of your own"
const remedies: Record<string, string> = {
  EACCES: `Run as the user to whom it belongs, or ${another}`,
  EPERM: `Run as the user to whom it belongs, or ${another}`,
  EROFS: "Let USAGE_HOME name a directory that can be written"
}
const otherRemedy = "Let USAGE_HOME name a directory on a file system that has locks, as local ones have"

/** The error for a directory that cannot be owned; a full disk passes. */
const unusable = (directory: string, cause: unknown): DatabaseError => {
  if (cause instanceof DatabaseError) return cause
  const detail = `${directory}: ${(cause as Error).message}`
  const { reason } = fromUnknown(cause)
  if (reason._tag === "Busy") return new DatabaseError({ reason: new Busy({ detail, code: reason.code, cause }) })
  return new DatabaseError({
    reason: new Unsuitable({
      detail,
      remedy: remedies[(cause as NodeJS.ErrnoException).code ?? ""] ?? otherRemedy
    })
  })
}
