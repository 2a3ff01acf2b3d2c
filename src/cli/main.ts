/**
 * The entry of the `usage` command.
 *
 * The first SIGINT or SIGTERM ends it in order, the second at once. A reader that closes the pipe early (`usage … | head`)
 * is no failure.
 */
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { exitCodes } from "./failures.ts"
import { run } from "./Program.ts"

const main = (): void => {
  process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1))

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
