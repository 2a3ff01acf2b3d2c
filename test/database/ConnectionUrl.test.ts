import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { createServer } from "node:net"
import { once } from "node:events"
import * as ConnectionUrl from "../../src/database/ConnectionUrl.ts"

const parse = (url: string) => Result.getOrThrow(ConnectionUrl.parse(Redacted.make(url)))

describe("a connection URL", () => {
  it("says where, as whom, and how", () => {
    const { password, ...rest } = parse(
      "postgresql://me%40home:s%25same@db.example.com:5433/usage%20data?sslmode=verify-full&sslrootcert=/ca.pem&options=-c%20x%3D1"
    )
    assert.deepStrictEqual(rest, {
      host: "db.example.com",
      port: 5433,
      database: "usage data",
      username: "me@home",
      sslmode: "verify-full",
      sslRootCert: "/ca.pem",
      startupOptions: "-c x=1",
      prepare: true
    })
    assert.strictEqual(Redacted.value(password!), "s%same")
  })

  it("without an sslmode is plain on this machine and prefers TLS elsewhere", () => {
    for (const host of ["localhost", "127.0.0.1", "[::1]"]) {
      assert.strictEqual(parse(`postgres://u@${host}/d`).sslmode, "disable", host)
    }
    assert.strictEqual(parse("postgres:///d?host=/var/run/postgresql&user=u").sslmode, "disable")
    assert.strictEqual(parse("postgres://u@db/d").sslmode, "prefer")
    assert.strictEqual(parse("postgres://u@db/d?sslmode=require").sslmode, "require")
  })

  it("tells of a transaction pooler", () => {
    assert.isFalse(parse("postgres://u@db/d?prepare=false").prepare)
    assert.isFalse(parse("postgres://u@db/d?pgbouncer=true").prepare)
  })

  it.each([
    "",
    "db",
    "http://db/d",
    "postgres://u@db:99999/d",
    "postgres://u@db/d?sslmode=maybe",
    "postgres://%zz@db/d"
  ])("refuses %j, and never repeats it", (url) => {
    const result = ConnectionUrl.parse(Redacted.make(url === "" ? "" : url.replace("u@", "u:sesame@")))
    assert.isTrue(Result.isFailure(result))
    if (Result.isFailure(result)) assert.notInclude(result.failure.message, "sesame")
  })

  it.live("prefers TLS by asking the server, once", () =>
    Effect.gen(function* () {
      for (const [answer, expected] of [
        ["S", true],
        ["N", false]
      ] as const) {
        const server = createServer((socket) => socket.once("data", () => socket.write(answer)))
        server.listen(0, "127.0.0.1")
        yield* Effect.promise(() => once(server, "listening"))
        const { port } = server.address() as { port: number }
        const target = { ...parse("postgres://u@db/d"), host: "127.0.0.1", port }
        const tls = yield* ConnectionUrl.resolveTls(target, 1_000)
        assert.strictEqual(tls !== false, expected)
        server.close()
      }
    })
  )
})
