/**
 * The entry of the `usage` command.
 *
 * The first SIGINT or SIGTERM ends it in order, the second at once, and so does the first after eight seconds. A reader that closes the pipe early (`usage … | head`)
 * is no failure; a full disk behind stdout is.
 */
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Cause from "effect/Cause"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { Unwritable } from "../files/NewFile.ts"
import * as Stdout from "../files/Stdout.ts"
import { exitCodes, present, told } from "./shared/Failures.ts"
import { run } from "./Program.ts"

/** The console of the command: what it says on stdout is there, or the command has failed. */
const console_: Console.Console = Object.assign(Object.create(globalThis.console) as Console.Console, {
  log: (...parts: ReadonlyArray<unknown>) => Stdout.print(parts.join(" "))
})

/** The services end before this, whatever is broken. */
const patienceMillis = 8_000

/**
 * Ends the process. `process.exit` waits for threads, and one that opens a pipe which nobody writes, or asks a name server
 * that is silent, does not come back: the signal itself ends the process then. (Not where it is the first of a container.)
 */
const end = (code: number, signal: NodeJS.Signals | undefined): void => {
  const isThreadBusy = process
    .getActiveResourcesInfo()
    .some((name) => name.startsWith("FSReq") || name.startsWith("GetAddrInfo"))
  if (signal !== undefined && isThreadBusy) {
    process.removeAllListeners(signal)
    process.kill(process.pid, signal)
  }
  process.exit(code)
}

const main = (): void => {
  const fiber = Effect.runFork(
    run(process.argv.slice(2)).pipe(
      Effect.provideService(Console.Console, console_),
      Effect.provide(NodeServices.layer)
    )
  )

  /** With what the process ends, once that is known. */
  let code: number | undefined
  const stop = (with_: number): void => {
    code = with_
    Effect.runFork(Fiber.interrupt(fiber))
  }
  let signalled: NodeJS.Signals | undefined
  const onSignal = (signal: NodeJS.Signals, with_: number) => () => {
    // It has been told before, or is through and waits for its reader.
    if (code !== undefined) return end(with_, signal)
    signalled = signal
    setTimeout(end, patienceMillis, with_, signal)
    stop(with_)
  }
  process.on("SIGINT", onSignal("SIGINT", exitCodes.interrupted))
  process.on("SIGTERM", onSignal("SIGTERM", exitCodes.terminated))
  process.stdout.once("error", (cause) => {
    // Further writes fail as this one did.
    process.stdout.on("error", () => {})
    const failure = present(Cause.fail(Unwritable.of("stdout", cause)))
    if (failure.line !== undefined) console_.error(told(failure))
    if (failure.exitCode !== 0 || code === undefined) stop(failure.exitCode)
  })
  // Where nobody can be told, nobody is.
  process.stderr.on("error", () => {})

  // An open fiber alone does not keep the process alive.
  const alive = setInterval(() => {}, 2 ** 30)
  fiber.addObserver((exit) => {
    clearInterval(alive)
    code ??= Exit.isSuccess(exit) ? exit.value : exitCodes.failure
    // What is still on its way to a pipe is written before the process ends.
    const known = code
    process.exitCode = known
    process.stdout.write("", () => end(known, signalled))
  })
}

main()
