/**
 * Describes the process that owns something, for people. Nothing is decided by it: in another container the same process id
 * is another process, and the same host name another host. Whether an owner is alive, its lock says.
 *
 * Hand-written: there is no library for four facts of `node:os`.
 */
import { hostname } from "node:os"
import { basename } from "node:path"

export interface ProcessOwner {
  readonly pid: number
  readonly host: string
  /** What it runs: see {@link commandOf}. */
  readonly command: string
}

/**
 * What a process runs, safe to write into tables and files and to show to others: the program's name and, for the `usage`
 * command, its subcommand. Nothing else of a command line, because any argument may hold a secret.
 */
export const commandOf = (argv: ReadonlyArray<string>): string => {
  const program = basename(argv[1] ?? "node").replace(/[^\w.@+-]/g, "?")
  if (!/^(effect-)?usage(\.js)?$/.test(program)) return program.slice(0, 80)
  const words = argv.slice(2, 4)
  const end = words.findIndex((word) => !/^[a-z]{2,20}(-[a-z]{2,20})?$/.test(word))
  return ["usage", ...(end === -1 ? words : words.slice(0, end))].join(" ")
}

/** This process. */
export const self = (): ProcessOwner => ({
  pid: process.pid,
  host: hostname(),
  command: commandOf(process.argv)
})

/** `process 4711 (usage import access.log)` */
export const describe = (owner: ProcessOwner): string =>
  `process ${owner.pid}${owner.host === hostname() ? "" : ` on ${owner.host}`} (${owner.command})`
