/** `usage shell-init`: the functions of the Bash usage-tracking system, for a shell to read. */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import { Argument, Command } from "effect/cli"
import { readFile } from "node:fs/promises"
import { fileURLToPath } from "node:url"

/** Beside this module: source files in a checkout, copies of them in the package. */
const isSource = import.meta.url.endsWith(".ts")
const shellFile = new URL(isSource ? "../shell/usage.sh" : "./shell/usage.sh", import.meta.url)
const launcher = fileURLToPath(new URL(isSource ? "../../../bin/usage.js" : "../bin/usage.js", import.meta.url))

/** A word that the shell takes as it stands. */
const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`

export const shellInit = Command.make(
  "shell-init",
  { shell: Argument.Literals("shell", ["bash", "zsh"]).pipe(Argument.withDescription("bash or zsh")) },
  Effect.fnUntraced(function* () {
    const functions = yield* Effect.promise(() => readFile(shellFile, "utf8"))
    // The installation that speaks: scripts of cron have another PATH.
    yield* Console.log(
      [`__usage_node=${quoted(process.execPath)}`, `__usage_bin=${quoted(launcher)}`, functions.trimEnd()].join("\n")
    )
  })
).pipe(
  Command.withDescription(
    "Print the functions of the Bash usage-tracking system, usage_track_api_request and on, for a script to source"
  ),
  Command.withExamples([
    { command: "source <(usage shell-init bash)", description: "In a script, for bash 4 and later, and zsh" },
    { command: 'eval "$(usage shell-init bash)"', description: "The same, also for the bash of macOS" }
  ])
)
