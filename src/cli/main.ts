/**
 * The entry of the `usage` command.
 *
 * The first SIGINT or SIGTERM ends it in order, the second at once. A reader that closes the pipe early (`usage … | head`)
 * is no failure; a full disk behind stdout is.
 */
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { writeSync } from "node:fs"
import { Unwritable } from "../internal/NewFile.ts"
import { exitCodes, present } from "./failures.ts"
import { run } from "./Program.ts"

const main = (): void => {
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(0)
    const { exitCode, hint, line } = present(Cause.fail(new Unwritable({ file: "stdout", cause: error })))
    // Nothing is waited for any more.
    writeSync(2, `usage: ${line}\n${hint === undefined ? "" : `Hint: ${hint}\n`}`)
    process.exit(exitCode)
  })

  const fiber = Effect.runFork(Effect.provide(run(process.argv.slice(2)), NodeServices.layer))

  let signalled: number | undefined
  const onSignal = (code: number) => () => {
    if (signalled !== undefined) process.exit(code)
    signalled = code
    Effect.runFork(Fiber.interrupt(fiber))
  }
  process.on("SIGINT", onSignal(exitCodes.interrupted))
  process.on("SIGTERM", onSignal(exitCodes.terminated))

  // An open fiber alone does not keep the process alive.
  const alive = setInterval(() => {}, 2 ** 30)
  fiber.addObserver((exit) => {
    clearInterval(alive)
    const code = signalled ?? (Exit.isSuccess(exit) ? exit.value : exitCodes.failure)
    // What is still on its way to a pipe is written before the process ends.
    process.exitCode = code
    process.stdout.write("", () => process.exit(code))
  })
}

main()
