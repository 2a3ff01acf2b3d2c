/** The `usage` command in a test: in this process, for speed, or as a process of its own, for signals and pipes. */
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { run } from "../../src/cli/Program.ts"

export interface Outcome {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export type Environment = Readonly<Record<string, string>>

/** Runs a command line in this process, with nothing of this process's environment. */
export const usage = (env: Environment, ...args: ReadonlyArray<string>): Effect.Effect<Outcome> =>
  Effect.suspend(() => {
    const out: Array<string> = []
    const err: Array<string> = []
    const console: Console.Console = Object.assign(Object.create(globalThis.console), {
      log: (...parts: ReadonlyArray<unknown>) => void out.push(`${parts.join(" ")}\n`),
      error: (...parts: ReadonlyArray<unknown>) => void err.push(`${parts.join(" ")}\n`)
    })
    return run(args).pipe(
      Effect.provide(NodeServices.layer),
      Effect.provideService(Console.Console, console),
      Effect.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env }))),
      Effect.map((code) => ({ code, stdout: out.join(""), stderr: err.join("") }))
    )
  })

const launcher = fileURLToPath(new URL("../../bin/usage.js", import.meta.url))

/** Starts the command as a process of its own. */
export const spawnUsage = (env: Environment, ...args: ReadonlyArray<string>) =>
  spawn(process.execPath, [launcher, ...args], { env: { PATH: process.env["PATH"], ...env } })

/** Runs the command as a process of its own, with `input` on stdin. */
export const usageProcess = (
  env: Environment,
  args: ReadonlyArray<string>,
  input: string | Uint8Array = ""
): Promise<Outcome> => outcomeOf(spawnUsage(env, ...args), input)

/** Runs the command as a shell does that redirects its output, after a command of the shell's own. */
export const redirected = (redirection: string, env: Environment, args: ReadonlyArray<string>, first = ":") =>
  outcomeOf(
    spawn("bash", ["--norc", "-c", `${first}; exec "$0" "$@" ${redirection}`, process.execPath, launcher, ...args], {
      env: { PATH: process.env["PATH"], ...env }
    })
  )

/** The same where no file may have more than so many kB: the operating system refuses what goes beyond. */
export const limitedUsage = (kilobytes: number, env: Environment, args: ReadonlyArray<string>): Promise<Outcome> =>
  redirected("", env, args, `ulimit -f ${kilobytes}`)

const outcomeOf = (child: ChildProcessWithoutNullStreams, input: string | Uint8Array = ""): Promise<Outcome> =>
  new Promise((resolve, reject) => {
    let stdout = ""
    let stderr = ""
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text))
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text))
    child.on("error", reject)
    child.on("close", (code, signal) => resolve({ code: code ?? (signal === "SIGKILL" ? 137 : 1), stdout, stderr }))
    child.stdin.on("error", () => {})
    child.stdin.end(input)
  })
