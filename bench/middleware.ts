/**
 * An HTTP server that meters every request, against the same server that does not.
 *
 * Both are in one process, one after the other: an `HttpApi` with a bearer token, a path parameter and a response of 1 KB
 * of JSON. The requests come from here, over raw sockets that are kept alive and take less than the server does, so that
 * the server is what is measured: its processor time for a request, and the time that all of them took. Metering is on its
 * usual settings: one record a request, bytes once a second, and a PostgreSQL server that stores them meanwhile.
 */
import { NodeHttpServer } from "@effect/platform-node"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as HttpApi from "effect/http-api/HttpApi"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiMiddleware from "effect/http-api/HttpApiMiddleware"
import * as HttpApiSecurity from "effect/http-api/HttpApiSecurity"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { createServer } from "node:http"
import { connect, type Socket } from "node:net"
import { CurrentCustomer, CustomerId } from "../src/domain/CustomerId.ts"
import { Meter } from "../src/record/Meter.ts"
import * as Usage from "../src/Usage.ts"
import { type Benchmark, type Contest, interleave, type Measurement, median, startProcess } from "./harness.ts"

interface Options {
  readonly url: string
  readonly count: number
}

const connections = 16

class Authentication extends HttpApiMiddleware.Service<Authentication, { provides: CurrentCustomer }>()(
  "bench/Authentication",
  { security: { bearer: HttpApiSecurity.bearer } }
) {
  static readonly layer = Layer.succeed(Authentication, {
    bearer: (httpEffect, { credential }) =>
      Effect.provideService(httpEffect, CurrentCustomer, CustomerId.make(Redacted.value(credential)))
  })
}

const Order = Schema.Struct({ id: Schema.Finite, item: Schema.String, price: Schema.Finite, paid: Schema.Boolean })
const orders = Array.from({ length: 16 }, (_, id) => ({
  id,
  item: `an item of the shop ${id}`,
  price: 9.5,
  paid: true
}))
const show = HttpApiEndpoint.get("show", "/users/:id", {
  params: { id: Schema.FiniteFromString },
  success: Schema.Struct({ id: Schema.Finite, orders: Schema.Array(Order) })
})

const plainApi = HttpApi.make("plain").add(HttpApiGroup.make("users").add(show).middleware(Authentication))
const meteredApi = HttpApi.make("metered").add(
  HttpApiGroup.make("users").add(show).middleware(Usage.Metered).middleware(Authentication)
)

const plain = HttpApiBuilder.layer(plainApi).pipe(
  Layer.provide(
    HttpApiBuilder.group(plainApi, "users", (handlers) =>
      handlers.handle("show", ({ params }) => Effect.succeed({ id: params.id, orders }))
    )
  ),
  Layer.provide(Authentication.layer)
)
const metered = HttpApiBuilder.layer(meteredApi).pipe(
  Layer.provide(
    HttpApiBuilder.group(meteredApi, "users", (handlers) =>
      handlers.handle("show", ({ params }) => Effect.succeed({ id: params.id, orders }))
    )
  ),
  Layer.provide(Authentication.layer)
)

const server = <E, R>(api: Layer.Layer<never, E, R>) =>
  HttpRouter.serve(api, { disableLogger: true, disableListenLog: true }).pipe(
    Layer.provideMerge(Layer.fresh(NodeHttpServer.layer(createServer, { host: "127.0.0.1", port: 0 })))
  )

/** The servers, in a process of their own. `port` is that of a server; a run is told what has happened in between. */
export const contest = async (options: Options): Promise<Contest> => {
  const scope = Scope.makeUnsafe()
  const usage = await Effect.runPromise(
    Layer.buildWithScope(Usage.layerPostgres({ url: options.url, rollUp: false }), scope)
  )
  const meter = Context.get(usage, Meter)
  const start = async <R>(api: Layer.Layer<never, unknown, R>): Promise<number> => {
    const running = await Effect.runPromise(
      Layer.buildWithScope(
        server(api).pipe(Layer.provide(Layer.succeedContext(usage))) as unknown as Layer.Layer<HttpServer.HttpServer>,
        scope
      )
    )
    const { address } = Context.get(running, HttpServer.HttpServer)
    return address._tag === "UnixPathAddress" ? 0 : address.port
  }
  const ports = { ours: await start(metered), peer: await start(plain) }
  let before = process.cpuUsage()
  return {
    run: async (name) => {
      if (name === "ports") return { millis: 0, figures: ports }
      if (name === "start") {
        before = process.cpuUsage()
        return { millis: 0 }
      }
      // What was metered belongs to the requests, also what is stored after the last of them.
      await Effect.runPromise(meter.flush)
      const { system, user } = process.cpuUsage(before)
      return { millis: (user + system) / 1_000 }
    },
    close: () => Effect.runPromise(Scope.close(scope, Exit.void))
  }
}

const request = (id: number) =>
  `GET /users/${id} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer cus_${id % 100}\r\n\r\n`

/** Sends so many requests over one connection, each when the one before is answered. */
const drive = (socket: Socket, count: number): Promise<void> =>
  new Promise((resolve, reject) => {
    let left = count
    let received = 0
    let expected = 0
    socket.removeAllListeners("data").removeAllListeners("error")
    socket.on("error", reject)
    socket.on("data", (chunk: Buffer) => {
      if (expected === 0) {
        const head = chunk.toString("latin1")
        const length = /content-length: (\d+)/i.exec(head)
        if (!head.startsWith("HTTP/1.1 200") || length === null) return reject(new Error(head.slice(0, 100)))
        expected = head.indexOf("\r\n\r\n") + 4 + Number(length[1])
      }
      received += chunk.length
      if (received < expected) return
      received = expected = 0
      if (--left === 0) resolve()
      else socket.write(request(left))
    })
    socket.write(request(left))
  })

const driveAll = async (port: number, count: number): Promise<number> => {
  const sockets = Array.from({ length: connections }, () => connect({ port, host: "127.0.0.1", noDelay: true }))
  const start = performance.now()
  await Promise.all(sockets.map((socket) => drive(socket, Math.max(1, Math.round(count / connections)))))
  const millis = performance.now() - start
  for (const socket of sockets) socket.destroy()
  return millis
}

export const benchmark: Benchmark = {
  name: "middleware",
  run: async (setting) => {
    const count = setting.size(60_000)
    const process = startProcess("middleware", { url: setting.server.url(), count } satisfies Options)
    const tell = (name: string) => process.contestant(name).run()
    try {
      const { figures: ports } = await tell("ports")
      const contestant = (name: "ours" | "peer") => ({
        name,
        run: async (): Promise<Measurement> => {
          await tell("start")
          const millis = await driveAll(ports![name]!, count)
          const { millis: processor } = await tell("end")
          return { millis, figures: { processor } }
        }
      })
      const results = await interleave(setting, "middleware", [contestant("ours"), contestant("peer")], setting.reset)
      const ours = results.get("ours")!
      const peer = results.get("peer")!
      const figure = (kind: "processor" | "clock") => (measurement: Measurement) =>
        kind === "clock" ? measurement.millis : measurement.figures!["processor"]!
      return (["clock", "processor"] as const).map((kind) => {
        const [a, b] = [ours.map(figure(kind)), peer.map(figure(kind))]
        const each = (values: ReadonlyArray<number>) => `${((1_000 * median(values)) / count).toFixed(1)} µs`
        return {
          benchmark: "middleware",
          case: kind === "clock" ? "1 KB of JSON, time" : "the same, processor time of the server (time)",
          ours: each(a),
          peer: each(b),
          ratios: a.map((value, round) => value / b[round]!),
          aim: "≤ 1.05",
          peakMemory: process.peakMemory()
        }
      })
    } finally {
      await process.close()
    }
  }
}
