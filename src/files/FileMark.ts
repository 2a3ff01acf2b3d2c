/**
 * Distinguishes a file or directory from a copy of it, but not from itself under another name: by its inode and birth time.
 *
 * The inode alone would do on one file system, but two that were filled alike have the same numbers. Where the birth time is
 * unknown, only the inode counts. The device number is not used: it changes after a restart.
 */
import { statSync } from "node:fs"

/** The mark of an existing file; throws if there is none. */
export const of = (path: string): string => {
  const { birthtimeNs, ctimeNs, ino } = statSync(path, { bigint: true })
  // Where a file system does not say when a file was made, it may say when it was last changed.
  return `${ino}:${birthtimeNs > 0n && birthtimeNs !== ctimeNs ? birthtimeNs : "?"}`
}

/** Whether two marks may be of the same file. */
export const isSame = (one: string, other: string): boolean => {
  const [[inode, made], [otherInode, otherMade]] = [one.split(":"), other.split(":")]
  return inode === otherInode && (made === otherMade || made === "?" || otherMade === "?")
}
