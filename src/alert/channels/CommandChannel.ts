/**
 * Alerts to a command: for receivers that have no channel here, or a pager's own program.
 *
 * - It is started without a shell, with the alert as JSON on stdin and in `USAGE_ALERT_KIND`, `_LEVEL`, `_CUSTOMER`, `_SERVICE`,
 *   `_TEXT` and `_DELIVERY_ID`. The rest of its environment is this process's, without our secrets (`Settings.childEnvironment`).
 * - Exit code 0 is success; 75 and an end by a signal are retried; any other code is a refusal.
 * - A command that takes too long is asked to end and then killed, with everything that it started.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import { type ChildProcess, spawn } from "node:child_process"
import { sentence } from "../../domain/Alert.ts"
import { InvalidInput } from "../../domain/InvalidInput.ts"
import * as Settings from "../../system/Settings.ts"
import { type AlertChannel, type AlertChannels, ChannelError, type Delivery, layerChannel } from "../AlertChannels.ts"
import { jsonOf } from "../AlertText.ts"
import { printable, withoutPasswords } from "../../domain/Shown.ts"

/** @since 0.1.0 */
export interface CommandChannelOptions {
  /** Default: `command`. */
  readonly name?: string | undefined
  /** A program's path, or its name in `PATH`. */
  readonly command: string
  readonly args?: ReadonlyArray<string> | undefined
  /** Default: 30 seconds. */
  readonly timeout?: Duration.Input | undefined
  /** From the request to end until it is killed. Default: 2 seconds. */
  readonly grace?: Duration.Input | undefined
}

/** How a command ended. */
interface Ending {
  readonly code: number | null
  readonly signal: string | null
  readonly stderr: string
}

/** How much of stderr is kept. The rest is read and dropped, so that the command does not wait for a reader. */
const stderrLimit = 4096
/** How long stderr may take to close after the command has ended: what it left running may hold it open forever. */
const lastWordsMillis = 100

const environmentOf = ({ alert, id }: Delivery): NodeJS.ProcessEnv => ({
  ...Settings.childEnvironment(process.env),
  USAGE_ALERT_KIND: alert.kind,
  USAGE_ALERT_LEVEL: alert.level ?? "",
  USAGE_ALERT_CUSTOMER: alert.customer,
  USAGE_ALERT_SERVICE: alert.service,
  USAGE_ALERT_TEXT: sentence(alert),
  USAGE_ALERT_DELIVERY_ID: id
})

/** Signals the command and everything that it started. */
const kill = (child: ChildProcess, signal: NodeJS.Signals): void => {
  try {
    process.kill(-child.pid!, signal)
  } catch {
    // It has ended.
  }
}

/** Asks a command to end, waits, and kills what is left. */
const end = (child: ChildProcess, grace: Duration.Input): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
    child.once("exit", () => resume(Effect.void))
    kill(child, "SIGTERM")
  }).pipe(
    Effect.timeoutOrElse({ duration: grace, orElse: () => Effect.void }),
    Effect.andThen(
      Effect.sync(() => {
        if (child.pid !== undefined) kill(child, "SIGKILL")
        child.stderr?.destroy()
        child.stdin?.destroy()
      })
    )
  )

const run = (options: CommandChannelOptions, delivery: Delivery): Effect.Effect<Ending, NodeJS.ErrnoException> =>
  Effect.callback((resume) => {
    const child = spawn(options.command, options.args ?? [], {
      env: environmentOf(delivery),
      stdio: ["pipe", "ignore", "pipe"],
      // A process group of its own, so that a timeout also ends what it started.
      detached: true
    })
    let stderr = ""
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      if (stderr.length < stderrLimit) stderr += text.slice(0, stderrLimit - stderr.length)
    })
    child.stderr.on("error", () => {})
    // A command need not read its input.
    child.stdin.on("error", () => {})
    child.stdin.end(`${jsonOf(delivery)}\n`)
    child.on("error", (cause) => resume(Effect.fail(cause)))
    child.on("exit", (code, signal) => {
      const finish = () => {
        clearTimeout(timer)
        resume(Effect.succeed({ code, signal, stderr }))
        child.stderr.destroy()
      }
      const timer = setTimeout(finish, lastWordsMillis)
      child.stderr.once("close", finish)
    })
    return end(child, options.grace ?? "2 seconds")
  })

/** Variables whose values are taken out of what a command says. */
const isSecret = (name: string): boolean => /(URL|KEY|SECRET|TOKEN|PASSWORD|PASS|AUTH|CREDENTIALS?)$/i.test(name)

/** The first line of what a command said, to be stored and shown: printable, and without the secrets in the environment. */
const firstLine = (text: string): string => {
  let line = text.split("\n").find((line) => line.trim() !== "") ?? ""
  for (const [name, value = ""] of Object.entries(process.env)) {
    if (value.length >= 6 && isSecret(name)) line = line.replaceAll(value, "***")
  }
  return printable(withoutPasswords(line.trim())).slice(0, 200)
}

/** Why a command cannot be started now, but perhaps later. */
const passing: ReadonlySet<string> = new Set(["EAGAIN", "ENOMEM", "EMFILE", "ENFILE", "ETXTBSY"])

const make = (options: CommandChannelOptions): Effect.Effect<AlertChannel, InvalidInput> => {
  const { args = [], command, name = "command", timeout = "30 seconds" } = options
  if (command === "" || [command, ...args].some((text) => text.includes("\0"))) {
    return Effect.fail(
      new InvalidInput({ field: "command", problem: "is not a command", remedy: "Give the path of a program" })
    )
  }
  const failed = (problem: string, isRetryable: boolean) => new ChannelError({ channel: name, problem, isRetryable })
  const send = Effect.fn("CommandChannel.send")(function* (delivery: Delivery) {
    const { code, signal, stderr } = yield* run(options, delivery).pipe(
      Effect.mapError(({ code = "failed" }) => failed(`${command} cannot be started (${code})`, passing.has(code))),
      Effect.timeoutOrElse({
        duration: timeout,
        orElse: () => {
          const limit = Duration.format(Duration.fromInputUnsafe(timeout))
          return Effect.fail(failed(`${command} took longer than ${limit} and was ended`, true))
        }
      })
    )
    if (code === 0) return
    const said = firstLine(stderr)
    const ending = signal === null ? `answered ${code}` : `was ended by ${signal}`
    return yield* failed(`${command} ${ending}${said === "" ? "" : `: ${said}`}`, signal !== null || code === 75)
  })
  return Effect.succeed({ name, send })
}

/** The channel `command`. Fails with `InvalidInput` on the field `command`. @since 0.1.0 */
export const layer = (options: CommandChannelOptions): Layer.Layer<never, InvalidInput, AlertChannels> =>
  layerChannel(make(options))
