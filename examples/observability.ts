/**
 * Metrics, traces, logs and health of an application that meters: pushed by OTLP to a collector, and served to Prometheus
 * and to an orchestrator. It starts a server on a port of its own, records some usage, and prints what one sees.
 *
 *     OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 node examples/observability.ts
 */
import { NodeHttpServer } from "@effect/platform-node"
import { Config, Console, Effect, Layer, Logger } from "effect"
import { FetchHttpClient, HttpRouter, HttpServer } from "effect/http"
import { Otlp, OtlpSerialization } from "effect/observability"
import { createServer } from "node:http"
import { Health, Metrics, Recorder, Usage } from "../src/index.ts"

/** Spans, metrics and logs, each with the service's name. Our spans say how much was stored, and never whose usage it is. */
const telemetry = Layer.unwrap(
  Effect.gen(function* () {
    const baseUrl = yield* Config.String("OTEL_EXPORTER_OTLP_ENDPOINT")
    return Otlp.layer({ baseUrl, resource: { serviceName: "shop" } })
  })
).pipe(
  Layer.provide([OtlpSerialization.layerJson, FetchHttpClient.layer]),
  // Without this the messages of errors are in traces too, and they may name a customer.
  (exporter) => Layer.provideMerge(Usage.layerDiscreetTraces, exporter)
)

/** `/metrics` for Prometheus, `/healthz` and `/readyz` for an orchestrator. */
const server = HttpRouter.serve(Layer.mergeAll(Metrics.layerHttp(), Health.layerHttp()), {
  disableLogger: true,
  disableListenLog: true
}).pipe(Layer.provideMerge(NodeHttpServer.layer(createServer, { host: "127.0.0.1", port: 0 })))

const program = Effect.gen(function* () {
  const recorder = yield* Recorder
  yield* recorder.recordAll(Array.from({ length: 20 }, () => ({ customer: "acme", service: "api", quantity: 1 })))

  const { address } = yield* HttpServer.HttpServer
  if (address._tag === "UnixPathAddress") return yield* Effect.die("not on a port")
  const base = `http://127.0.0.1:${address.port}`
  const get = (path: string) =>
    Effect.promise(async () => {
      const response = await fetch(`${base}${path}`)
      return { status: response.status, text: await response.text() }
    })
  const { text } = yield* get("/metrics")
  for (const line of text.split("\n")) {
    if (/^usage_(records_committed_total|rollup_lag_records|database_up)/.test(line)) yield* Console.log(line)
  }
  const ready = yield* get("/readyz")
  yield* Console.log(`${ready.status} ${ready.text}`)
  yield* Console.log(`health: ${(yield* Usage.health).status}`)
}).pipe(Effect.withSpan("example"))

const application = server.pipe(
  Layer.provideMerge(Usage.layerEmbedded({ rollUp: false })),
  Layer.provideMerge(telemetry),
  // Structured logs, one object of JSON a line, beside those that OTLP has.
  Layer.provideMerge(Logger.layer([Logger.withConsoleError(Logger.formatJson)]))
)

await Effect.runPromise(Effect.provide(program, application))
