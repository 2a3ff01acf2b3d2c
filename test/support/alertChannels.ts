/** Channels of alerts in a test: something to send, and an HTTP server that receives it. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { mkdtempSync, rmSync } from "node:fs"
import * as http from "node:http"
import { once } from "node:events"
import type { AddressInfo, Server } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type AlertChannel, AlertChannels, type Delivery } from "../../src/alert/AlertChannels.ts"
import type { Alert } from "../../src/domain/Alert.ts"
import type { CustomerId } from "../../src/domain/CustomerId.ts"
import * as Decimal from "../../src/domain/Decimal.ts"
import * as Instant from "../../src/domain/Instant.ts"
import type { ServiceName } from "../../src/domain/Service.ts"
import { accepted } from "./results.ts"

const instant = (text: string) => accepted(Instant.parse("at", text))
const decimal = (text: string) => accepted(Decimal.parse("amount", text))

/** Of a quota at 78 %, if nothing else is said. */
export const alertOf = (changes: Partial<Alert> = {}): Alert => ({
  id: "6f1c33a0-9f4c-4d0e-8f0e-6a3f6d1f2a55",
  kind: "quota",
  level: "warning",
  customer: "acme" as CustomerId,
  service: "api" as ServiceName,
  unit: "requests",
  used: decimal("78000"),
  limit: decimal("100000"),
  percent: 78n,
  period: { start: instant("2026-01-01"), end: instant("2026-02-01") },
  raisedAt: instant("2026-01-30T14:23:45Z"),
  ...changes
})

export const customer = (id: string): Pick<Alert, "customer"> => ({ customer: id as CustomerId })

export const deliveryOf = (changes: Partial<Alert> = {}, attempt = 1): Delivery => ({
  id: "0d4a4f0e-58b9-4b0c-9d5b-0c8f5a1d7e11",
  alert: alertOf(changes),
  attempt
})

/** The channel that a layer registers. */
export const channelOf = <E>(layer: Layer.Layer<never, E, AlertChannels>): Effect.Effect<AlertChannel, E> =>
  Effect.flatMap(AlertChannels, (channels) => Effect.map(channels.all, (all) => all[0]!)).pipe(
    Effect.provide(Layer.provideMerge(layer, Layer.fresh(AlertChannels.layer)))
  )

/** How sending fails. */
export const failureOf = Effect.fnUntraced(function* (channel: AlertChannel, delivery = deliveryOf()) {
  const error = yield* Effect.flip(channel.send(delivery))
  assert.strictEqual(error.channel, channel.name)
  // oxlint-disable-next-line no-control-regex -- a problem is one line
  assert.notMatch(error.problem, /[\u0000-\u001f]/)
  assert.isBelow(error.problem.length, 400)
  return error
})

export const temporaryDirectory = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-usage-alerts-"))),
  (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
)

export interface Received {
  readonly url: string
  readonly headers: http.IncomingHttpHeaders
  readonly body: string
}

/** An HTTP server on this machine, which keeps what it receives and then lets `answer` answer it. */
export const receiver = (
  answer: (response: http.ServerResponse, request: Received) => void,
  address = "127.0.0.1",
  port = 0
) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly port: number; readonly received: Array<Received>; readonly server: http.Server }>(
      (resume) => {
        const received: Array<Received> = []
        const server = http.createServer((request, response) => {
          let body = ""
          request.setEncoding("utf8").on("data", (text: string) => (body += text))
          request.on("end", () => {
            received.push({ url: request.url ?? "", headers: request.headers, body })
            answer(response, received.at(-1)!)
          })
          response.on("error", () => {})
        })
        server.listen(port, address, () =>
          resume(Effect.succeed({ port: (server.address() as AddressInfo).port, received, server }))
        )
      }
    ),
    ({ server }) =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        server.closeAllConnections()
      })
  )

/** Answers with `status` and nothing else. */
export const status =
  (code: number, headers: http.OutgoingHttpHeaders = {}) =>
  (response: http.ServerResponse): void => {
    response.writeHead(code, headers).end()
  }

/** A server of `make`, until the test is over. */
export const listening = <S extends Server>(make: () => S) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const server = make().listen(0, "127.0.0.1")
      await once(server, "listening")
      return { server, port: (server.address() as AddressInfo).port }
    }),
    ({ server }) => Effect.sync(() => void server.close())
  )
