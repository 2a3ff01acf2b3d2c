import { assert, describe, it } from "@effect/vitest"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { closeSync, mkdirSync, openSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import * as JsonLinesChannel from "../../../src/alert/channels/JsonLinesChannel.ts"
import * as LogFileChannel from "../../../src/alert/channels/LogFileChannel.ts"
import * as TerminalChannel from "../../../src/alert/channels/TerminalChannel.ts"
import { toJson } from "../../../src/domain/Alert.ts"
import { alertOf, channelOf, customer, deliveryOf, failureOf, temporaryDirectory } from "../../support/alertChannels.ts"

const line = "[2026-01-30 14:23:45] warning ALERT for api: 78000/100000 (78%)"
const sentence = "WARNING: api usage at 78% - 78000/100000"

/** What is written to the console meanwhile. */
const watched = Effect.fnUntraced(function* <E>(effect: Effect.Effect<unknown, E>) {
  const [out, err]: [Array<string>, Array<string>] = [[], []]
  const console: Console.Console = Object.assign(Object.create(globalThis.console), {
    log: (text: string) => void out.push(text),
    error: (text: string) => void err.push(text)
  })
  yield* Effect.provideService(effect, Console.Console, console)
  return { out, err }
})

const mode = (path: string) => (statSync(path).mode & 0o777).toString(8)

describe("TerminalChannel", () => {
  it.effect("says the sentence on stderr, and the customer unless told not to", () =>
    Effect.gen(function* () {
      const plain = yield* channelOf(TerminalChannel.layer({ showCustomer: false }))
      assert.strictEqual(plain.name, "terminal")
      const telling = yield* channelOf(TerminalChannel.layer())
      const said = yield* watched(
        Effect.all([
          plain.send(deliveryOf()),
          telling.send(deliveryOf()),
          telling.send(deliveryOf(customer("a\u202eb\u2028c")))
        ])
      )
      assert.deepStrictEqual(said, {
        out: [],
        err: [sentence, `${sentence} [acme]`, `${sentence} [a\\u202eb\\u2028c]`]
      })
    })
  )
})

describe("LogFileChannel", () => {
  it.live("appends lines to a file of its owner's, in a directory that it makes", () =>
    Effect.gen(function* () {
      const file = join(yield* temporaryDirectory, "deep", "er", "alerts.log")
      const log = yield* channelOf(LogFileChannel.layer({ file }))
      yield* log.send(deliveryOf())
      const own = yield* channelOf(LogFileChannel.layer({ file, showCustomer: { except: "acme" } }))
      yield* own.send(deliveryOf())
      yield* own.send(deliveryOf(customer("globex")))
      assert.strictEqual(readFileSync(file, "utf8"), `${line} [acme]\n${line}\n${line} [globex]\n`)
      assert.deepStrictEqual([mode(file), mode(join(file, "..")), mode(join(file, "../.."))], ["600", "700", "700"])
    })
  )

  it.live("begins a line after the half of one that a full disk left", () =>
    Effect.gen(function* () {
      const file = join(yield* temporaryDirectory, "alerts.log")
      writeFileSync(file, "[2026-01-30 14:2")
      yield* (yield* channelOf(LogFileChannel.layer({ file }))).send(deliveryOf())
      assert.strictEqual(readFileSync(file, "utf8"), `[2026-01-30 14:2\n${line} [acme]\n`)
    })
  )

  it.live("processes that append at the same time do not tear lines", () =>
    Effect.gen(function* () {
      const file = join(yield* temporaryDirectory, "alerts.log")
      const module = JSON.stringify(new URL("../../../src/files/AppendFile.ts", import.meta.url).href)
      const script = (name: string) =>
        `const { appendLine } = await import(${module})
        await Promise.all(Array.from({ length: 25 }, (_, i) => appendLine(${JSON.stringify(file)}, "${name}".repeat(1500) + i)))`
      const names = ["a", "b"]
      yield* Effect.promise(() =>
        Promise.all(
          names.map((name) => once(spawn(process.execPath, ["--input-type=module", "-e", script(name)]), "exit"))
        )
      )
      const lines = readFileSync(file, "utf8").split("\n").slice(0, -1)
      const whole = names.flatMap((name) => Array.from({ length: 25 }, (_, i) => `${name.repeat(1500)}${i}`))
      assert.sameMembers(lines, whole)
      assert.strictEqual(lines.length, whole.length)
    })
  )

  it.live("tells what will pass from what will not", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      mkdirSync(join(directory, "directory"))
      symlinkSync("/dev/full", join(directory, "full"))
      const failure = (name: string) =>
        Effect.flatMap(channelOf(LogFileChannel.layer({ file: join(directory, name) })), (log) => failureOf(log))
      const isDirectory = yield* failure("directory")
      assert.include(isDirectory.problem, "EISDIR")
      assert.isFalse(isDirectory.isRetryable)
      const isFull = yield* failure("full")
      assert.include(isFull.problem, "ENOSPC")
      assert.isTrue(isFull.isRetryable)
      const refused = yield* Effect.flip(channelOf(LogFileChannel.layer({ file: "" })))
      assert.strictEqual(refused.field, "file")
    })
  )
})

/** A process that sends an alert to its stdout: what is written there, and what it says of it. */
const sentToStdout = (stdout: "pipe" | "closed" | "full") =>
  Effect.promise(async () => {
    const script = fileURLToPath(new URL("../../support/alertToStdout.ts", import.meta.url))
    const to = stdout === "full" ? openSync("/dev/full", "w") : "pipe"
    const child = spawn(process.execPath, [script], { stdio: ["pipe", to, "pipe"] })
    let [written, said] = ["", ""]
    child.stdout?.setEncoding("utf8").on("data", (text: string) => (written += text))
    child.stderr!.setEncoding("utf8").on("data", (text: string) => (said += text))
    if (stdout === "closed") {
      child.stdout!.destroy()
      await once(child.stdout!, "close")
    }
    child.stdin!.end()
    await once(child, "close")
    if (typeof to === "number") closeSync(to)
    return { written, said }
  })

describe("JsonLinesChannel", () => {
  it.live("writes a line of JSON to a file or to stdout", () =>
    Effect.gen(function* () {
      const file = join(yield* temporaryDirectory, "alerts.ndjson")
      const delivery = deliveryOf(customer(`"\u2028\\`))
      yield* (yield* channelOf(JsonLinesChannel.layer({ file }))).send(delivery)
      const text = readFileSync(file, "utf8")
      assert.strictEqual(text.indexOf("\n"), text.length - 1)
      const told = { delivery_id: delivery.id, ...toJson(alertOf(customer(`"\u2028\\`))) }
      assert.deepStrictEqual(JSON.parse(text) as unknown, told)
      assert.strictEqual(told.text, `${sentence} ["\\u2028\\]`)
      const { said, written } = yield* sentToStdout("pipe")
      assert.strictEqual(said, "sent")
      assert.deepStrictEqual(JSON.parse(written) as unknown, { delivery_id: delivery.id, ...toJson(alertOf()) })
    })
  )

  it.live("what stdout does not take was not sent", () =>
    Effect.gen(function* () {
      assert.match((yield* sentToStdout("full")).said, /^json: "stdout" cannot be written: the disk is full, true$/)
      assert.match((yield* sentToStdout("closed")).said, /^json: "stdout" cannot be written: .*EPIPE, true$/)
    })
  )
})
