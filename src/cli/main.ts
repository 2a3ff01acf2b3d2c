/**
 * The entry of the `usage` command.
 *
 * The first SIGINT or SIGTERM ends it in order, the second at once. A reader that closes the pipe early (`usage … | head`)
 * is no failure; a full disk behind stdout is.
 */
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Cause from "effect/Cause"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { Unwritable } from "../internal/NewFile.ts"
import * as Stdout from "../system/Stdout.ts"
import { exitCodes, present, told } from "./failures.ts"
import { run } from "./Program.ts"

/** The console of the command: what it says on stdout is there, or the command has failed. */
const console_: Console.Console = Object.assign(Object.create(globalThis.console) as Console.Console, {
  log: (...parts: ReadonlyArray<unknown>) => Stdout.print(parts.join(" "))
})

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
  const onSignal = (signal: number) => () => (code === undefined ? stop(signal) : process.exit(code))
  process.on("SIGINT", onSignal(exitCodes.interrupted))
  process.on("SIGTERM", onSignal(exitCodes.terminated))
  process.stdout.once("error", (cause) => {
    // Further writes fail as this one did.
    process.stdout.on("error", () => {})
    const failure = present(Cause.fail(new Unwritable({ file: "stdout", cause })))
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
    process.exitCode = code
    process.stdout.write("", () => process.exit(code))
  })
}

main()
