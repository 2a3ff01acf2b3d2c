/** HTTP servers of tests, on loopback, and what their requests were metered as. */
import { NodeHttpServer } from "@effect/platform-node"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import { createServer, type Server } from "node:http"
import type { Http2Server } from "node:http2"
import type { Batcher } from "../../src/record/Batcher.ts"
import { Database } from "../../src/database/Database.ts"
import type { Meter } from "../../src/record/Meter.ts"
import * as Usage from "../../src/Usage.ts"

/** Serves routes on a port of its own. */
export const serve = <E, R>(routes: Layer.Layer<never, E, R>, create: () => Server | Http2Server = createServer) =>
  HttpRouter.serve(routes, { disableLogger: true, disableListenLog: true }).pipe(
    Layer.provideMerge(NodeHttpServer.layer(create, { host: "127.0.0.1", port: 0 }))
  )

/** Where it is served. */
export const address = Effect.map(HttpServer.HttpServer, ({ address }) => {
  if (address._tag === "UnixPathAddress") throw new Error("not on a port")
  return { port: address.port, url: `http://127.0.0.1:${address.port}` }
})

export interface MeteredRequests {
  /** `GET /users/:id 200`, each as often as it was metered. */
  readonly requests: ReadonlyArray<string>
  readonly egress: number
  readonly ingress: number
}

/** What a customer is metered for. */
export const meteredFor = Effect.fnUntraced(function* (
  customer: string
): Effect.fn.Return<MeteredRequests, unknown, Database | Meter | Batcher> {
  yield* Usage.flush
  const { name, own } = yield* Database
  const requests = yield* own.unsafe<{ request: string }>(
    `select concat_ws(' ', metadata->>'method', metadata->>'endpoint', metadata->>'status') as request
      from ${name("billing_usage_records")} where customer_id = $1 and service_name = 'api' order by recorded_at, position`,
    [customer]
  )
  const bytes = yield* own.unsafe<{ direction: string; bytes: string }>(
    `select metadata->>'direction' as direction, sum(amount)::text as bytes
      from ${name("billing_usage_records")} where customer_id = $1 and service_name = 'bandwidth' group by 1`,
    [customer]
  )
  const of = (direction: string) => Number(bytes.find((row) => row.direction === direction)?.bytes ?? 0)
  return { requests: requests.map(({ request }) => request), egress: of("egress"), ingress: of("ingress") }
})

/** The same, once so many requests were metered: a server hears of a client that went away when it does. */
export const meteredOnce = (customer: string, count: number) =>
  Effect.repeat(meteredFor(customer), {
    until: ({ requests }) => requests.length >= count,
    schedule: Schedule.spaced("10 millis")
  })
