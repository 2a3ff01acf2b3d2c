/**
 * HTTP middlewares that meter: each request of a customer is one record of `api`, with the route's pattern, the method and
 * the status that was sent, and the bytes of both bodies are records of `bandwidth`. Requests that fail, time out or are
 * abandoned by the client are metered too, with the status that the server answers with, or 499 if the client is gone.
 *
 * The application's authentication says whose requests they are, by providing `CurrentCustomer`; neither middleware compiles
 * unless it stands inside of one that does. Requests that authentication refuses belong to nobody and are not metered.
 *
 * A request does not wait for its metering and cannot fail because of it: see `Meter`. Handlers get a `Meter`, so `Usage.metered`
 * works in them.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { appendPreResponseHandlerUnsafe } from "effect/http/HttpEffect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import type { HttpServerResponse } from "effect/http/HttpServerResponse"
import * as HttpApiMiddleware from "effect/http-api/HttpApiMiddleware"
import * as Layer from "effect/Layer"
import { CurrentCustomer, type CustomerId } from "../domain/CustomerId.ts"
import * as Instant from "../domain/Instant.ts"
import { builtIns } from "../domain/Service.ts"
import { countIncoming, countOutgoing } from "./HttpBytes.ts"
import { Meter } from "../record/Meter.ts"

/**
 * Meters the endpoints of an `HttpApi`, of a group, or one endpoint. Add it before the authentication, which then wraps it:
 *
 *     HttpApiGroup.make("users").add(list).middleware(Usage.Metered).middleware(Authentication)
 *
 * @stability unstable
 * @since 0.1.0
 */
export class Metered extends HttpApiMiddleware.Service<Metered, { requires: CurrentCustomer; provides: Meter }>()(
  "effect-usage/Metered"
) {
  static readonly layer: Layer.Layer<Metered, never, Meter> = Layer.effect(
    Metered,
    Effect.map(Meter, (meter) => {
      const meterRequest = make(meter)
      return (httpEffect) => meterRequest(httpEffect)
    })
  )
}

/**
 * Meters the routes of an `HttpRouter` that it is provided to. Combine it with the authentication, which provides the
 * `CurrentCustomer`:
 *
 *     const metered = Usage.meteredRoute.combine(authentication).layer
 *     const routes = HttpRouter.add("GET", "/users/:id", showUser).pipe(Layer.provide(metered))
 *
 * @stability unstable
 * @since 0.1.0
 */
export const meteredRoute = HttpRouter.middleware<{ provides: Meter }>()(Effect.map(Meter, (meter) => make(meter)))

type HttpEffect<E, R> = Effect.Effect<HttpServerResponse, E, R>
type Request = HttpServerRequest.HttpServerRequest | HttpRouter.RouteContext

/** Metadata of `api`. A route lives as long as the application, so its texts are made once. */
const makeTexts = () => {
  const texts = new WeakMap<object, Map<string, string>>()
  return (route: HttpRouter.Route<unknown, unknown>, method: string, status: number): string => {
    let known = texts.get(route)
    if (known === undefined) texts.set(route, (known = new Map()))
    const key = `${method} ${status}`
    let text = known.get(key)
    if (text === undefined) {
      text = JSON.stringify({ endpoint: route.path, method, status })
      // Clients may invent methods.
      if (known.size < 1_000) known.set(key, text)
    }
    return text
  }
}

/** `101` where the connection was handed over: the handler's response is then not sent. */
const statusOf = (request: object, response: HttpServerResponse): number =>
  (request as { readonly upgradedResponse?: HttpServerResponse }).upgradedResponse?.status ?? response.status

const make = (meter: Meter["Service"]) => {
  const textOf = makeTexts()

  const count = (customer: CustomerId, direction: "egress" | "ingress") => (bytes: number) =>
    meter.transferred(customer, direction, bytes)

  return <E, R>(httpEffect: HttpEffect<E, R>): HttpEffect<E, Exclude<R, Meter> | CurrentCustomer | Request> =>
    Effect.withFiber((fiber) => {
      const context = fiber.context as Context.Context<CurrentCustomer | Request>
      const customer = Context.get(context, CurrentCustomer)
      const { route } = Context.get(context, HttpRouter.RouteContext)
      const clock = fiber.getRef(Clock.Clock)
      countIncoming(Context.get(context, HttpServerRequest.HttpServerRequest), count(customer, "ingress"))
      appendPreResponseHandlerUnsafe(fiber.context, (request, response) => {
        meter.put({
          customer,
          service: builtIns.api.name,
          amount: "1",
          unitCost: undefined,
          recordedAt: Instant.fromMillis(clock.currentTimeMillisUnsafe()),
          metadata: textOf(route, request.method, statusOf(request, response))
        })
        return Effect.succeed(countOutgoing(request, response, count(customer, "egress")))
      })
      return Effect.provideService(httpEffect, Meter, meter)
    })
}
