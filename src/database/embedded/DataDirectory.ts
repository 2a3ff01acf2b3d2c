/**
 * Checks PGlite's data in an embedded database's directory before it starts: complete, or not there yet.
 *
 * Without `PG_VERSION`, PGlite would make a new database over whatever is there. So that is allowed only if there is nothing, or if
 * making one was interrupted: `database.unfinished` exists until it is done, and nothing has been stored before.
 */
import { existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { DatabaseError, Unsuitable } from "../DatabaseError.ts"
import * as Directory from "./Directory.ts"
import type { Failed } from "./Messages.ts"

const unfinished = (directory: string): string => join(directory, "database.unfinished")

/** Whether there is a database. */
export const isMade = (directory: string): boolean => existsSync(join(Directory.data(directory), "PG_VERSION"))

/** Makes sure that PGlite finds complete data or none. `name`: the directory's, for people. */
export const prepare = (directory: string, name: string): void => {
  const data = Directory.data(directory)
  if (existsSync(unfinished(directory))) rmSync(data, { recursive: true, force: true })
  // Users who may enter the parent directory may not read the data.
  mkdirSync(data, { recursive: true, mode: 0o700 })
  if (isMade(directory)) {
    belongsToUs(directory, name)
    return removeEmptyLock(data)
  }
  const [found] = readdirSync(data)
  if (found !== undefined) {
    throw unsuitable(
      `${name}/database has ${found} and no PG_VERSION: it is not all of a database`,
      `Copy it once more, or put a backup in its place; to begin with nothing, move it away`
    )
  }
  writeFileSync(unfinished(directory), "", { mode: 0o600 })
}

/**
 * A process that is killed just when PostgreSQL begins leaves its lock file empty, and PostgreSQL would never start again: it
 * might be another server that is starting. There is none, because this process holds the directory's lock.
 */
const removeEmptyLock = (data: string): void => {
  const lock = join(data, "postmaster.pid")
  if (statSync(lock, { throwIfNoEntry: false })?.size === 0) rmSync(lock)
}

/** The engine has started. */
export const finish = (directory: string): void => rmSync(unfinished(directory), { force: true })

/** Data written by another user, often root, could not be read by its owner afterwards. */
const belongsToUs = (directory: string, name: string): void => {
  // The lock's description was written by this process just now.
  const us = statSync(Directory.owner(directory)).uid
  const owner = statSync(Directory.data(directory)).uid
  if (owner === us) return
  throw unsuitable(
    `${name}/database belongs to the user ${owner}, and this process writes as ${us}`,
    `Run as the user ${owner}, or let USAGE_HOME name a directory of your own`
  )
}

const unsuitable = (detail: string, remedy: string): DatabaseError =>
  new DatabaseError({ reason: new Unsuitable({ detail, remedy }) })

/** PGlite does not start on the data. A full disk passes. */
export const startFailure = (name: string, cause: unknown): unknown => {
  const { code, message, ok } = cause as Partial<Failed>
  if (ok !== false || code === "53100") return cause
  return unsuitable(
    `PostgreSQL does not start in ${name}/database: ${message!.split("\n")[0]!}`,
    "If it is a copy, copy it again while nobody works with it; otherwise put a backup in its place"
  )
}
