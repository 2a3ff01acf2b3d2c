/** Processes of their own in a test, and a directory for them. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"

/** A directory of its own, removed when the scope closes. */
export const temporaryDirectory = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-usage-"))),
  (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
)

/** Where a script for processes of tests is. */
export const scriptOf = (script: string): string => fileURLToPath(new URL(`./${script}`, import.meta.url))

/** A process of its own, killed when the scope closes; its lines of output one by one. */
export const child = (script: string, ...args: ReadonlyArray<string>): Effect.Effect<Child, never, Scope.Scope> =>
  childOf(process.execPath, [scriptOf(script), ...args])

/** The same of any command. */
export const childOf = (command: string, args: ReadonlyArray<string>): Effect.Effect<Child, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => new Child(spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] }))),
    (running) => Effect.promise(() => running.kill())
  )

export class Child {
  readonly process: ChildProcess
  readonly lines: Array<string> = []
  #waiting: Array<() => void> = []
  #ended = false

  constructor(process: ChildProcess) {
    this.process = process
    const reader = createInterface({ input: process.stdout! })
    const wake = () => {
      for (const go of this.#waiting.splice(0)) go()
    }
    reader.on("line", (line) => {
      this.lines.push(line)
      wake()
    })
    reader.on("close", () => {
      this.#ended = true
      wake()
    })
  }

  /** Waits until so many lines have come, or no more will. */
  readonly atLeast = (count: number) =>
    Effect.promise(async () => {
      while (this.lines.length < count && !this.#ended) await new Promise<void>((go) => this.#waiting.push(go))
      return this.lines
    })

  /** Asks it to end, and kills it if it has not by then, as `docker stop` does after ten seconds. Gives how long it took, and whether it was killed. */
  async terminate(
    limitMillis: number
  ): Promise<{ readonly millis: number; readonly killed: boolean; readonly code: number | null }> {
    const started = performance.now()
    const exited = once(this.process, "exit")
    const drained = once(this.process.stdout!, "close")
    this.process.kill("SIGTERM")
    const timer = setTimeout(() => this.process.kill("SIGKILL"), limitMillis)
    const [code, signal] = (await exited) as [number | null, NodeJS.Signals | null]
    clearTimeout(timer)
    const millis = performance.now() - started
    await drained
    return { millis, killed: signal === "SIGKILL", code }
  }

  /** Waits until nothing more is said: the last process that has its output is gone. */
  readonly end = Effect.suspend(() => this.atLeast(Infinity))

  async kill(): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return
    const exited = once(this.process, "exit")
    this.process.kill("SIGKILL")
    await exited
  }
}
