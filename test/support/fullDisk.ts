/** A disk of a few megabytes, for a process of a test: a file system in memory in a namespace of mounts of its own. */
import { spawnSync } from "node:child_process"
import { appendFileSync, rmSync } from "node:fs"
import { join } from "node:path"

const unshare = ["unshare", ...(process.getuid?.() === 0 ? [] : ["--user", "--map-root-user"]), "--mount"]

/** As root, or where users may make namespaces. */
export const canMount =
  spawnSync(unshare[0]!, [...unshare.slice(1), "sh", "-c", "mount -t tmpfs -o size=1m tmpfs /tmp"]).status === 0

/**
 * The command line of a command for which `directory` is such a disk, filled with what is in `from`. The process that it is
 * started as becomes the command's.
 */
export const onSmallDisk = (
  { directory, from, size }: { readonly directory: string; readonly from: string; readonly size: string },
  ...command: ReadonlyArray<string>
): readonly [string, ReadonlyArray<string>] => {
  const script = 'mount -t tmpfs -o size="$0" tmpfs "$1" && cp -a "$2/." "$1" && shift 2 && exec "$@"'
  return [unshare[0]!, [...unshare.slice(1), "sh", "-c", script, size, directory, from, ...command]]
}

/** The disk as it is seen from outside. */
export const seenThrough = (pid: number, directory: string): string => `/proc/${pid}/root${directory}`

const ballast = (disk: string) => join(disk, "ballast")

/** Leaves no room, whatever else is written meanwhile. */
export const fill = (disk: string): void => {
  for (const chunk of [Buffer.alloc(1_048_576), Buffer.alloc(4_096)]) {
    try {
      for (;;) appendFileSync(ballast(disk), chunk)
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== "ENOSPC") throw cause
    }
  }
}

/** Makes the room again. */
export const free = (disk: string): void => rmSync(ballast(disk))
