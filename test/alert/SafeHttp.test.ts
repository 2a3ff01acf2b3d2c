import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as diagnostics from "node:diagnostics_channel"
import type { Socket } from "node:net"
import * as tls from "node:tls"
import * as SafeHttp from "../../src/alert/SafeHttp.ts"
import { listening, receiver, status } from "../support/alertChannels.ts"

const make = (url: string, options: SafeHttp.HttpOptions = {}) =>
  SafeHttp.make("test", Redacted.make(url), { timeout: "2 seconds", ...options })

const failure = (url: string, options: SafeHttp.HttpOptions = {}) =>
  Effect.flatMap(make(url, options), (post) => Effect.flip(post("{}")))

/** A resolver whose answers change: the first for the first question, and so on. */
const changing = (...answers: ReadonlyArray<ReadonlyArray<string>>) => {
  const asked: Array<string> = []
  const resolve: SafeHttp.Resolve = (host) =>
    Effect.sync(() => {
      asked.push(host)
      const answer = answers[Math.min(asked.length, answers.length) - 1]!
      return answer.map((address) => ({ address, family: address.includes(":") ? 6 : 4 }))
    })
  return { asked, resolve }
}

const local = { allowPrivateAddresses: true }

/** The addresses to which this process connects from now on, as Node tells them. */
const connectionAttempts = Effect.acquireRelease(
  Effect.sync(() => {
    const attempts: Array<string> = []
    const watch = (message: unknown) => {
      const { socket } = message as { readonly socket: Socket }
      socket.on("connectionAttempt", (address: string) => attempts.push(address))
    }
    diagnostics.subscribe("net.client.socket", watch)
    return { attempts, watch }
  }),
  ({ watch }) => Effect.sync(() => diagnostics.unsubscribe("net.client.socket", watch))
).pipe(Effect.map(({ attempts }) => attempts))

describe("SafeHttp: URLs", () => {
  it.effect.each<readonly [string, string]>([
    ["not a url", "is not a URL"],
    ["ftp://example.com/secret", "protocol"],
    ["file:///etc/passwd", "protocol"],
    ["https://user:secret@example.com/", "user name"],
    ["https://secret@example.com/", "user name"],
    ["http://127.0.0.1:8080/secret", "private"],
    ["http://2130706433/", "127.0.0.1 is a private"],
    ["http://0x7f.1/", "127.0.0.1 is a private"],
    ["http://0177.0.0.1/", "127.0.0.1 is a private"],
    ["http://127.1/", "127.0.0.1 is a private"],
    ["http://[::1]/", "private"],
    ["http://[::ffff:127.0.0.1]/", "private"],
    ["http://169.254.169.254/latest/meta-data/", "private"],
    ["http://10.1.2.3/", "private"],
    ["http://0.0.0.0/", "private"],
    ["http://１２７.0.0.1/", "private"]
  ])("%s is refused", ([url, problem]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(make(url))
      assert.strictEqual(error._tag, "InvalidInput")
      assert.strictEqual(error.field, "url")
      assert.include(error.message, problem)
      assert.notInclude(error.message, "secret")
    })
  )

  it.live.each(["localhost", "receiver.test"])("the name %s of a private address is refused when it is used", (name) =>
    Effect.gen(function* () {
      const { port, received } = yield* receiver(status(200))
      const { resolve } = changing(["127.0.0.1"])
      const options = name === "localhost" ? {} : { resolve }
      const error = yield* failure(`http://${name}:${port}/`, options)
      assert.include(error.problem, "private")
      assert.isFalse(error.isRetryable)
      assert.deepStrictEqual(received, [])
    })
  )

  it.live("one private address among several is enough to refuse", () =>
    Effect.gen(function* () {
      const { resolve } = changing(["8.8.8.8", "2606:4700:4700::1111", "10.0.0.7"])
      assert.include((yield* failure("http://receiver.test/", { resolve })).problem, "private")
    })
  )
})

describe("SafeHttp: the connection", () => {
  it.live("goes to the address that was checked, not to what the DNS says next", () =>
    Effect.gen(function* () {
      const { port, received } = yield* receiver(status(200))
      // 3000::/5 is given to nobody.
      const { asked, resolve } = changing(["3000::1"], ["127.0.0.1"])
      const attempts = yield* connectionAttempts
      const error = yield* failure(`http://rebind.test:${port}/`, { resolve, timeout: "150 millis" })
      assert.deepStrictEqual(attempts, ["3000::1"])
      assert.isTrue(error.isRetryable)
      assert.deepStrictEqual(asked, ["rebind.test"])
      assert.deepStrictEqual(received, [])
    })
  )

  it.live("is made once for one resolution, and keeps the host's name", () =>
    Effect.gen(function* () {
      const first = yield* receiver(status(200))
      const second = yield* receiver(status(200), "127.0.0.2", first.port)
      const { asked, resolve } = changing(["127.0.0.1"], ["127.0.0.2"])
      const post = yield* make(`http://rebind.test:${first.port}/hook?key=1`, { ...local, resolve })
      yield* post("{}")
      assert.deepStrictEqual(asked, ["rebind.test"])
      assert.strictEqual(first.received.length, 1)
      assert.strictEqual(first.received[0]!.headers.host, `rebind.test:${first.port}`)
      assert.strictEqual(first.received[0]!.url, "/hook?key=1")
      // The next attempt asks anew: a receiver may move.
      yield* post("{}")
      assert.deepStrictEqual([asked.length, first.received.length, second.received.length], [2, 1, 1])
    })
  )

  it.live("asks for the host's certificate by its name", () =>
    Effect.gen(function* () {
      const names: Array<string> = []
      const { port } = yield* listening(() =>
        tls
          .createServer({
            SNICallback: (name, done) => {
              names.push(name)
              done(null)
            }
          })
          .on("tlsClientError", () => {})
      )
      const { resolve } = changing(["127.0.0.1"])
      const error = yield* failure(`https://receiver.test:${port}/`, { ...local, resolve })
      assert.deepStrictEqual(names, ["receiver.test"])
      assert.isTrue(error.isRetryable)
    })
  )

  it.live("takes the next address where the first one does not answer", () =>
    Effect.gen(function* () {
      const { port, received } = yield* receiver(status(200), "127.0.0.3")
      const { resolve } = changing(["127.0.0.2", "127.0.0.3"])
      yield* Effect.flatMap(make(`http://receiver.test:${port}/`, { ...local, resolve }), (post) => post("{}"))
      assert.strictEqual(received.length, 1)
    })
  )
})
