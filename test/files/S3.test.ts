import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { randomBytes } from "node:crypto"
import { once } from "node:events"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { vi } from "vitest"
import { parse } from "../../src/files/ObjectUrl.ts"
import { checkCredentials, type ObjectStore, StoredObject } from "../../src/files/S3.ts"
import { objectStorage, storeAt } from "../support/objectStorage.ts"

const partBytes = 5_242_880

/** A server of our own, and the requests that it got. */
const answering = async (
  answer: (request: IncomingMessage, response: ServerResponse) => void,
  use: (store: ObjectStore, asked: ReadonlyArray<string>) => Promise<void>
) => {
  const asked: Array<string> = []
  const server = createServer((request, response) => {
    request.resume()
    request.on("end", () => {
      asked.push(`${request.method} ${request.url}`)
      answer(request, response)
    })
  }).listen(0, "127.0.0.1")
  await once(server, "listening")
  try {
    await use(storeAt((server.address() as AddressInfo).port), asked)
  } finally {
    server.closeAllConnections()
    server.close()
  }
}

/** A server, and what it holds under a key. */
const withServer = (use: (store: ObjectStore, read: (key: string) => Promise<Response>) => Promise<void>) =>
  Effect.runPromise(
    Effect.scoped(
      Effect.flatMap(objectStorage, (store) =>
        Effect.promise(async () => {
          await use(store, (key) =>
            fetch(`${store.endpoint}/billing/${key.split("/").map(encodeURIComponent).join("/")}`)
          )
        })
      )
    )
  )

const upload = async (store: ObjectStore, key: string, data: Buffer, replace = false) => {
  const object = await StoredObject.at(store, { bucket: "billing", key })
  const opened = object.upload(replace, partBytes)
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
        await opened.complete()
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

  it("removes the parts of an upload that is aborted, also while the store takes its time over one", async () => {
    await answering(
      (request, response) => {
        if (request.url!.includes("?uploads")) {
          response.end("<InitiateMultipartUploadResult><UploadId>it</UploadId></InitiateMultipartUploadResult>")
        } else if (request.method === "DELETE") setTimeout(() => response.writeHead(204).end(), 100)
      },
      async (store, asked) => {
        const opened = (await StoredObject.at(store, { bucket: "billing", key: "a.csv" })).upload(false, partBytes)
        opened.stream.on("error", () => {})
        opened.stream.write(randomBytes(partBytes + 1))
        while (!asked.some((request) => request.startsWith("PUT"))) await new Promise((go) => setImmediate(go))
        await opened.abort()
        assert.match(asked.at(-1)!, /^DELETE .*uploadId=it/)
        assert.strictEqual(asked.length, 3)
      }
    )
  })

  it("tells whoever writes what the store refuses, and goes no further", async () => {
    await answering(
      (_, response) => {
        response.writeHead(403).end("<Error><Code>AccessDenied</Code><Message>not you</Message></Error>")
      },
      async (store, asked) => {
        const refusal: unknown = await upload(store, "a.csv", randomBytes(3 * partBytes)).catch(
          (cause: unknown) => cause
        )
        assert.match(`${refusal}`, /AccessDenied: not you/)
        assert.strictEqual(asked.length, 1)
      }
    )
  })

  it("repeats what was not answered, and says in the store's words what is refused", async () => {
    let calls = 0
    await answering(
      (request, response) => {
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
      },
      async (store) => {
        const { object, opened } = await upload(store, "a.csv", Buffer.from("a"))
        assert.isFalse(await object.exists())
        const refusal: unknown = await opened.complete().then(
          () => undefined,
          (cause: unknown) => cause
        )
        assert.strictEqual(calls, 4)
        assert.match(`${refusal}`, /PreconditionFailed: it is there/)
        await (await upload(store, "a.csv", Buffer.from("a"), true)).opened.complete()
      }
    )
  })

  it("takes the role of a task where no key is given, and says what to do where there is neither", async () => {
    const keys: Array<unknown> = []
    await answering(
      (request, response) => {
        if (request.url === "/role") {
          const Expiration = new Date(Date.now() + 3_600_000).toISOString()
          return void response.end(
            JSON.stringify({ AccessKeyId: "ROLE", SecretAccessKey: "x", Token: "t", Expiration })
          )
        }
        keys.push(request.headers.authorization?.includes("Credential=ROLE/"), request.headers["x-amz-security-token"])
        response.writeHead(404).end()
      },
      async ({ endpoint }, asked) => {
        const refusal: unknown = await checkCredentials({ endpoint }).catch((cause: unknown) => cause)
        assert.match(`${refusal}`, /there are none: .*Set AWS_ACCESS_KEY_ID/)
        assert.deepStrictEqual(asked, [])
        vi.stubEnv("AWS_CONTAINER_CREDENTIALS_FULL_URI", `${endpoint}/role`)
        const store = { endpoint }
        for (const key of ["a.csv", "b.csv"]) {
          assert.isFalse(await (await StoredObject.at(store, { bucket: "billing", key })).exists())
        }
        assert.deepStrictEqual(keys, [true, "t", true, "t"])
        assert.strictEqual(asked.filter((request) => request === "GET /role").length, 1)
      }
    ).finally(() => vi.unstubAllEnvs())
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
