import { assert, describe, it, layer } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as HttpApi from "effect/http-api/HttpApi"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiMiddleware from "effect/http-api/HttpApiMiddleware"
import * as HttpApiSecurity from "effect/http-api/HttpApiSecurity"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { once } from "node:events"
import { Agent, request as httpRequest } from "node:http"
import { connect as connectHttp2, createServer as createHttp2Server } from "node:http2"
import { connect } from "node:net"
import { Readable } from "node:stream"
import { CurrentCustomer, CustomerId } from "../../src/domain/CustomerId.ts"
import { Meter } from "../../src/record/Meter.ts"
import * as Usage from "../../src/Usage.ts"
import { freshDatabase, postgres } from "../support/engines.ts"
import { address, meteredFor, meteredOnce, serve } from "../support/http.ts"
import { Proxy } from "../support/Proxy.ts"

const kilobyte = new Uint8Array(1_024)

/** What tests wait for: that the server has got so far. */
class Gates {
  readonly started = Deferred.makeUnsafe<void>()
  readonly ended = Deferred.makeUnsafe<void>()
}
const gates = { response: new Gates(), handler: new Gates(), upload: new Gates() }
const open = (gate: Deferred.Deferred<void>) => Deferred.succeed(gate, undefined)

/** Requests that authentication let in, by customer. */
const letIn = new Map<string, number>()

const authentication = HttpRouter.middleware<{ provides: CurrentCustomer }>()((httpEffect) =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ headers }) => {
    const customer = headers["x-customer"]
    if (customer === undefined) return Effect.succeed(HttpServerResponse.empty({ status: 401 }))
    letIn.set(customer, 1 + (letIn.get(customer) ?? 0))
    return Effect.provideService(httpEffect, CurrentCustomer, CustomerId.make(customer))
  })
)

const form = new FormData()
form.append("name", "ada")

const endless = Stream.fromEffect(open(gates.response.started)).pipe(
  Stream.flatMap(() => Stream.concat(Stream.make(kilobyte), Stream.never)),
  Stream.ensuring(open(gates.response.ended))
)

const routes = Layer.mergeAll(
  HttpRouter.add("GET", "/users/:id", HttpServerResponse.text("ada")),
  HttpRouter.add("GET", "/nothing", HttpServerResponse.empty()),
  HttpRouter.add("GET", "/form", HttpServerResponse.formData(form)),
  HttpRouter.add("GET", "/stream", HttpServerResponse.stream(Stream.make(kilobyte, kilobyte, kilobyte))),
  HttpRouter.add(
    "GET",
    "/readable",
    Effect.sync(() => HttpServerResponse.raw(Readable.from([kilobyte, kilobyte])))
  ),
  HttpRouter.add("GET", "/file", HttpServerResponse.file("test/support/http.ts")),
  HttpRouter.add("GET", "/endless", HttpServerResponse.stream(endless)),
  HttpRouter.add("GET", "/breaks", HttpServerResponse.stream(Stream.concat(Stream.make(kilobyte), Stream.fail("no")))),
  HttpRouter.add("GET", "/fails", Effect.fail("a failure of the application's")),
  HttpRouter.add(
    "GET",
    "/hangs",
    Effect.andThen(
      open(gates.handler.started),
      Effect.onInterrupt(Effect.never, () => open(gates.handler.ended))
    )
  ),
  HttpRouter.add(
    "POST",
    "/json",
    Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) =>
      Effect.map(request.json, (json) => HttpServerResponse.jsonUnsafe(json))
    )
  ),
  HttpRouter.add(
    "POST",
    "/upload",
    Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) =>
      Effect.map(
        Stream.runFold(
          request.stream,
          () => 0,
          (sum, chunk) => sum + chunk.length
        ),
        (sum) => HttpServerResponse.text(`${sum}`)
      )
    )
  ),
  HttpRouter.add(
    "POST",
    "/slow-upload",
    Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) =>
      Stream.runForEach(request.stream, () => open(gates.upload.started)).pipe(
        Effect.as(HttpServerResponse.empty()),
        Effect.onInterrupt(() => open(gates.upload.ended)),
        Effect.onError(() => open(gates.upload.ended))
      )
    )
  ),
  HttpRouter.add("POST", "/ignores", HttpServerResponse.text("no"))
).pipe(Layer.provide(Usage.meteredRoute.combine(authentication).layer))

const usage = Usage.layerServices({ rollUp: false }).pipe(Layer.provideMerge(postgres.layer))

class Failure extends Schema.TaggedError<Failure>()("Failure", {}, { httpApiStatus: 409 }) {}

class Authentication extends HttpApiMiddleware.Service<Authentication, { provides: CurrentCustomer }>()(
  "test/Authentication",
  { security: { bearer: HttpApiSecurity.bearer } }
) {
  static readonly layer = Layer.succeed(Authentication, {
    bearer: (httpEffect, { credential }) =>
      Effect.provideService(httpEffect, CurrentCustomer, CustomerId.make(Redacted.value(credential)))
  })
}

const Api = HttpApi.make("api").add(
  HttpApiGroup.make("users")
    .add(HttpApiEndpoint.get("show", "/users/:id", { params: { id: Schema.FiniteFromString }, success: Schema.String }))
    .add(HttpApiEndpoint.post("create", "/users", { payload: Schema.Struct({ name: Schema.String }), error: Failure }))
    .add(HttpApiEndpoint.get("whoami", "/whoami", { success: Schema.String }))
    .middleware(Usage.Metered)
    .middleware(Authentication)
)

const handlers = HttpApiBuilder.group(Api, "users", (handlers) =>
  handlers
    .handle("show", ({ params }) => Effect.succeed(`user ${params.id}`))
    .handle("create", ({ payload }) => (payload.name === "taken" ? Effect.fail(new Failure()) : Effect.void))
    .handle("whoami", () => Effect.map(CurrentCustomer, (customer) => `${customer}`))
)

const api = HttpApiBuilder.layer(Api).pipe(Layer.provide(handlers), Layer.provide(Authentication.layer))

layer(Layer.provideMerge(serve(api), usage), { excludeTestServices: true })("endpoints of an HttpApi", (it) => {
  it.effect("the route's pattern, and the status that is sent, whatever became of the request", () =>
    Effect.gen(function* () {
      const { url } = yield* address
      const call = (path: string, body?: string) =>
        Effect.promise(async () => {
          const response = await fetch(`${url}${path}`, {
            headers: { authorization: "Bearer acme", "content-type": "application/json" },
            ...(body === undefined ? {} : { method: "POST", body })
          })
          return (await response.arrayBuffer()).byteLength
        })
      let egress = 0
      egress += yield* call("/users/7")
      egress += yield* call("/users/seven")
      egress += yield* call("/users", `{"name":"ada"}`)
      egress += yield* call("/users", `{"name":"taken"}`)
      egress += yield* call("/whoami")
      assert.deepStrictEqual(yield* meteredFor("acme"), {
        requests: ["GET /users/:id 200", "GET /users/:id 400", "POST /users 204", "POST /users 409", "GET /whoami 200"],
        egress,
        ingress: 14 + 16
      })
    })
  )
})

layer(Layer.provideMerge(serve(routes), usage), { excludeTestServices: true })("routes of an HttpRouter", (it) => {
  const call = (customer: string, path: string, init: RequestInit = {}) =>
    Effect.flatMap(address, ({ url }) =>
      Effect.promise(async () => {
        const response = await fetch(`${url}${path}`, { ...init, headers: { "x-customer": customer, ...init.headers } })
        return { status: response.status, headers: response.headers, body: await response.arrayBuffer() }
      })
    )

  it.effect("the route's pattern, method and status, and the bytes of both bodies", () =>
    Effect.gen(function* () {
      yield* call("plain", "/users/1")
      yield* call("plain", "/users/2?page=3")
      yield* call("plain", "/users/2", { method: "HEAD" })
      yield* call("plain", "/nothing")
      yield* call("plain", "/json", {
        method: "POST",
        body: `{"a":"é"}`,
        headers: { "content-type": "application/json" }
      })
      assert.deepStrictEqual(yield* meteredFor("plain"), {
        requests: [
          "GET /users/:id 200",
          "GET /users/:id 200",
          "HEAD /users/:id 200",
          "GET /nothing 204",
          "POST /json 200"
        ],
        egress: 3 + 3 + 10,
        ingress: 10
      })
    })
  )

  it.effect("streams, readables, files and forms are counted as they flow, and arrive as they were", () =>
    Effect.gen(function* () {
      const stream = yield* call("streams", "/stream")
      const readable = yield* call("streams", "/readable")
      const file = yield* call("streams", "/file")
      assert.strictEqual(stream.body.byteLength, 3_072)
      assert.strictEqual(readable.body.byteLength, 2_048)
      assert.strictEqual(file.headers.get("content-length"), `${file.body.byteLength}`)
      const form = yield* call("streams", "/form")
      assert.include(form.headers.get("content-type"), "multipart/form-data; boundary=")
      const sum = [stream, readable, file, form].reduce((bytes, { body }) => bytes + body.byteLength, 0)
      assert.strictEqual((yield* meteredFor("streams")).egress, sum)
    })
  )

  it.effect("an upload that is streamed, one that nobody reads, and one that its route cannot read", () =>
    Effect.gen(function* () {
      const body = () =>
        new ReadableStream<Uint8Array>({
          start(controller) {
            for (let i = 0; i < 5; i++) controller.enqueue(kilobyte)
            controller.close()
          }
        })
      const upload = yield* call("uploads", "/upload", { method: "POST", body: body(), duplex: "half" } as RequestInit)
      assert.strictEqual(Buffer.from(upload.body).toString(), "5120")
      yield* call("uploads", "/ignores", { method: "POST", body: new Uint8Array(2_000) })
      yield* call("uploads", "/json", { method: "POST", body: "{" })
      const { ingress, requests } = yield* meteredFor("uploads")
      assert.strictEqual(ingress, 5_120 + 2_000 + 1)
      assert.deepStrictEqual(requests, ["POST /upload 200", "POST /ignores 200", "POST /json 400"])
    })
  )

  it.effect("requests that fail count too, those that authentication refuses or that no route takes do not", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* call("fails", "/fails")).status, 500)
      const { url } = yield* address
      assert.strictEqual((yield* Effect.promise(() => fetch(`${url}/users/1`))).status, 401)
      assert.strictEqual((yield* call("fails", "/missing")).status, 404)
      assert.deepStrictEqual((yield* meteredFor("fails")).requests, ["GET /fails 500"])
    })
  )

  /** A request that its client gives up at some point. */
  const aborted = (customer: string, method: string, path: string, until: Effect.Effect<unknown>, body?: Uint8Array) =>
    Effect.gen(function* () {
      const { port } = yield* address
      const sent = httpRequest({ port, host: "127.0.0.1", method, path, headers: { "x-customer": customer } })
      sent.on("error", () => {})
      sent.on("response", (response) => response.on("error", () => {}).resume())
      if (body === undefined) sent.end()
      else sent.write(body)
      yield* until
      sent.destroy()
    })

  it.effect("a response that the client gives up is metered as far as it went", () =>
    Effect.gen(function* () {
      yield* aborted("gone", "GET", "/endless", Deferred.await(gates.response.started))
      yield* Deferred.await(gates.response.ended)
      const { egress, requests } = yield* meteredOnce("gone", 1)
      assert.deepStrictEqual(requests, ["GET /endless 200"])
      assert.strictEqual(egress, 1_024)
    })
  )

  it.effect("a request that the client gives up before it is answered has the status 499", () =>
    Effect.gen(function* () {
      yield* aborted("impatient", "GET", "/hangs", Deferred.await(gates.handler.started))
      yield* Deferred.await(gates.handler.ended)
      assert.deepStrictEqual((yield* meteredOnce("impatient", 1)).requests, ["GET /hangs 499"])
    })
  )

  it.effect("an upload that is broken off is metered as far as it came", () =>
    Effect.gen(function* () {
      yield* aborted("broken", "POST", "/slow-upload", Deferred.await(gates.upload.started), kilobyte)
      yield* Deferred.await(gates.upload.ended)
      const { ingress, requests } = yield* meteredOnce("broken", 1)
      assert.strictEqual(ingress, 1_024)
      assert.deepStrictEqual(requests, ["POST /slow-upload 499"])
    })
  )

  it.effect("a stream that breaks is metered as far as it went", () =>
    Effect.gen(function* () {
      const { url } = yield* address
      const read = yield* Effect.exit(
        Effect.tryPromise(async () =>
          (await fetch(`${url}/breaks`, { headers: { "x-customer": "breaks" } })).arrayBuffer()
        )
      )
      assert.strictEqual(read._tag, "Failure")
      assert.deepStrictEqual(yield* meteredOnce("breaks", 1), {
        requests: ["GET /breaks 200"],
        egress: 1_024,
        ingress: 0
      })
    })
  )

  it.effect("many requests on one connection, pipelined", () =>
    Effect.gen(function* () {
      const { port } = yield* address
      const socket = connect(port, "127.0.0.1")
      const get = "GET /users/1 HTTP/1.1\r\nhost: a\r\nx-customer: pipelined\r\n\r\n"
      const last =
        "POST /ignores HTTP/1.1\r\nhost: a\r\nx-customer: pipelined\r\ncontent-length: 3\r\nconnection: close\r\n\r\nabc"
      socket.write(get.repeat(50) + last)
      socket.resume()
      yield* Effect.promise(() => once(socket, "close"))
      const { egress, ingress, requests } = yield* meteredOnce("pipelined", 51)
      assert.strictEqual(requests.length, 51)
      assert.strictEqual(egress, 50 * 3 + 2)
      assert.strictEqual(ingress, 3)
    })
  )

  it.effect("two thousand requests, many of them given up at any point: all that came are metered, each once", () =>
    Effect.gen(function* () {
      const { port } = yield* address
      const agent = new Agent({ keepAlive: true, maxSockets: 32 })
      yield* Effect.addFinalizer(() => Effect.sync(() => agent.destroy()))
      const one = (i: number) =>
        new Promise<void>((done) => {
          const path = i % 2 === 0 ? "/stream" : `/users/${i}`
          const sent = httpRequest({ port, host: "127.0.0.1", path, agent, headers: { "x-customer": "load" } })
          sent.on("close", done).on("error", () => {})
          sent.on("response", (response) => {
            if (i % 5 === 0) response.destroy()
            else response.on("error", () => {}).resume()
          })
          sent.end()
          if (i % 7 === 0) setImmediate(() => sent.destroy())
        })
      let next = 0
      const worker = async () => {
        while (next < 2_000) await one(next++)
      }
      yield* Effect.promise(() => Promise.all(Array.from({ length: 32 }, worker)))
      const { requests } = yield* Effect.repeat(meteredFor("load"), {
        until: ({ requests }) => requests.length >= letIn.get("load")!,
        schedule: Schedule.spaced("10 millis")
      })
      assert.strictEqual(requests.length, letIn.get("load"))
      assert.isAbove(requests.length, 1_500)
    }).pipe(Effect.scoped)
  )
})

layer(Layer.provideMerge(serve(routes, createHttp2Server), usage), { excludeTestServices: true })("HTTP/2", (it) => {
  it.effect("is metered like HTTP/1, but for uploads that nobody reads", () =>
    Effect.gen(function* () {
      const { url } = yield* address
      yield* Effect.promise(async () => {
        const session = connectHttp2(url)
        const call = async (path: string, body?: Uint8Array) => {
          const stream = session.request({ ":path": path, ":method": body ? "POST" : "GET", "x-customer": "http2" })
          stream.end(body)
          stream.resume()
          await once(stream, "close")
        }
        await call("/users/1")
        await call("/upload", kilobyte)
        await call("/ignores", kilobyte)
        session.close()
      })
      assert.deepStrictEqual(yield* meteredFor("http2"), {
        requests: ["GET /users/:id 200", "POST /upload 200", "POST /ignores 200"],
        egress: 3 + 4 + 2,
        // Node does not take in what nobody reads.
        ingress: 1_024
      })
    })
  )
})

describe("while the database is gone", () => {
  it.live(
    "requests are answered, wait in memory beyond the queue of the batcher, and are stored once when it is back",
    () =>
      Effect.gen(function* () {
        const direct = yield* freshDatabase
        const { hostname, port } = new URL(direct)
        const proxy = yield* Effect.acquireRelease(
          Effect.promise(() => Proxy.start(hostname, Number(port))),
          (proxy) => Effect.promise(() => proxy.close())
        )
        const usage = Usage.layerPostgres({
          url: proxy.url(direct),
          rollUp: false,
          batch: { size: 10, capacity: 50, timeout: "10 millis" },
          meter: { every: "10 millis" }
        })
        yield* Effect.gen(function* () {
          const { url } = yield* address
          const call = Effect.promise(() => fetch(`${url}/users/1`, { headers: { "x-customer": "outage" } }))
          assert.strictEqual((yield* call).status, 200)
          yield* meteredOnce("outage", 1)
          proxy.loseAnswers(() => true)
          for (let i = 0; i < 200; i++) assert.strictEqual((yield* call).status, 200)
          const { dropped, waiting } = yield* Effect.flatMap(Meter, (meter) => meter.state)
          assert.isAbove(waiting, 100)
          proxy.loseAnswers(() => false)
          assert.strictEqual((yield* meteredFor("outage")).requests.length, 201)
          assert.strictEqual(dropped, 0)
        }).pipe(Effect.provide(Layer.provideMerge(serve(routes), usage)))
      }).pipe(Effect.scoped)
  )
})
