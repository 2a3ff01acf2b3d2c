import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { channel, channelTable, secret } from "../../../src/alert/channels/ChannelConfig.ts"
import * as CommandChannel from "../../../src/alert/channels/CommandChannel.ts"
import { sentence, toJson } from "../../../src/domain/Alert.ts"
import { channelOf, customer, deliveryOf, failureOf, temporaryDirectory } from "../../support/alertChannels.ts"

/** A channel that runs a script; the script is given by its path, with these arguments. */
const script = Effect.fnUntraced(function* (
  text: string,
  args: ReadonlyArray<string> = [],
  options: Partial<CommandChannel.CommandChannelOptions> = {}
) {
  const command = join(yield* temporaryDirectory, "command")
  writeFileSync(command, `#!/bin/sh\n${text}\n`, { mode: 0o700 })
  return yield* channelOf(CommandChannel.layer({ command, args, ...options }))
})

/** Whether a process runs; its parent has taken its ending if not. */
const isRunning = (pid: number): boolean =>
  existsSync(`/proc/${pid}/stat`) && !/^\d+ \(.*\) [ZX]/.test(readFileSync(`/proc/${pid}/stat`, "utf8"))

/** Sets variables until the test is over. */
const environment = (variables: Readonly<Record<string, string>>) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const before = Object.keys(variables).map((name) => [name, process.env[name]] as const)
      Object.assign(process.env, variables)
      return before
    }),
    (before) =>
      Effect.sync(() => {
        for (const [name, value] of before) {
          if (value === undefined) delete process.env[name]
          else process.env[name] = value
        }
      })
  )

describe("CommandChannel", () => {
  it.live("gives the command the alert on stdin and in the environment, and no shell reads it", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const command = yield* script(`cat > "$1/stdin"; env > "$1/env"; printf %s "$2" > "$1/second"`, [
        directory,
        "$(id); `id`"
      ])
      const delivery = deliveryOf(customer("a'b\"; $(touch x) `id` é"))
      yield* command.send(delivery)
      const read = (name: string) => readFileSync(join(directory, name), "utf8")
      assert.deepStrictEqual(JSON.parse(read("stdin")) as unknown, {
        delivery_id: delivery.id,
        ...toJson(delivery.alert)
      })
      assert.strictEqual(read("second"), "$(id); `id`")
      const environment = read("env").split("\n")
      assert.includeMembers(environment, [
        "USAGE_ALERT_KIND=quota",
        "USAGE_ALERT_LEVEL=warning",
        `USAGE_ALERT_CUSTOMER=${delivery.alert.customer}`,
        "USAGE_ALERT_SERVICE=api",
        `USAGE_ALERT_TEXT=${sentence(delivery.alert)}`,
        `USAGE_ALERT_DELIVERY_ID=${delivery.id}`,
        `PATH=${process.env["PATH"]}`
      ])
    })
  )

  it.live(
    "no secret reaches the command: of no channel, also of one that nobody thought of, of no database and no store",
    () =>
      Effect.gen(function* () {
        const added = channel({
          does: "a channel that is added",
          variables: { url: secret("USAGE_ALERT_PIGEON_URL", "where it flies to") },
          load: () => import("../../../src/alert/channels/SlackChannel.ts"),
          layer: ({ layer }, { url }) => layer({ url })
        })
        // @ts-expect-error -- a channel has no other variables
        secret("PIGEON_URL", "where it flies to")
        const secrets = Object.values({ ...channelTable, added })
          .flatMap(({ variables }) => variables)
          .flatMap(({ isSecret, name }) => (isSecret ? [name] : []))
        assert.includeMembers(secrets, ["USAGE_ALERT_SMTP_URL", "USAGE_ALERT_WEBHOOK_SECRET", "USAGE_ALERT_PIGEON_URL"])
        yield* environment({
          ...Object.fromEntries(secrets.map((name) => [name, `smtp://usage:pa55-${name}@example.com`])),
          PGPASSWORD: "pa55",
          AWS_SECRET_ACCESS_KEY: "pa55",
          AWS_SESSION_TOKEN: "pa55",
          USAGE_DATABASE_URL: "postgresql://usage:pa55@example.com/usage?password=pa55&sslmode=require",
          USAGE_ALERT_WARNING: "60",
          AWS_ACCESS_KEY_ID: "AKIAEXAMPLE",
          OPS_TOKEN: "of-the-pager"
        })
        const directory = yield* temporaryDirectory
        yield* (yield* script(`env > "$1/env"`, [directory])).send(deliveryOf())
        const seen = readFileSync(join(directory, "env"), "utf8").split("\n")
        assert.deepStrictEqual(
          seen.filter((line) => line.includes("pa55")),
          []
        )
        assert.includeMembers(seen, [
          "USAGE_DATABASE_URL=postgresql://usage@example.com/usage?sslmode=require",
          "USAGE_ALERT_WARNING=60",
          "AWS_ACCESS_KEY_ID=AKIAEXAMPLE",
          "OPS_TOKEN=of-the-pager"
        ])
      })
  )

  it.live("75 may be tried again, other codes not; the first line of stderr is the reason", () =>
    Effect.gen(function* () {
      const busy = yield* failureOf(yield* script("printf '\\n  \\033[31mbusy\\n second' >&2; exit 75"))
      assert.match(busy.problem, /command answered 75: \\u001b\[31mbusy$/)
      assert.isTrue(busy.isRetryable)
      const refused = yield* failureOf(yield* script("exit 1"))
      assert.match(refused.problem, /command answered 1$/)
      assert.isFalse(refused.isRetryable)
      // As when the machine is shut down: nobody has refused the alert.
      const signalled = yield* failureOf(yield* script("kill -TERM $$"))
      assert.include(signalled.problem, "SIGTERM")
      assert.isTrue(signalled.isRetryable)
    })
  )

  it.live("a command that cannot be started", () =>
    Effect.gen(function* () {
      const missing = yield* failureOf(yield* channelOf(CommandChannel.layer({ command: "/no/such/command" })))
      assert.strictEqual(missing.problem, "/no/such/command cannot be started (ENOENT)")
      assert.isFalse(missing.isRetryable)
      for (const command of ["", "a\0b"]) {
        const error = yield* Effect.flip(channelOf(CommandChannel.layer({ command })))
        assert.strictEqual(error.field, "command")
      }
    })
  )

  it.live("a command that does not read, or that says very much, does not hold it up", () =>
    Effect.gen(function* () {
      yield* (yield* script("exec 0<&-; exit 0")).send(deliveryOf())
      const loud = yield* script("head -c 3000000 /dev/zero | tr '\\0' x >&2; head -c 3000000 /dev/zero; exit 2")
      assert.isBelow((yield* failureOf(loud)).problem.length, 400)
    })
  )

  it.live("what it leaves running in the background does not hold it up", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const started = performance.now()
      yield* (yield* script(`sleep 60 & echo $! > "$1/pid"; exit 0`, [directory])).send(deliveryOf())
      assert.isBelow(performance.now() - started, 5_000)
      process.kill(Number(readFileSync(join(directory, "pid"), "utf8")), "SIGKILL")
    })
  )

  it.live.each([
    ["takes too long", ""],
    ["ignores SIGTERM", "trap '' TERM;"]
  ])("a command that %s is killed, and all that it started", ([, trap]) =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const text = `${trap} sleep 60 & echo $! > "$1/child"; echo $$ > "$1/pid"; while :; do sleep 60; done`
      const slow = yield* script(text, [directory], { timeout: "200 millis", grace: "100 millis" })
      const error = yield* failureOf(slow)
      assert.match(error.problem, /took longer than 200ms and was ended$/)
      assert.isTrue(error.isRetryable)
      const pids = ["child", "pid"].map((name) => Number(readFileSync(join(directory, name), "utf8")))
      yield* Effect.promise(async () => {
        for (let i = 0; i < 100 && pids.some(isRunning); i++) await new Promise((done) => setTimeout(done, 10))
      })
      assert.deepStrictEqual(pids.filter(isRunning), [])
    })
  )
})
