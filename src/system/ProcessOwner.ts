/**
 * Which process something belongs to, in a form that can be written down and checked later.
 *
 * A process id alone is used again by the next process; with the machine and the time the process was started it is not.
 */
import { readFileSync } from "node:fs"
import { hostname } from "node:os"
import { basename } from "node:path"

export interface ProcessOwner {
  readonly pid: number
  /** Start of the process, in the kernel's words; empty where it does not tell. */
  readonly started: string
  readonly host: string
  /** What it runs, for people: see {@link commandOf}. */
  readonly command: string
}

/**
 * What a process runs, in words that may be written into tables and files and shown to others: the program's name and, of
 * the `usage` command, its subcommand. Nothing else of a command line, because any argument can be a secret or hold one.
 */
export const commandOf = (argv: ReadonlyArray<string>): string => {
  const program = basename(argv[1] ?? "node").replace(/[^\w.@+-]/g, "?")
  if (!/^(effect-)?usage(\.js)?$/.test(program)) return program.slice(0, 80)
  const words = argv.slice(2, 4)
  const end = words.findIndex((word) => !/^[a-z]{2,20}(-[a-z]{2,20})?$/.test(word))
  return ["usage", ...(end === -1 ? words : words.slice(0, end))].join(" ")
}

/** Ticks after boot at which a process started: field 22 of its `stat`, counted after the name in parentheses. */
const startOf = (pid: number): string => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? ""
  } catch {
    return ""
  }
}

/** This process. */
export const self = (): ProcessOwner => ({
  pid: process.pid,
  started: startOf(process.pid),
  host: hostname(),
  command: commandOf(process.argv)
})

/** Whether the process still runs. One on another machine counts as running: from here it cannot be seen. */
export const isAlive = (owner: Omit<ProcessOwner, "command">): boolean => {
  if (owner.host !== hostname()) return true
  try {
    process.kill(owner.pid, 0)
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code === "EPERM"
  }
  const started = startOf(owner.pid)
  return started === "" || owner.started === "" || started === owner.started
}

/** `process 4711 (usage import access.log)` */
export const describe = (owner: ProcessOwner): string =>
  `process ${owner.pid}${owner.host === hostname() ? "" : ` on ${owner.host}`} (${owner.command})`
