/**
 * A download of a customer's usage, of any size, straight from the database into an HTTP response. Memory stays the same
 * however slow the reader is: the database waits. A reader who hangs up ends the export.
 *
 *     node examples/http-export.ts
 */
import { Console, Deferred, Effect } from "effect"
import { once } from "node:events"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import { Exporter, Recorder, Usage } from "../src/index.ts"

const program = Effect.gen(function* () {
  const recorder = yield* Recorder
  const exporter = yield* Exporter
  const hungUp = yield* Deferred.make<string>()

  /** `GET /usage.csv?customer=acme&period=2026-01`, compressed for whoever takes that. */
  const download = (request: IncomingMessage, response: ServerResponse) =>
    Effect.gen(function* () {
      const { searchParams } = new URL(request.url ?? "", "http://localhost")
      // Here an application checks who is calling, and whose usage they may see.
      const customer = searchParams.get("customer") ?? ""
      const period = searchParams.get("period") ?? "this-month"
      const gzip = /\bgzip\b/.test(`${request.headers["accept-encoding"]}`)
      response.setHeader("content-type", "text/csv; charset=utf-8")
      response.setHeader("content-disposition", 'attachment; filename="usage.csv"')
      if (gzip) response.setHeader("content-encoding", "gzip")
      yield* exporter.export(
        { customer, window: { period }, format: "csv", compression: gzip ? "gzip" : undefined },
        { stream: response, name: "the response" }
      )
      response.end()
    }).pipe(
      Effect.catch((error) =>
        Effect.gen(function* () {
          if (response.destroyed) {
            yield* Deferred.succeed(hungUp, "the reader hung up, and the export ended")
          } else if (response.headersSent) {
            // What has begun is cut off: whoever reads it must not take it for the whole.
            response.destroy()
          } else {
            for (const name of response.getHeaderNames()) response.removeHeader(name)
            const isTheirs = error.reason._tag === "InvalidInput"
            response.writeHead(isTheirs ? 400 : 503).end(`${error.message}\n`)
          }
        })
      )
    )

  const runFork = Effect.runForkWith(yield* Effect.context<never>())
  const server = createServer((request, response) => void runFork(download(request, response)))
  yield* Effect.acquireRelease(
    Effect.promise(() => once(server.listen(0, "127.0.0.1"), "listening")),
    () => Effect.promise(async () => server.closeAllConnections())
  )
  yield* Effect.addFinalizer(() => Effect.sync(() => server.close()))
  const { port } = server.address() as { readonly port: number }
  const ask = (query: string) => Effect.promise(() => fetch(`http://127.0.0.1:${port}/usage.csv?${query}`))

  const usage = Array.from({ length: 5_000 }, (_, i) => ({
    customer: "acme",
    service: "api",
    quantity: 1 + (i % 3),
    recordedAt: Date.UTC(2026, 0, 1, 0, 0, i),
    metadata: { endpoint: `/items/${i}`, note: "x".repeat(200) }
  }))
  for (let i = 0; i < 4; i++) yield* recorder.recordAll(usage)

  const whole = yield* ask("customer=acme&period=2026-01")
  const lines = (yield* Effect.promise(() => whole.text())).trimEnd().split("\n")
  yield* Console.log(`${whole.status}: ${lines.length - 1} records, ${lines[0]}`)

  const wrong = yield* ask("customer=acme&period=2026-13")
  const [problem] = (yield* Effect.promise(() => wrong.text())).split(".")
  yield* Console.log(`a period that does not exist: ${wrong.status}, ${problem}`)

  const reader = yield* ask("customer=acme&period=2026-01")
  yield* Effect.promise(() => reader.body!.cancel())
  yield* Console.log(yield* Deferred.await(hungUp))
}).pipe(Effect.scoped)

await Effect.runPromise(Effect.provide(program, Usage.layerEmbedded()))
