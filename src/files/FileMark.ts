/**
 * What tells a file or directory from a copy of it, and not from itself under another name: its inode, and when that was made.
 *
 * The inode alone would do on one file system; two that were filled alike have the same numbers. The time is not known
 * everywhere, and then only the inode counts. The device is not asked: its number is another after a restart.
 */
import { statSync } from "node:fs"

/** The mark of what is there; throws where nothing is. */
export const of = (path: string): string => {
  const { birthtimeNs, ctimeNs, ino } = statSync(path, { bigint: true })
  // Where a file system does not say when a file was made, it may say when it was last changed.
  return `${ino}:${birthtimeNs > 0n && birthtimeNs !== ctimeNs ? birthtimeNs : "?"}`
}

/** Whether two marks may be of the same. */
export const isSame = (one: string, other: string): boolean => {
  const [[inode, made], [otherInode, otherMade]] = [one.split(":"), other.split(":")]
  return inode === otherInode && (made === otherMade || made === "?" || otherMade === "?")
}
