/**
 * An HTTP API that meters its requests, and answers 429 to a customer whose hard quota is used up. It starts a server on
 * a port of its own, calls it seven times as a customer with five requests a day, and prints what he gets.
 *
 *     node examples/http-quota.ts
 */
import { NodeHttpServer } from "@effect/platform-node"
import { Clock, Console, Effect, Layer } from "effect"
import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "effect/http"
import { createServer } from "node:http"
import {
  Batcher,
  Decimal,
  Embedded,
  Quota,
  type QuotaDecision,
  QuotaExceeded,
  Quotas,
  Reporter,
  Window
} from "../src/index.ts"

/** The headers of the IETF's draft on rate limits: what is allowed, what is left, and in how many seconds it begins anew. */
const rateLimit = ({ limit, remaining, resetsAt }: QuotaDecision, used: number, now: number) =>
  limit === undefined
    ? {}
    : {
        "ratelimit-limit": Decimal.toText(limit),
        "ratelimit-remaining": `${Math.max(0, Math.floor(Number(Decimal.toText(remaining!))) - used)}`,
        "ratelimit-reset": `${Math.ceil((resetsAt! / 1000 - now) / 1000)}`
      }

/** Every route that this is provided to is metered, and refused when the quota is used up. */
const metered = HttpRouter.middleware(
  Effect.gen(function* () {
    const quota = yield* Quota
    const batcher = yield* Batcher
    return (httpEffect) =>
      Effect.gen(function* () {
        const request = yield* HttpServerRequest.HttpServerRequest
        // Here an application has its authentication.
        const customer = request.headers["x-customer"] ?? "nobody"
        const now = yield* Clock.currentTimeMillis
        const decision = yield* Effect.result(quota.enforce(customer, "api"))
        if (decision._tag === "Failure") {
          const { reason } = decision.failure
          if (!(reason instanceof QuotaExceeded)) return yield* Effect.die(decision.failure)
          const answer = yield* Effect.orDie(quota.check(customer, "api"))
          return HttpServerResponse.jsonUnsafe(
            { error: reason.message },
            {
              status: 429,
              headers: { ...rateLimit(answer, 0, now), "retry-after": `${Math.ceil((reason.resetsAt - now) / 1000)}` }
            }
          )
        }
        const response = yield* httpEffect
        yield* Effect.orDie(
          batcher.enqueue({
            customer,
            service: "api",
            quantity: 1,
            metadata: { endpoint: "/hello", method: request.method, status: response.status }
          })
        )
        return HttpServerResponse.setHeaders(response, rateLimit(decision.success, 1, now))
      })
  })
).layer

const routes = HttpRouter.add("GET", "/hello", HttpServerResponse.text("hello")).pipe(Layer.provide(metered))

const server = HttpRouter.serve(routes, { disableLogger: true, disableListenLog: true }).pipe(
  Layer.provideMerge(NodeHttpServer.layer(createServer, { host: "127.0.0.1", port: 0 }))
)

const program = Effect.gen(function* () {
  const quotas = yield* Quotas
  yield* quotas.set({ customer: "acme", service: "api", limit: 5, period: "day", hard: true })

  const { address } = yield* HttpServer.HttpServer
  if (address._tag === "UnixPathAddress") return yield* Effect.die("not on a port")
  const url = `http://127.0.0.1:${address.port}/hello`
  for (let call = 0; call < 7; call++) {
    const response = yield* Effect.promise(() => fetch(url, { headers: { "x-customer": "acme" } }))
    yield* Console.log(`${response.status}, ${response.headers.get("ratelimit-remaining")} left`)
  }

  yield* (yield* Batcher).flush
  const window = yield* Effect.fromResult(Window.resolve({ period: "today", now: Date.now() }))
  const { services } = yield* (yield* Reporter).usage({ customer: "acme", window })
  yield* Console.log(`metered: ${services.map(({ events, service }) => `${events} ${service}`).join(", ")}`)
})

const usage = Layer.mergeAll(Batcher.layer(), Quota.layer(), Quotas.layer, Reporter.layer).pipe(
  Layer.provide(Embedded.layer())
)

await Effect.runPromise(Effect.provide(program, Layer.provideMerge(server, usage)))
