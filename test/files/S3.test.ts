import { assert, describe, it } from "@effect/vitest"
import { AwsClient } from "aws4fetch"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { randomBytes } from "node:crypto"
import { once } from "node:events"
import { createServer, type RequestListener } from "node:http"
import type { AddressInfo } from "node:net"
import { parse } from "../../src/files/ObjectUrl.ts"
import { type ObjectStore, StoredObject } from "../../src/files/S3.ts"
import { objectStorage, storeAt } from "../support/objectStorage.ts"

const partBytes = 5_242_880

/** A server, and what it holds under a key. */
const withServer = (use: (store: ObjectStore, read: (key: string) => Promise<Response>) => Promise<void>) =>
  Effect.runPromise(
    Effect.scoped(
      Effect.flatMap(objectStorage, (store) =>
        Effect.promise(async () => {
          const client = new AwsClient({ accessKeyId: "S3RVER", secretAccessKey: "S3RVER", service: "s3" })
          await use(store, async (key) =>
            fetch(await client.sign(`${store.endpoint}/billing/${key.split("/").map(encodeURIComponent).join("/")}`))
          )
        })
      )
    )
  )

const upload = async (store: ObjectStore, key: string, data: Buffer) => {
  const object = await StoredObject.at(store, { bucket: "billing", key })
  const opened = object.upload(partBytes)
  for (let start = 0; start < data.length; start += 1_000_000) {
    if (!opened.stream.write(data.subarray(start, start + 1_000_000))) await once(opened.stream, "drain")
  }
  opened.stream.end()
  await once(opened.stream, "finish")
  return { object, opened }
}

describe("S3", () => {
  it("makes objects appear whole, of one part and of several", async () => {
    await withServer(async (store, read) => {
      for (const [key, size] of [
        ["empty.csv", 0],
        ["2026/small é+&'.csv", 1_000],
        ["large.csv.gz", 2 * partBytes + 12_345],
        ["exact.csv", 2 * partBytes]
      ] as const) {
        const data = randomBytes(size)
        const { object, opened } = await upload(store, key, data)
        assert.isFalse(await object.exists(), key)
        await opened.complete(false)
        assert.isTrue(await object.exists(), key)
        assert.isTrue(Buffer.from(await (await read(key)).arrayBuffer()).equals(data), key)
        const found = Buffer.concat(await (await object.read()).toArray())
        assert.isTrue(found.equals(data), key)
        if (size === 0) continue
        const part = Buffer.concat(await (await object.read({ start: 10, end: 20 })).toArray())
        assert.isTrue(part.equals(data.subarray(10, 20)), key)
      }
    })
  })

  it("leaves nothing of an upload that is aborted", async () => {
    await withServer(async (store, read) => {
      const { opened } = await upload(store, "aborted.csv", randomBytes(partBytes + 1))
      await opened.abort()
      assert.strictEqual((await read("aborted.csv")).status, 404)
    })
  })

  it("repeats what was not answered, and says in the store's words what is refused", async () => {
    let calls = 0
    const answer: RequestListener = (request, response) => {
      request.resume()
      request.on("end", () => {
        calls++
        if (request.method === "HEAD") return void response.writeHead(404).end()
        if (calls === 2) return void request.socket.destroy()
        if (calls === 3) return void response.writeHead(503).end()
        if (request.headers["if-none-match"] === "*") {
          return void response
            .writeHead(412)
            .end("<Error><Code>PreconditionFailed</Code><Message>it is there</Message></Error>")
        }
        response.writeHead(200).end()
      })
    }
    const server = createServer(answer).listen(0, "127.0.0.1")
    await once(server, "listening")
    try {
      const store = storeAt((server.address() as AddressInfo).port)
      const { object, opened } = await upload(store, "a.csv", Buffer.from("a"))
      assert.isFalse(await object.exists())
      const refusal: unknown = await opened.complete(false).then(
        () => undefined,
        (cause: unknown) => cause
      )
      assert.strictEqual(calls, 4)
      assert.match(`${refusal}`, /PreconditionFailed: it is there/)
      await (await upload(store, "a.csv", Buffer.from("a"))).opened.complete(true)
    } finally {
      server.closeAllConnections()
      server.close()
    }
  })

  it("takes names of objects only", () => {
    assert.deepStrictEqual(Result.getOrUndefined(parse("s3://billing/2026/a b.csv")), {
      bucket: "billing",
      key: "2026/a b.csv"
    })
    for (const wrong of [
      "s3://",
      "s3://billing",
      "s3://billing/",
      "s3://../x",
      "s3://billing/../other/x",
      "s3://a/b"
    ]) {
      assert.isTrue(Result.isFailure(parse(wrong)), wrong)
    }
  })
})
