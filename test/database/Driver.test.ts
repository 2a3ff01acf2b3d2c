/** What `CopyQuery`, `CopyOut` and `Connection.destroy` take of `pg` that its documentation does not promise. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Socket } from "node:net"
import pg from "pg"
import { freshDatabase } from "../support/engines.ts"

describe("the driver", () => {
  it.live("hands a query class its socket, on which its parser is the only listener", () =>
    Effect.gen(function* () {
      const client = new pg.Client(yield* freshDatabase)
      yield* Effect.promise(() => client.connect())
      const seen = yield* Effect.promise(
        () =>
          new Promise<{ readonly stream: unknown; readonly listeners: number }>((resolve, reject) => {
            const ignore = () => {}
            let found: Parameters<typeof resolve>[0]
            client.query({
              submit: (connection: pg.Connection) => {
                found = { stream: connection.stream, listeners: connection.stream.listenerCount("data") }
                connection.query("select 1")
              },
              handleRowDescription: ignore,
              handleDataRow: ignore,
              handleCommandComplete: ignore,
              handleEmptyQuery: ignore,
              handleReadyForQuery: () => resolve(found),
              handleError: reject
            })
          })
      )
      assert.instanceOf(seen.stream, Socket)
      assert.strictEqual(seen.listeners, 1)
      assert.strictEqual((client as unknown as { connection: pg.Connection }).connection.stream, seen.stream)
      yield* Effect.promise(() => client.end())
    }).pipe(Effect.scoped)
  )
})
