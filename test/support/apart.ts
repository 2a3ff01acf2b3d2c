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
