/**
 * An HTTP API that meters its requests, and answers 429 to a customer whose hard quota is used up. It starts a server on
 * a port of its own, calls it seven times as a customer with five requests a day, and prints what they get.
 *
 *     node examples/http-quota.ts
 */
import { NodeHttpServer } from "@effect/platform-node"
import { Clock, Console, Effect, Layer } from "effect"
import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "effect/http"
import { createServer } from "node:http"
import {
  CurrentCustomer,
  CustomerId,
  Decimal,
  Quota,
  type QuotaDecision,
  type QuotaExceeded,
  Quotas,
  Reporter,
  Usage
} from "../src/index.ts"

// Here an application has its authentication.
const authentication = HttpRouter.middleware<{ provides: CurrentCustomer }>()((httpEffect) =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ headers }) =>
    Effect.provideService(httpEffect, CurrentCustomer, CustomerId.make(headers["x-customer"] ?? "nobody"))
  )
)

/** The headers of the IETF's draft on rate limits: what is allowed, what is left, and in how many seconds it begins anew. */
const rateLimit = ({ limit, remaining, resetsAt }: QuotaDecision, used: number, now: number) =>
  limit === undefined
    ? {}
    : {
        "ratelimit-limit": Decimal.toText(limit),
        "ratelimit-remaining": `${Math.max(0, Math.floor(Number(Decimal.toText(remaining!))) - used)}`,
        "ratelimit-reset": `${Math.ceil((resetsAt! / 1000 - now) / 1000)}`
      }

const tooManyRequests = (reason: QuotaExceeded) =>
  Effect.map(Clock.currentTimeMillis, (now) => {
    const seconds = `${Math.ceil((reason.resetsAt - now) / 1000)}`
    return HttpServerResponse.jsonUnsafe(
      { error: reason.message },
      {
        status: 429,
        headers: {
          "ratelimit-limit": reason.limit,
          "ratelimit-remaining": "0",
          "ratelimit-reset": seconds,
          "retry-after": seconds
        }
      }
    )
  })

const unavailable = Effect.succeed(HttpServerResponse.empty({ status: 503, headers: { "retry-after": "1" } }))

/**
 * Lets a request in, or answers 429. It never waits for longer than a quarter of a second: while the database is away the
 * quota holds as it was last known. (503 is for `whenUnavailable: "deny"`, which lets nobody in then.)
 */
const quotaGate = HttpRouter.middleware(
  Effect.gen(function* () {
    const quota = yield* Quota
    return (httpEffect) =>
      Effect.gen(function* () {
        const now = yield* Clock.currentTimeMillis
        const decision = yield* quota.enforce(yield* CurrentCustomer, "api")
        return HttpServerResponse.setHeaders(yield* httpEffect, rateLimit(decision, 1, now))
      }).pipe(Effect.catchReason("QuotaError", "QuotaExceeded", tooManyRequests, () => unavailable))
  })
)

// From the outside in: who it is, whether they may, and then it is metered. What the gate refuses is not.
const metered = Usage.meteredRoute.combine(quotaGate).combine(authentication).layer

const routes = HttpRouter.add("GET", "/hello", HttpServerResponse.text("hello")).pipe(Layer.provide(metered))

const server = HttpRouter.serve(routes, { disableLogger: true, disableListenLog: true }).pipe(
  Layer.provideMerge(NodeHttpServer.layer(createServer, { host: "127.0.0.1", port: 0 }))
)

const program = Effect.gen(function* () {
  const quotas = yield* Quotas
  yield* quotas.set({ customer: "acme", service: "api", limit: 5, every: "day", hard: true })

  const { address } = yield* HttpServer.HttpServer
  if (address._tag === "UnixPathAddress") return yield* Effect.die("not on a port")
  const url = `http://127.0.0.1:${address.port}/hello`
  for (let call = 0; call < 7; call++) {
    const response = yield* Effect.promise(() => fetch(url, { headers: { "x-customer": "acme" } }))
    yield* Console.log(`${response.status}, ${response.headers.get("ratelimit-remaining")} left`)
  }

  yield* Usage.flush
  const { services } = yield* (yield* Reporter).usage({ customer: "acme", service: "api", window: "today" })
  yield* Console.log(`metered: ${services.map(({ events, service }) => `${events} ${service}`).join(", ")}`)
})

await Effect.runPromise(Effect.provide(program, Layer.provideMerge(server, Usage.layerEmbedded())))
