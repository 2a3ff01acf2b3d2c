/** What is where in the directory of an embedded database, and what tells that from what is elsewhere or comes in its place. */
import { statSync } from "node:fs"
import { join } from "node:path"
import { type Failed, failed } from "./Messages.ts"

/** PGlite's data. */
export const data = (directory: string): string => join(directory, "database")

/** The file that the kernel's lock is on. Who replaces it takes the ownership away. */
export const lock = (directory: string): string => join(directory, "lock")

/** Says to people who owns the directory. */
export const owner = (directory: string): string => join(directory, "owner.json")

/** Where the owner lets others in. */
export const socket = (directory: string): string => join(directory, "run", "socket")

/** What tells a file or directory from all others of this machine, while it is there; the same in every container. */
export const markOf = (path: string): string => {
  const { dev, ino } = statSync(path, { bigint: true })
  return `${dev}:${ino}`
}

/** Whether two paths lead to one thing. */
export const isSame = (one: string, other: string): boolean => {
  const mark = markNow(one)
  return mark !== undefined && mark === markNow(other)
}

const markNow = (path: string): string | undefined => {
  try {
    return markOf(path)
  } catch {
    return undefined
  }
}

/** Tells from now on why the data is not its owner's any more: it was removed, or others have come in its place. */
export const watch = (directory: string): (() => Failed | undefined) => {
  const paths = [lock(directory), data(directory)]
  const marks = paths.map(markOf)
  return () =>
    paths.every((path, i) => markNow(path) === marks[i])
      ? undefined
      : failed("its directory, or the lock in it, was removed or replaced", "08006")
}
