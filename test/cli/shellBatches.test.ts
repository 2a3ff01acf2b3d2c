/** What the shell functions write into the inbox: whatever they are given, and whenever it is taken from them. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { open } from "node:fs/promises"
import { join } from "node:path"
import * as ShellLines from "../../src/spool/ShellLines.ts"
import * as SpoolDirectory from "../../src/spool/SpoolDirectory.ts"
import { temporaryDirectory } from "../support/child.ts"
import { usage } from "../support/cli.ts"
import { freshDatabase } from "../support/engines.ts"
import { random, runSeed } from "../support/random.ts"

const shells = ["bash", "zsh"] as const
type Shell = (typeof shells)[number]
const isHere = (shell: Shell) => spawnSync(shell, ["-c", ":"]).error === undefined

const functions = Effect.fnUntraced(function* (shell: Shell, directory: string) {
  const file = join(directory, `functions.${shell}`)
  writeFileSync(file, (yield* usage({}, "shell-init", shell)).stdout)
  return file
})

const environment = (directory: string) => ({
  PATH: process.env["PATH"],
  HOME: directory,
  ZDOTDIR: process.env["ZDOTDIR"],
  USAGE_HOME: directory
})

/** A word of the shell that stands for a text, whatever is in it. */
const word = (text: string): string => `'${text.replaceAll("'", `'"'"'`)}'`

const linesOf = (inbox: string) =>
  readdirSync(inbox).flatMap((name) => readFileSync(join(inbox, name), "utf8").trimEnd().split("\n"))

/** What counts in a shell's file. */
const quantitiesIn = async (file: string): Promise<ReadonlyArray<number>> => {
  const handle = await open(file, "a+")
  try {
    const lines = Buffer.from(await ShellLines.read(handle))
      .toString()
      .split("\n")
    return lines.filter((line) => line !== "").map((line) => JSON.parse(line).quantity)
  } finally {
    await handle.close()
  }
}

/** What a client would send who wants to pay less. */
const breakouts = ['"},"unit_cost":0,"total_cost":{"k":"', '"},"idempotency_key":"same","id":"', '"}}\n{"customer":"x"']

const seed = runSeed()

const hostile = (): ReadonlyArray<string> => {
  const { int, pick } = random(seed)
  const pieces = [
    ...breakouts,
    '"',
    "\\",
    "\\\\",
    '\\"',
    "'",
    "&",
    "$(echo x)",
    "`",
    "$HOME",
    "%s",
    "\\n",
    "*",
    "~",
    "é",
    "😀",
    "\u2028",
    "\n",
    "\r",
    "\t",
    "\u001b[31m",
    "\u0001",
    "\u007f",
    "{",
    "}",
    "x".repeat(700)
  ]
  return Array.from({ length: 60 }, () => Array.from({ length: int(12) }, () => pick(pieces)).join(""))
}

describe.each(shells)("in %s", (shell) => {
  const here = isHere(shell)

  it.live.skipIf(!here)("an argument is one value, whatever is in it and however long it is", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const long = "x".repeat(4_200)
      const texts = hostile().flatMap((text) => [`{"endpoint":"/${text}"}`, `{"endpoint":"/${long}${text}"}`])
      const script = join(directory, "script")
      const calls = [...texts.map((text) => word(text)), `"$(printf '{"a":"%01000000d"}' 0)"`].map(
        (metadata) => `usage_batch_add acme api 1 ${metadata}; echo $?`
      )
      writeFileSync(script, [`source ${yield* functions(shell, directory)}`, ...calls].join("\n"))
      for (const locale of ["C", "C.UTF-8"]) {
        const run = spawnSync(shell, [script], {
          encoding: "utf8",
          env: { ...environment(directory), LC_ALL: locale }
        })
        const codes = run.stdout.trimEnd().split("\n").map(Number)
        const added = texts.filter((_, index) => codes[index] === 0)
        assert.strictEqual(codes.length, texts.length + 1, run.stderr)
        // A megabyte is more than a record may have.
        assert.strictEqual(codes.at(-1), 2)
        assert.isAtLeast(added.length, 20, `seed ${seed}`)
        const inbox = join(directory, "spool", "inbox")
        const lines = linesOf(inbox).map((line) => JSON.parse(line) as Record<string, unknown>)
        for (const line of lines) {
          assert.deepStrictEqual(Object.keys(line), ["customer", "service", "quantity", "timestamp", "metadata"])
        }
        assert.deepStrictEqual(lines.map(({ metadata }) => metadata).toSorted(), added.toSorted(), `seed ${seed}`)
        rmSync(inbox, { recursive: true })
      }
    }).pipe(Effect.scoped)
  )

  it.live.skipIf(!here)("nobody's metadata sets a price or a key", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const env = { USAGE_DATABASE_URL: yield* freshDatabase, USAGE_HOME: directory }
      const texts = breakouts.map((text) => `{"endpoint":"/${"x".repeat(4_200)}${text}"}`)
      const script = join(directory, "script")
      writeFileSync(
        script,
        [
          `source ${yield* functions(shell, directory)}`,
          ...texts.map((text) => `usage_batch_add acme api 1 ${word(text)}`),
          `usage_batch_add acme api 1 '{"endpoint":"/good"}'`
        ].join("\n")
      )
      const { status, stderr } = spawnSync(shell, [script], { encoding: "utf8", env: environment(directory) })
      assert.deepStrictEqual([status, stderr], [0, ""])
      const flushed = yield* usage(env, "batch", "flush")
      assert.include(flushed.stderr, "delivered 1 records")
      assert.include(flushed.stderr, "3 were refused")
      const letters = yield* usage(env, "dead-letters", "list", "--format", "csv")
      assert.strictEqual(letters.stdout.split(",metadata,").length, 4, letters.stdout)
    }).pipe(Effect.scoped)
  )

  it.live.skipIf(!here)("a line counts once, whenever the file is taken", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const inbox = join(directory, "spool", "inbox")
      const taken = join(directory, "taken")
      mkdirSync(taken)
      const take = join(directory, "take")
      writeFileSync(
        take,
        `for f in "${inbox}"/*.lines; do
           mv "$f" "${taken}"
           test "$1" = unmarked || printf '\\nclosed\\n' >>"${taken}/\${f##*/}"
         done`
      )
      /** `printf` with somebody else before or after it, once, when it writes a line. */
      const hook = `printf() {
               local when=never
               if [[ \${2-} == {* ]]; then when=$when_taken; fi
               if [ $when = before ]; then when_taken=never; sh ${take} $how; fi
               builtin printf "$@" || return
               if [ $when = after ]; then when_taken=never; sh ${take} $how; fi
             }`
      const moments = ["never", "before", "after", "never"].flatMap((when) =>
        ["marked", "unmarked"].map((how) => ({ when, how }))
      )
      const script = join(directory, "script")
      writeFileSync(
        script,
        [
          `source ${yield* functions(shell, directory)}`,
          "when_taken=never",
          hook,
          ...moments.flatMap(({ how, when }, index) => [
            `usage_batch_add acme api ${index}.1`,
            `how=${how}`,
            `when_taken=${when}`,
            `usage_batch_add acme api ${index}.2`
          ])
        ].join("\n")
      )
      const { status, stderr } = spawnSync(shell, [script], { encoding: "utf8", env: environment(directory) })
      assert.deepStrictEqual([status, stderr], [0, ""])
      const quantities: Array<number> = []
      for (const folder of [inbox, taken]) {
        for (const name of readdirSync(folder)) {
          quantities.push(...(yield* Effect.promise(() => quantitiesIn(join(folder, name)))))
        }
      }
      assert.deepStrictEqual(
        quantities.toSorted((a, b) => a - b),
        moments.flatMap((_, index) => [index + 0.1, index + 0.2])
      )
      assert.isAtLeast(readdirSync(taken).length, 4)
    }).pipe(Effect.scoped)
  )

  it.live.skipIf(!here)("lines that are taken while they are added arrive exactly", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const spool = yield* Effect.promise(() => SpoolDirectory.openSpool(join(directory, "spool")))
      const script = join(directory, "script")
      const count = 800
      const loop = `for ((i = 1; i <= ${count}; i++)); do usage_batch_add acme api $i || exit 9; done`
      writeFileSync(script, `source ${yield* functions(shell, directory)}\n${loop}`)
      const seen = yield* Effect.promise(async () => {
        const adding = spawn(shell, [script], { env: environment(directory), stdio: ["ignore", "ignore", "inherit"] })
        let ended = false
        const exit = once(adding, "close").then(([code]) => {
          ended = true
          return code
        })
        const quantities: Array<number> = []
        for (let last = false; ; last = ended) {
          const claimed = await SpoolDirectory.claimInbox(spool)
          if (claimed !== undefined) {
            for (const name of readdirSync(claimed.path)) {
              quantities.push(...(await quantitiesIn(join(claimed.path, name))))
            }
            await SpoolDirectory.remove(claimed)
          } else if (last) break
          else await new Promise((go) => setImmediate(go))
        }
        assert.strictEqual(await exit, 0)
        return quantities
      })
      assert.deepStrictEqual(
        seen.toSorted((a, b) => a - b),
        Array.from({ length: count }, (_, i) => i + 1)
      )
    }).pipe(Effect.scoped)
  )
})
