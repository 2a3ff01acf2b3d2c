/** An object store that promises nothing: it takes no notice of conditions, and is slow now and then. */
import * as Effect from "effect/Effect"
import { once } from "node:events"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import * as Redacted from "effect/Redacted"
import type { ObjectStore } from "../../src/files/S3.ts"

export const looseStore = Effect.acquireRelease(
  Effect.promise(async () => {
    const objects = new Map<string, Buffer>()
    /** Names that were written over. */
    const replaced: Array<string> = []
    let turn = 0
    const server = createServer((request, response) => {
      const chunks: Array<Buffer> = []
      request.on("data", (chunk: Buffer) => void chunks.push(chunk))
      request.on("end", () => {
        const key = new URL(request.url!, "http://store").pathname
        void sleep((turn++ * 7) % 20).then(() => {
          const found = objects.get(key)
          if (request.method === "PUT") {
            if (found !== undefined) replaced.push(key)
            objects.set(key, Buffer.concat(chunks))
            return response.end()
          }
          if (request.method === "DELETE") {
            objects.delete(key)
            return response.writeHead(204).end()
          }
          if (found === undefined) return response.writeHead(404).end("<Error><Code>NoSuchKey</Code></Error>")
          const range = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? "")
          response.writeHead(range === null ? 200 : 206)
          if (request.method === "HEAD") return response.end()
          return response.end(range === null ? found : found.subarray(Number(range[1]), Number(range[2]) + 1))
        })
      })
    }).listen(0, "127.0.0.1")
    await once(server, "listening")
    const store: ObjectStore = {
      endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      credentials: { accessKeyId: "key", secretAccessKey: Redacted.make("secret") }
    }
    return { server, store, objects, replaced }
  }),
  ({ server }) =>
    Effect.promise(async () => {
      server.closeAllConnections()
      server.close()
      await once(server, "close")
    })
)
