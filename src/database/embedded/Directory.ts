/** The layout of an embedded database's directory, and how the directory is distinguished from a copy or a replacement. */
import { statSync } from "node:fs"
import { join } from "node:path"
import { type Failed, failed } from "./Messages.ts"

/** PGlite's data. */
export const data = (directory: string): string => join(directory, "database")

/** The file with the kernel's lock. Replacing it takes the ownership away. */
export const lock = (directory: string): string => join(directory, "lock")

/** Describes the owner, for people. */
export const owner = (directory: string): string => join(directory, "owner.json")

/** Where the owner accepts other processes. */
export const socket = (directory: string): string => join(directory, "run", "socket")

/** Identifies an existing file or directory on this machine, the same in every container. */
export const markOf = (path: string): string => {
  const { dev, ino } = statSync(path, { bigint: true })
  return `${dev}:${ino}`
}

/** Whether two paths lead to the same file. */
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

/** Watches the data, and answers why it is no longer its owner's: it was removed or replaced. */
export const watch = (directory: string): (() => Failed | undefined) => {
  const paths = [lock(directory), data(directory)]
  const marks = paths.map(markOf)
  return () =>
    paths.every((path, i) => markNow(path) === marks[i])
      ? undefined
      : failed("its directory, or the lock in it, was removed or replaced", "08006")
}
