/** Processes as in another container: process 1 of a namespace of its own, on a host of another name. */
import { spawnSync } from "node:child_process"

const unshare = [
  "unshare",
  ...(process.getuid?.() === 0 ? [] : ["--user", "--map-root-user"]),
  "--pid",
  "--uts",
  "--fork"
]

/** As root, or where users may make namespaces. */
export const canBeApart = spawnSync(unshare[0]!, [...unshare.slice(1), "true"]).status === 0

/** The command line of a command in namespaces of its own, which end when the first process of it is killed. */
export const apart = (host: string, ...command: ReadonlyArray<string>): readonly [string, ...Array<string>] => [
  unshare[0]!,
  ...unshare.slice(1),
  "--kill-child",
  "sh",
  "-c",
  'hostname "$0"; exec "$@"',
  host,
  ...command
]

/**
 * The same with a directory at another path, and a `/proc` that shows its own processes, as a container with a volume has it.
 * `at` is there already.
 */
export const contained = (
  { at, host, volume }: { readonly at: string; readonly host: string; readonly volume: string },
  ...command: ReadonlyArray<string>
): readonly [string, ...Array<string>] =>
  apart(
    host,
    "unshare",
    "--mount",
    "sh",
    "-c",
    'mount -t proc proc /proc && mount --bind "$0" "$1" && shift && exec "$@"',
    volume,
    at,
    ...command
  )

/** As root, or where users may make namespaces and mount in them. */
export const canBeContained = ((): boolean => {
  const [command, ...args] = contained({ at: "/mnt", host: "elsewhere", volume: "/tmp" }, "true")
  return spawnSync(command, args).status === 0
})()
