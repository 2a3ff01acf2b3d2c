/** `usage run`: many commands in one process, a line a command. */
import * as ConfigProvider from "effect/ConfigProvider"
import * as Console from "effect/Console"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { Command } from "effect/cli"
import { createReadStream } from "node:fs"
import { basename } from "node:path"
import type { Readable } from "node:stream"
import { InvalidInput } from "../../domain/InvalidInput.ts"
import { exitCodes, Failed } from "../shared/Failures.ts"
import * as Flags from "../shared/Flags.ts"
import * as Session from "../shared/Session.ts"
import * as ShellWords from "../shared/ShellWords.ts"
import { printable } from "../../domain/Shown.ts"

/** More than the longest metadata takes, however it is quoted. */
const longestLine = 1_048_576

/** Whether this is a line of a `usage run`. */
const InsideRun = Context.Reference<boolean>("effect-usage/cli/InsideRun", { defaultValue: () => false })

/** `execute`: runs a command line, says what there is to say, and gives the exit code. */
export const makeRun = <R>(execute: (args: ReadonlyArray<string>) => Effect.Effect<number, never, R>) =>
  Command.make(
    "run",
    {
      file: Flags.required("file", "A file of commands; - reads them from stdin"),
      keepGoing: Flags.on("keep-going", "Go on after a command that fails; the exit code is that of the first")
    },
    Effect.fnUntraced(function* ({ file, keepGoing }) {
      if (yield* InsideRun) {
        return yield* new InvalidInput({
          field: "run",
          problem: "cannot be a line of a run",
          remedy: "Run the files one after the other"
        })
      }
      const name = file === "-" ? "stdin" : printable(basename(file))
      const input = file === "-" ? process.stdin : createReadStream(file)
      const lines = readLines(input)
      const isQuiet = yield* Flags.Quiet
      let first = 0
      let failures = 0
      const runLine = (text: string, number: number) =>
        Effect.gen(function* () {
          const words = yield* Effect.fromResult(ShellWords.split(text))
          const args = words[0] === "usage" ? words.slice(1) : words
          if (args.length === 0) return 0
          return yield* execute(isQuiet ? ["--quiet", ...args] : args)
        }).pipe(
          Effect.catch((error: InvalidInput) =>
            Effect.as(Console.error(`usage: ${error.problem}\nHint: ${error.remedy}`), exitCodes.usage)
          ),
          Effect.updateService(Console.Console, (console) => placed(console, `${name}:${number}: `))
        )
      const runAll = Effect.gen(function* () {
        for (let number = 1; ; number++) {
          const next = yield* Effect.tryPromise({ try: () => lines.next(), catch: (cause) => unreadable(name, cause) })
          if (next.done === true) return
          const code = yield* runLine(next.value, number)
          if (code === 0) continue
          failures++
          if (first === 0) first = code
          if (!keepGoing || code === exitCodes.interrupted || code === exitCodes.terminated) return
        }
      })
      yield* runAll.pipe(
        // The reader itself ends no earlier than what it waits for.
        Effect.ensuring(Effect.sync(() => input.destroy())),
        Effect.provideService(InsideRun, true),
        Effect.provideService(Session.StdinIsTaken, file === "-"),
        Effect.provide(Layer.merge(layerFlags, Session.layerSharedDatabases))
      )
      if (failures === 0) return
      // The command has said what was wrong.
      return yield* new Failed({ exitCode: first, summary: keepGoing ? `${failures} commands failed` : undefined })
    })
  ).pipe(
    Command.withDescription(
      "Run many commands in one process, a line a command, quoted as for a shell. Stops at the first that fails"
    ),
    Command.withExamples([
      { command: "usage run commands.txt", description: "A thousand commands take seconds" },
      { command: "generate-commands | usage run - --keep-going", description: "Each as its line comes" }
    ])
  )

/** The flags of the run are those of its commands, as if the environment had named them. */
const layerFlags = Layer.unwrap(
  Effect.gen(function* () {
    const url = yield* Flags.DatabaseUrl
    const schema = yield* Flags.SchemaName
    const env = {
      ...(Option.isSome(url) && { USAGE_DATABASE_URL: Redacted.value(url.value) }),
      ...(schema !== undefined && { USAGE_SCHEMA: schema })
    }
    return Layer.effect(
      ConfigProvider.ConfigProvider,
      Effect.map(ConfigProvider.ConfigProvider, (outer) =>
        ConfigProvider.orElse(ConfigProvider.fromEnv({ env }), outer)
      )
    )
  })
)

/** Says on stderr which line speaks. */
const placed = (console: Console.Console, place: string): Console.Console =>
  Object.assign(Object.create(console) as Console.Console, {
    log: console.log.bind(console),
    error: (first: unknown, ...others: ReadonlyArray<unknown>) => console.error(`${place}${String(first)}`, ...others)
  })

const unreadable = (name: string, cause: unknown) =>
  cause instanceof InvalidInput
    ? cause
    : new InvalidInput({
        field: "file",
        problem: `${name} cannot be read: ${(cause as Error).message}`,
        remedy: "Give a file of commands, or - for stdin"
      })

/** Lines as they come. */
async function* readLines(stream: Readable): AsyncGenerator<string, void, undefined> {
  let rest = ""
  stream.setEncoding("utf8")
  for await (const chunk of stream) {
    const lines = `${rest}${chunk as string}`.split("\n")
    rest = lines.pop()!
    for (const line of lines) yield line.replace(/\r$/, "")
    if (rest.length > longestLine) {
      throw new InvalidInput({
        field: "line",
        problem: `has more than ${longestLine} characters`,
        remedy: "Give a text file with one command a line"
      })
    }
  }
  if (rest !== "") yield rest
}
