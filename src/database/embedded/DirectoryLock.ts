/**
 * One owner for a directory. PGlite does not lock its data, and two processes in it destroy it.
 *
 * The lock is a file that names its owner: process id, the time that process was started (ids are used again), machine and
 * command. It appears whole, and only where there is none. A lock whose owner is gone is stale and taken over: the takeover itself is guarded by
 * a second file of the kind, so that of several processes that find a stale lock one gets it. It also says at which socket its
 * owner lets others work with the database, if it does.
 */
import { linkSync, mkdirSync, readFileSync, statSync, unlinkSync, writeFileSync } from "node:fs"
import { randomUUID } from "node:crypto"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as ProcessOwner from "../../system/ProcessOwner.ts"
import { DatabaseError, fromUnknown, InUse } from "../DatabaseError.ts"

const Owner = Schema.fromJsonString(
  Schema.Struct({
    pid: Schema.Int,
    started: Schema.String,
    host: Schema.String,
    command: Schema.String,
    socket: Schema.optionalKey(Schema.String)
  })
)
const encode = Schema.encodeSync(Owner)
const decode = Schema.decodeUnknownOption(Owner)

/** A live owner; `undefined` if it cannot be told which process that is. */
export type Owner = (ProcessOwner.ProcessOwner & { readonly socket?: string }) | undefined

/** Takes the lock of `directory`, which is made if need be, until the scope closes. */
export const acquire = (directory: string): Effect.Effect<void, DatabaseError, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.gen(function* () {
      const taken = yield* Effect.try({ try: () => take(directory), catch: fromUnknown })
      if (taken !== "taken") return yield* inUse(directory, taken.owner)
    }),
    () => Effect.sync(() => release(directory))
  )

export const inUse = (directory: string, owner: Owner): DatabaseError =>
  new DatabaseError({
    reason: new InUse({
      directory,
      owner: owner === undefined ? "a process that is just starting" : ProcessOwner.describe(owner)
    })
  })

/** Removes the lock, if it is still ours. */
export const release = (directory: string): void => {
  const file = join(directory, "lock")
  const owner = read(file)
  const self = ProcessOwner.self()
  if (owner?.pid === self.pid && owner.host === self.host) removeIfThere(file)
}

/** Takes the lock, or gives the owner if there is a live one. `socket`: where others can work with the database. */
export const take = (directory: string, socket?: string): "taken" | { readonly owner: Owner } => {
  const file = join(directory, "lock")
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const guard = `${file}.takeover`
  for (let attempt = 0; attempt < 50; attempt++) {
    if (createExclusively(file, socket)) return "taken"
    const owner = read(file)
    if (owner === undefined) {
      // Gone in between; or, if it stays, not one of ours and of no use.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20)
      if (read(file) !== undefined || !isOlderThan(file, 1_000)) continue
    } else if (ProcessOwner.isAlive(owner)) {
      return { owner }
    }
    if (!createExclusively(guard)) {
      if (isOlderThan(guard, 10_000)) removeIfThere(guard)
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20)
      continue
    }
    try {
      // Under the guard nobody else replaces the lock, so what is stale now is what is removed.
      const current = read(file)
      const useless = current === undefined && isOlderThan(file, 1_000)
      if (useless || (current !== undefined && !ProcessOwner.isAlive(current))) removeIfThere(file)
    } finally {
      removeIfThere(guard)
    }
  }
  return { owner: undefined }
}

/**
 * Makes a file that names this process, unless there is one. It is there with its content or not at all: a lock that could
 * be seen empty for a moment would look like what a dead process left.
 */
const createExclusively = (file: string, socket?: string): boolean => {
  const whole = `${file}.${randomUUID()}`
  writeFileSync(whole, encode({ ...ProcessOwner.self(), ...(socket !== undefined && { socket }) }), {
    mode: 0o600,
    flag: "wx"
  })
  try {
    linkSync(whole, file)
    return true
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "EEXIST") return false
    throw cause
  } finally {
    removeIfThere(whole)
  }
}

const read = (file: string): Owner => {
  try {
    const owner = decode(readFileSync(file, "utf8"))
    return owner._tag === "Some" ? owner.value : undefined
  } catch {
    return undefined
  }
}

const isOlderThan = (file: string, millis: number): boolean => {
  try {
    return Date.now() - statSync(file).mtimeMs > millis
  } catch {
    return false
  }
}

const removeIfThere = (file: string): void => {
  try {
    unlinkSync(file)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "ENOENT") throw cause
  }
}
