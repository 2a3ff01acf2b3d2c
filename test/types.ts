/** @effect-diagnostics missingEffectContext:off missingLayerContext:off */
/**
 * What a caller gets wrong does not compile. `npm run check:types` proves it: a line below `@ts-expect-error` that compiles
 * is an error. Nothing here is run, so it is no test.
 */
import * as Effect from "effect/Effect"
import type { FileSystem } from "effect/FileSystem"
import type { Generator } from "effect/http/Etag"
import type { HttpPlatform } from "effect/http/HttpPlatform"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as HttpApi from "effect/http-api/HttpApi"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiMiddleware from "effect/http-api/HttpApiMiddleware"
import * as Layer from "effect/Layer"
import type { Path } from "effect/Path"
import { CurrentCustomer, CustomerId } from "../src/domain/CustomerId.ts"
import { Recorder } from "../src/record/Recorder.ts"
import { Maintainer } from "../src/operate/Maintainer.ts"
import { Eraser } from "../src/retention/Eraser.ts"
import type { RetentionError } from "../src/retention/Retention.ts"
import { Spool, type SpoolError } from "../src/spool/Spool.ts"
import * as Usage from "../src/Usage.ts"

/** Accepts what needs nothing but what the application has: whose request it is, is not among it. */
type Provided = Usage.Services | HttpRouter.HttpRouter | FileSystem | Generator | HttpPlatform | Path
declare const run: <A, E>(effect: Effect.Effect<A, E, Usage.Services>) => void
declare const serve: <A, E>(layer: Layer.Layer<A, E, Provided>) => void

const acme = CustomerId.make("acme")

export const usageOfNobody = (): void => {
  // @ts-expect-error -- nobody says whose request it is
  run(Recorder.trackApiRequest({ endpoint: "/users" }))
  // @ts-expect-error -- nor whose function
  run(Usage.metered("sendEmail")(Effect.void))
  // @ts-expect-error -- the service takes the customer explicitly
  run(Effect.flatMap(Recorder, (recorder) => recorder.trackApiRequest({ endpoint: "/users" })))
  // @ts-expect-error -- a customer is not any text
  run(Effect.provideService(Recorder.trackApiRequest({ endpoint: "/users" }), CurrentCustomer, "acme"))

  run(Effect.provideService(Recorder.trackApiRequest({ endpoint: "/users" }), CurrentCustomer, acme))
  run(Effect.provideService(Usage.metered("sendEmail")(Effect.void), CurrentCustomer, acme))
}

export const metadataOfAnotherService = (): void => {
  const as = <A, E>(effect: Effect.Effect<A, E, Usage.Services | CurrentCustomer>) =>
    run(Effect.provideService(effect, CurrentCustomer, acme))
  // @ts-expect-error -- an API request has no bytes
  as(Recorder.trackApiRequest({ endpoint: "/users", bytes: 1 }))
  // @ts-expect-error -- bandwidth has a direction, not a method
  as(Recorder.trackBandwidth({ bytes: 1, method: "GET" }))
  // @ts-expect-error -- which is one of two
  as(Recorder.trackBandwidth({ bytes: 1, direction: "sideways" }))
  // @ts-expect-error -- storage is bytes for hours
  as(Recorder.trackStorage({ bytes: 1, durationMs: 1 }))
  // @ts-expect-error -- a query has a type, not a name
  as(Recorder.trackDatabaseQuery({ name: "SELECT" }))
  // @ts-expect-error -- a function must have a name
  as(Recorder.trackFunction({ durationMs: 1 }))
  // @ts-expect-error -- a status is a number
  as(Recorder.trackApiRequest({ endpoint: "/users", status: "200" }))
}

export const routeWithoutAuthentication = (): void => {
  const authentication = HttpRouter.middleware<{ provides: CurrentCustomer }>()((httpEffect) =>
    Effect.provideService(httpEffect, CurrentCustomer, acme)
  )
  const route = HttpRouter.add("GET", "/", HttpServerResponse.empty())
  // @ts-expect-error -- nothing says who the customer is
  serve(Layer.provide(route, Usage.meteredRoute.layer))
  // @ts-expect-error -- the metering is outside of the authentication
  serve(Layer.provide(route, authentication.combine(Usage.meteredRoute).layer))

  serve(Layer.provide(route, Usage.meteredRoute.combine(authentication).layer))
}

export const apiWithoutAuthentication = (): void => {
  class Authentication extends HttpApiMiddleware.Service<Authentication, { provides: CurrentCustomer }>()(
    "test/Authentication"
  ) {}
  const list = HttpApiEndpoint.get("list", "/users")
  const build = <Group extends HttpApiGroup.Constraint>(group: Group) => HttpApi.make("api").add(group)
  const live = Layer.succeed(Authentication, (httpEffect) => Effect.provideService(httpEffect, CurrentCustomer, acme))

  const without = build(HttpApiGroup.make("users").add(list).middleware(Usage.Metered))
  const outside = build(HttpApiGroup.make("users").add(list).middleware(Authentication).middleware(Usage.Metered))
  const inside = build(HttpApiGroup.make("users").add(list).middleware(Usage.Metered).middleware(Authentication))
  const ofWithout = HttpApiBuilder.group(without, "users", (_) => _.handle("list", () => Effect.void))
  const ofOutside = HttpApiBuilder.group(outside, "users", (_) => _.handle("list", () => Effect.void))
  const ofInside = HttpApiBuilder.group(inside, "users", (_) => _.handle("list", () => Effect.void))

  // @ts-expect-error -- nothing says who the customer is
  serve(HttpApiBuilder.layer(without).pipe(Layer.provide(ofWithout)))
  // @ts-expect-error -- the metering is outside of the authentication
  serve(HttpApiBuilder.layer(outside).pipe(Layer.provide(ofOutside), Layer.provide(live)))
  serve(HttpApiBuilder.layer(inside).pipe(Layer.provide(ofInside), Layer.provide(live)))
}

export const serviceThatTheOptionsHaveNothingFor = (): void => {
  const spool = { directory: "spool" }
  const on = <A, E, R>(effect: Effect.Effect<A, E, R>, layer: Layer.Layer<R, unknown>) =>
    run(Effect.provide(effect, layer))
  on(Spool, Usage.layerEmbedded({ spool }))
  on(Eraser, Usage.layerPostgres({ url: "postgresql://localhost", spool }))
  on(Maintainer, Usage.layerEmbedded({ spool, archives: { directory: "archives" } }))
  // @ts-expect-error -- there is no spool
  on(Spool, Usage.layerEmbedded())
  // @ts-expect-error -- there is no place for archives
  on(Maintainer, Usage.layerEmbedded({ spool }))
  // @ts-expect-error -- there is no such option
  Usage.layerEmbedded({ spol: spool })
  // @ts-expect-error -- nor such an option of a spool
  Usage.layerEmbedded({ spool: { ...spool, maxByte: 1 } })
}

export const reasonThatAnErrorDoesNotHave = (
  retention: Effect.Effect<void, RetentionError>,
  spool: Effect.Effect<void, SpoolError>
): void => {
  run(Effect.catchReason(retention, "RetentionError", "Unreachable", ({ code }) => Effect.logWarning(code)))
  // @ts-expect-error -- a spool is nothing that it uses
  run(Effect.catchReason(retention, "RetentionError", "SpoolFull", () => Effect.void))
  // @ts-expect-error -- no reason has a reason
  run(Effect.catchReason(retention, "RetentionError", "ArchiverError", () => Effect.void))
  // All of them are caught: what is left cannot fail.
  const all: Effect.Effect<void> = Effect.catchReasons(
    spool,
    "SpoolError",
    {
      SpoolFull: ({ maxBytes }) => Effect.logWarning(maxBytes),
      SpoolUnusable: ({ path }) => Effect.logWarning(path)
    },
    (never) => never
  )
  run(all)
}
