/**
 * Containers that share a spool: some with equal host names, in all of which the writer is process 1; killed and made anew at
 * random, while the server is away now and then. `npm test` does it for some seconds, `npm run test:faults` for minutes.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { readdirSync, writeFileSync } from "node:fs"
import { type AddressInfo, connect, createServer, type Socket } from "node:net"
import { hostname } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Database } from "../../src/database/Database.ts"
import { apart, canBeApart } from "../support/apart.ts"
import { temporaryDirectory } from "../support/child.ts"
import { usage } from "../support/cli.ts"
import { freshDatabase, postgresLayer } from "../support/engines.ts"
import { type Random, random, runSeed } from "../support/random.ts"
import { assertConsistent, assertExactlyOnce, storedCustomers } from "../support/stored.ts"

const seconds = Number(process.env["EFFECT_USAGE_CONTAINERS"] ?? 6)
const seed = runSeed()

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))
const sleep = (millis: number) => new Promise((resolve) => setTimeout(resolve, millis))

/** A way to a server that is away while `away` is true. */
const road = (to: string) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const { hostname: host, port } = new URL(to)
      const sockets = new Set<Socket>()
      const state = { away: false, url: "", close: () => {} }
      const server = createServer((client) => {
        if (state.away) return client.destroy()
        const target = connect(Number(port), host)
        for (const [one, other] of [
          [client, target],
          [target, client]
        ] as const) {
          sockets.add(one)
          one.on("error", () => {}).on("close", () => other.destroy(void sockets.delete(one)))
          one.pipe(other)
        }
      })
      server.listen(0, "127.0.0.1")
      await once(server, "listening")
      const url = new URL(to)
      url.host = `127.0.0.1:${(server.address() as AddressInfo).port}`
      state.url = url.href
      const cut = () => {
        for (const socket of sockets) socket.destroy()
      }
      return { state, cut, server }
    }),
    ({ cut, server }) =>
      Effect.promise(async () => {
        const closed = once(server, "close")
        server.close()
        cut()
        await closed
      })
  )

interface Writer {
  readonly host: string
  readonly command: (prefix: string) => ReadonlyArray<string>
}

/** Starts a writer in a container, kills it at a random moment after its first words, and starts it again, until the end. */
const keepKilling = async (writer: Writer, name: string, chance: Random, end: number) => {
  const acknowledged: Array<string> = []
  let kills = 0
  for (let round = 0; Date.now() < end; round++) {
    const [command, ...args] = apart(writer.host, ...writer.command(`${name}-${round}`))
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "ignore"] })
    const closed = once(child, "close")
    let output = ""
    child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text))
    // It ends without a word where the server is away when it begins.
    await Promise.race([once(child.stdout, "data"), sleep(20_000), closed])
    await Promise.race([sleep(chance.int(700)), closed])
    child.kill("SIGKILL")
    await closed
    kills++
    // Half a line is nobody's word; what is logged is none either.
    const lines = output.split("\n").slice(0, -1)
    acknowledged.push(...lines.filter((line) => line.startsWith(`${name}-`)))
  }
  return { acknowledged, kills }
}

describe("containers that share a spool", () => {
  it.live.skipIf(!canBeApart)(
    `for ${seconds} s (seed ${seed}): what was acknowledged is stored, and nothing twice`,
    () =>
      Effect.gen(function* () {
        const url = yield* freshDatabase
        const home = yield* temporaryDirectory
        const spool = join(home, "spool")
        const functions = join(home, "functions.bash")
        writeFileSync(functions, (yield* usage({}, "shell-init", "bash")).stdout)
        const { cut, state } = yield* road(url)
        const batcher = (mode: string) => (prefix: string) => [
          process.execPath,
          "--liftoff-only",
          here("../support/containerWriter.ts"),
          mode,
          state.url,
          spool,
          prefix
        ]
        const script = (body: string) => (prefix: string) => [
          "env",
          `USAGE_HOME=${home}`,
          `USAGE_DATABASE_URL=${state.url}`,
          "bash",
          "-c",
          `i=0; while :; do i=$((i + 1)); ${body}; done`,
          prefix
        ]
        const record = `"${process.execPath}" --liftoff-only "${here("../../bin/usage.js")}" record api 1 --customer "$0-$i" -q && echo "$0-$i"`
        const add = `usage_batch_add "$0-$i" api 1 && echo "$0-$i"; ((i % 20)) || sleep 0.05`
        const writers: ReadonlyArray<Writer> = [
          { host: hostname(), command: batcher("spooled") },
          { host: hostname(), command: batcher("spooled") },
          { host: "another", command: batcher("spilling") },
          { host: "another", command: script(record) },
          {
            host: "a-third",
            command: (prefix) =>
              script(`${add}`)(prefix).map((word) => word.replace("i=0;", `source "${functions}"; i=0;`))
          }
        ]
        const end = Date.now() + seconds * 1_000
        const chance = random(seed)
        const outages = async () => {
          let count = 0
          while (Date.now() < end) {
            await sleep(500 + chance.int(2_000))
            state.away = true
            cut()
            await sleep(200 + chance.int(1_500))
            state.away = false
            count++
          }
          return count
        }
        const [away, ...results] = yield* Effect.promise(() =>
          Promise.all([
            outages(),
            ...writers.map((writer, index) => keepKilling(writer, `w${index}`, random(seed + index), end))
          ])
        )
        const delivered = yield* usage({ USAGE_HOME: home, USAGE_DATABASE_URL: url }, "batch", "flush")
        assert.strictEqual(delivered.code, 0, delivered.stderr)
        const counts = results.map(({ acknowledged }) => acknowledged.length)
        console.log(
          `${results.reduce((sum, { kills }) => sum + kills, 0)} kills, ${away} outages, acknowledged ${counts.join(" + ")} (seed ${seed})`
        )
        yield* Effect.gen(function* () {
          const { name, sql } = yield* Database
          assertExactlyOnce(
            yield* storedCustomers(),
            results.flatMap(({ acknowledged }) => acknowledged),
            `seed ${seed}`
          )
          const [letters] = yield* sql.unsafe<{ count: string }>(
            `select count(*)::text as count from ${name("billing_dead_letters")}`
          )
          assert.strictEqual(letters!.count, "0")
          yield* assertConsistent
        }).pipe(Effect.provide(postgresLayer(url)))
        for (const folder of ["inbox", "open", "ready", "broken"]) {
          assert.deepStrictEqual(readdirSync(join(spool, folder)), [], folder)
        }
        assert.isAtLeast(
          counts.reduce((sum, count) => sum + count),
          20
        )
      }).pipe(Effect.scoped),
    { timeout: seconds * 1_000 + 120_000 }
  )
})
