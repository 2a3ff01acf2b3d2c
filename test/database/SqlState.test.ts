import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { ConnectionError, SqlError, UnknownError } from "effect/sql/SqlError"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import pg from "pg"
import { fromUnknown } from "../../src/database/DatabaseError.ts"
import { attempt, connect, watch } from "../../src/database/postgres/Connection.ts"
import { type Sort, sortOf } from "../../src/database/SqlState.ts"
import { administer, freshDatabase } from "../support/engines.ts"
import { nativeDirectory } from "../support/PostgresServer.ts"

/** Every code that is sorted. Whatever else the server knows is nobody's expectation. */
const sorted: Record<Sort, string> = {
  Unreachable: `08000 08001 08003 08004 08006 08007 08P01 25P03 25P04 57P01 57P02 57P04 57P05`,
  Busy: `25006 25P02 26000 40000 40001 40002 40003 40P01 42P05 53000 53100 53200 53300 53400 55000 55006 55P03
    57000 57014 57P03 58000 58030 58P01 58P02 58P03 72000 XX000`,
  Refused: `22000 22001 22002 22003 22004 22005 22007 22008 22009 2200B 2200C 2200D 2200F 2200G 2200H 2200L 2200M 2200N 2200S
    2200T 22010 22011 22012 22013 22014 22015 22016 22018 22019 2201B 2201E 2201F 2201G 2201W 2201X 22021 22022 22023 22024
    22025 22026 22027 2202E 2202G 2202H 22030 22031 22032 22033 22034 22035 22036 22037 22038 22039 2203A 2203B 2203C 2203D
    2203E 2203F 2203G 22P01 22P02 22P03 22P04 22P05 22P06 23000 23001 23502 23503 23505 23514 23P01 44000 54000 54001 P0001`,
  NotMigrated: `3F000 42P01 42703`,
  Denied: `28000 28P01 3D000 42501`
}
const expected = new Map(
  Object.entries(sorted).flatMap(([sort, codes]) => codes.split(/\s+/).map((code) => [code, sort] as const))
)

/** All that this server can say, from its own list. */
const known = () =>
  readFileSync(join(nativeDirectory(), "share", "postgresql", "errcodes.txt"), "utf8")
    .split("\n")
    .flatMap((line) => /^([0-9A-Z]{5})\s+[EWS]\s/.exec(line)?.[1] ?? [])

describe("SqlState", () => {
  it("sorts every code that PostgreSQL has", () => {
    const codes = new Set([...known(), ...expected.keys()])
    assert.isAbove(codes.size, 240)
    for (const code of codes) assert.strictEqual(sortOf(code), expected.get(code) ?? "Unexpected", code)
  })

  it("retries what was planned for a table that has changed, and no other feature that is missing", () => {
    assert.strictEqual(sortOf("0A000", "RevalidateCachedQuery"), "Busy")
    assert.strictEqual(sortOf("0A000", "transformLockingClause"), "Unexpected")
  })

  it("knows what the operating system says of a connection", () => {
    const lost = `ECONNREFUSED ECONNRESET ECONNABORTED EPIPE ETIMEDOUT EHOSTUNREACH EHOSTDOWN ENETUNREACH ENETDOWN ENOTFOUND ENOENT
      EAI_AGAIN EADDRNOTAVAIL ERR_STREAM_DESTROYED ERR_SOCKET_CLOSED`
    for (const code of lost.split(/\s+/)) assert.strictEqual(sortOf(code), "Unreachable", code)
    for (const code of ["ENOSPC", "EDQUOT", "EMFILE", "ENFILE"]) assert.strictEqual(sortOf(code), "Busy", code)
    for (const code of ["", "EACCES", "EROFS", "EPERM"]) assert.strictEqual(sortOf(code), "Unexpected", code)
  })
})

describe("DatabaseError.fromUnknown", () => {
  const fields = { message: "in whatever words", operation: "query" }

  it("takes the server's code before all else", () => {
    const cause = Object.assign(new Error("la valeur est trop longue"), {
      code: "22001",
      detail: "zu lang",
      where: "COPY x"
    })
    const { reason } = fromUnknown(new SqlError({ reason: new UnknownError({ ...fields, cause }) }), "lost")
    assert.include(reason, { _tag: "Refused", detail: "la valeur est trop longue (zu lang)", where: "COPY x" })
    assert.isFalse(reason.isRetryable)
  })

  it("makes the reason of its sort, which says whether to try again", () => {
    const retried = [
      ["Unreachable", true],
      ["Busy", true],
      ["Refused", false],
      ["NotMigrated", false],
      ["Denied", false]
    ] as const
    for (const [sort, isRetried] of retried) {
      const code = [...expected].find(([, sorted]) => sorted === sort)![0]
      const { isRetryable, message, reason } = fromUnknown(Object.assign(new Error("in these words"), { code }))
      assert.deepStrictEqual([reason._tag, isRetryable], [sort, isRetried])
      assert.include(message, "in these words")
    }
  })

  it("sorts an error without a code by its connection, whatever its words", () => {
    for (const words of ["Client has encountered a connection error and is not queryable", "kaputt"]) {
      assert.strictEqual(fromUnknown(new Error(words), "lost").reason._tag, "Unreachable")
      assert.strictEqual(fromUnknown(new Error(words)).reason._tag, "Unexpected")
      const about = new SqlError({ reason: new ConnectionError({ ...fields, cause: new Error(words) }) })
      assert.strictEqual(fromUnknown(about).reason._tag, "Unreachable")
    }
    assert.strictEqual(fromUnknown(new Error("the value terminated, closed, timed out")).reason._tag, "Unexpected")
  })
})

describe("a connection of pg", () => {
  it.live("is known to be lost, however the driver puts it", () =>
    Effect.gen(function* () {
      const url = yield* freshDatabase
      const pool = yield* Effect.acquireRelease(
        Effect.sync(() => new pg.Pool({ connectionString: url }).on("error", () => {}).on("connect", watch)),
        (opened) => Effect.promise(() => opened.end())
      )
      const client = yield* connect(pool)
      const mistake = yield* Effect.flip(attempt(client, () => client.query("select $1", "not an array" as never)))
      assert.strictEqual(mistake.reason._tag, "Unexpected")
      const { rows } = yield* attempt(client, () => client.query<{ pid: number }>("select pg_backend_pid() as pid"))
      const during = Effect.flip(attempt(client, () => client.query("select pg_sleep(60)")))
      const ended = new Promise<void>((resolve) => client.on("end", () => resolve()))
      yield* Effect.promise(() => administer(`select pg_terminate_backend(${rows[0]!.pid})`, url))
      yield* Effect.promise(() => ended)
      const after = yield* Effect.flip(attempt(client, () => client.query("select 1")))
      assert.deepStrictEqual([after.reason._tag, after.isRetryable], ["Unreachable", true], after.message)
      assert.strictEqual((yield* during).reason._tag, "Unreachable")
      client.release(true)
      const nowhere = new pg.Pool({ connectionString: "postgresql://127.0.0.1:1/x", connectionTimeoutMillis: 1_000 })
      assert.strictEqual((yield* Effect.flip(connect(nowhere))).reason._tag, "Unreachable")
    }).pipe(Effect.scoped)
  )
})
