/**
 * An HTTP API whose requests are metered: the program of docs/embed.md.
 *
 *     PORT=3000 node examples/http-api.ts
 */
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Config, Effect, Layer, Redacted, Schema } from "effect"
import { HttpRouter } from "effect/http"
import {
  HttpApi,
  HttpApiBuilder,
  HttpApiEndpoint,
  HttpApiError,
  HttpApiGroup,
  HttpApiMiddleware,
  HttpApiSecurity
} from "effect/http-api"
import { createServer } from "node:http"
import { CurrentCustomer, CustomerId, Usage } from "../src/index.ts"

// Whose request it is: the application's authentication knows.
class Authentication extends HttpApiMiddleware.Service<Authentication, { provides: CurrentCustomer }>()(
  "app/Authentication",
  { security: { bearer: HttpApiSecurity.bearer }, error: HttpApiError.Unauthorized }
) {
  static readonly layer = Layer.succeed(Authentication, {
    bearer: (httpEffect, { credential }) => {
      const customer = customers.get(Redacted.value(credential))
      return customer === undefined
        ? Effect.fail(new HttpApiError.Unauthorized())
        : Effect.provideService(httpEffect, CurrentCustomer, customer)
    }
  })
}
const customers = new Map([["acme-secret", CustomerId.make("acme")]])

// One line meters every endpoint of the group. Authentication comes after it: it wraps what stands before.
const Api = HttpApi.make("shop").add(
  HttpApiGroup.make("users")
    .add(HttpApiEndpoint.get("show", "/users/:id", { params: { id: Schema.FiniteFromString }, success: Schema.String }))
    .add(HttpApiEndpoint.post("welcome", "/users/:id/welcome", { params: { id: Schema.FiniteFromString } }))
    .middleware(Usage.Metered)
    .middleware(Authentication)
)

// Another one meters a function: its invocations, duration and memory.
const sendEmail = (to: string) => Effect.logInfo(`an email to ${to}`).pipe(Usage.metered("sendEmail"))

const Users = HttpApiBuilder.group(Api, "users", (handlers) =>
  handlers
    .handle("show", ({ params }) => Effect.succeed(`user ${params.id}`))
    .handle("welcome", ({ params }) => sendEmail(`user ${params.id}`))
)

const address = {
  host: Config.String("HOST").pipe(Config.withDefault("127.0.0.1")),
  port: Config.Port("PORT").pipe(Config.withDefault(3000)),
  // Requests that are under way are answered; then there are 6 s to store what was metered. `docker stop` kills after 10.
  gracefulShutdownTimeout: Config.succeed("3 seconds" as const)
}

// All services, on the database that the USAGE_… variables name: embedded in ./.usage without any.
const Server = HttpRouter.serve(HttpApiBuilder.layer(Api)).pipe(
  Layer.provide(Users),
  Layer.provide(Authentication.layer),
  Layer.provide(NodeHttpServer.layerConfig(createServer, address)),
  // The last is the first to start: nobody is let in before usage can be taken.
  Layer.provide(Usage.layerConfig({ migrate: true }))
)

NodeRuntime.runMain(Layer.launch(Server))
