import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { createServer } from "node:net"
import * as SafeHttp from "../../src/alert/SafeHttp.ts"
import { listening, receiver, status } from "../support/alertChannels.ts"

const make = (url: string, options: SafeHttp.HttpOptions = {}) =>
  SafeHttp.make("test", Redacted.make(url), { timeout: "2 seconds", ...options })

const failure = (url: string, options: SafeHttp.HttpOptions = {}) =>
  Effect.flatMap(make(url, options), (post) => Effect.flip(post("{}")))

const local = { allowPrivateAddresses: true }

describe("SafeHttp: answers", () => {
  it.live.each([
    [404, false],
    [400, false],
    [401, false],
    [410, false],
    [408, true],
    [425, true],
    [429, true],
    [500, true],
    [503, true]
  ] as const)("%d: retryable %s", ([code, isRetryable]) =>
    Effect.gen(function* () {
      const { port } = yield* receiver(status(code))
      const error = yield* failure(`http://127.0.0.1:${port}/secret?token=secret`, local)
      assert.strictEqual(error.problem, `127.0.0.1 answered ${code}`)
      assert.strictEqual(error.isRetryable, isRetryable)
    })
  )

  it.live.each([301, 302, 307, 308])("%d: a redirect is not followed", (code) =>
    Effect.gen(function* () {
      const inner = yield* receiver(status(200))
      const { port } = yield* receiver(status(code, { location: `http://127.0.0.1:${inner.port}/` }))
      const error = yield* failure(`http://127.0.0.1:${port}/`, local)
      assert.include(error.problem, `${code}, a redirect, which is not followed`)
      assert.isFalse(error.isRetryable)
      assert.deepStrictEqual(inner.received, [])
    })
  )

  it.live("of a huge answer the beginning is read", () =>
    Effect.gen(function* () {
      let sent = 0
      const { port } = yield* receiver((response) => {
        response.writeHead(200)
        const write = (): void => {
          while (!response.destroyed) {
            sent += 65_536
            if (!response.write("x".repeat(65_536))) return void response.once("drain", write)
          }
        }
        write()
      })
      yield* Effect.flatMap(make(`http://127.0.0.1:${port}/`, local), (post) => post("{}"))
      assert.isBelow(sent, 50_000_000)
    })
  )

  it.live.each([
    ["says nothing", () => {}],
    [
      "never ends its answer",
      (response: { readonly writeHead: (code: number) => { readonly write: (text: string) => unknown } }) =>
        void response.writeHead(200).write("x")
    ]
  ] as const)("a receiver that %s times out", ([, answer]) =>
    Effect.gen(function* () {
      const { port } = yield* receiver(answer)
      const error = yield* failure(`http://127.0.0.1:${port}/`, { ...local, timeout: "100 millis" })
      assert.strictEqual(error.problem, "127.0.0.1 took longer than 100ms")
      assert.isTrue(error.isRetryable)
    })
  )

  it.live("a resolution that does not end times out", () =>
    Effect.gen(function* () {
      const error = yield* failure("http://receiver.test/", { resolve: () => Effect.never, timeout: "50 millis" })
      assert.isTrue(error.isRetryable)
    })
  )

  it.live("nobody listens, the connection is cut, or it is no HTTP", () =>
    Effect.gen(function* () {
      const gone = yield* Effect.scoped(Effect.map(receiver(status(200)), ({ port }) => port))
      const refused = yield* failure(`http://127.0.0.1:${gone}/`, local)
      assert.strictEqual(refused.problem, "127.0.0.1 cannot be reached (ECONNREFUSED)")
      const cutting = yield* receiver((response) => void response.destroy())
      const cut = yield* failure(`http://127.0.0.1:${cutting.port}/`, local)
      assert.include(cut.problem, "ECONNRESET")
      const half = yield* receiver((response) => {
        response.writeHead(200, { "content-length": 10 }).write("x")
        setTimeout(() => response.destroy(), 10)
      })
      const halved = yield* failure(`http://127.0.0.1:${half.port}/`, local)
      assert.include(halved.problem, "ECONNRESET")
      const { port } = yield* listening(() =>
        createServer((socket) => void socket.end("hello\r\n").on("error", () => {}))
      )
      const other = yield* failure(`http://127.0.0.1:${port}/`, local)
      for (const error of [refused, cut, halved, other]) assert.isTrue(error.isRetryable)
    })
  )

  it.live("a switch to another protocol is no success", () =>
    Effect.gen(function* () {
      const { port } = yield* listening(() =>
        createServer((socket) => {
          socket.on("error", () => {})
          socket.write("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n")
        })
      )
      assert.isTrue((yield* failure(`http://127.0.0.1:${port}/`, { ...local, timeout: "200 millis" })).isRetryable)
    })
  )
})
