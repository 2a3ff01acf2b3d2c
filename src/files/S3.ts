/**
 * Objects in a store that speaks S3: whole, or not there.
 *
 * What fits into one part is put in one request. More is uploaded in parts, one after the other, and the object appears when
 * the last request completes the upload; an upload that fails is aborted, so that its parts are not kept and paid for. Memory
 * holds two parts. A request that is not answered, or with "later", is repeated.
 */
import type { AwsClient } from "aws4fetch"
import * as Redacted from "effect/Redacted"
import { hash } from "node:crypto"
import { Readable, Writable } from "node:stream"
import type { ReadableStream } from "node:stream/web"
import { setTimeout as sleep } from "node:timers/promises"
import { InvalidInput } from "../domain/InvalidInput.ts"
import type * as ObjectUrl from "./ObjectUrl.ts"
import * as Optional from "../system/Optional.ts"

/**
 * How an object store is reached.
 *
 * - `endpoint`: such as `http://127.0.0.1:9000`, whose buckets are paths; AWS, if absent
 * - `region`: `us-east-1`, if absent
 *
 * @since 0.1.0
 */
export interface ObjectStore {
  readonly endpoint?: string | undefined
  readonly region?: string | undefined
  readonly accessKeyId: string
  readonly secretAccessKey: Redacted.Redacted
  readonly sessionToken?: Redacted.Redacted | undefined
}

/** Bytes of a part: of 10,000 parts, the most that there may be, an object of 80 GB. */
const defaultPartBytes = 8_388_608

const attempts = 4
const requestMillis = 120_000

/** What the store says is wrong. */
export class Refusal extends Error {
  readonly status: number
  constructor(status: number, text: string) {
    const tag = (name: string) => new RegExp(`<${name}>([^<]{1,300})</${name}>`).exec(text)?.[1]
    super([tag("Code") ?? `the store answered ${status}`, tag("Message")].filter(Boolean).join(": "))
    this.status = status
  }
}

const isLater = (status: number): boolean => status >= 500 || status === 429 || status === 408

/** Checked here, because the errors of `fetch` quote a URL with whatever is in it. */
const parseEndpoint = (text: string): string => {
  const refuse = (problem: string) =>
    new InvalidInput({
      field: "AWS_ENDPOINT_URL",
      problem,
      remedy:
        "Give the store's address, such as https://storage.example.com, and its keys in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    })
  const url = URL.parse(text)
  if (url === null || !["http:", "https:"].includes(url.protocol)) throw refuse("is not a URL of http or https")
  if (url.username !== "" || url.password !== "") throw refuse("contains a user name or a password")
  return text
}

/** One object of a store. */
export class StoredObject {
  readonly #client: AwsClient
  readonly #url: string

  private constructor(client: AwsClient, url: string) {
    this.#client = client
    this.#url = url
  }

  static async at(store: ObjectStore, { bucket, key }: ObjectUrl.ObjectUrl): Promise<StoredObject> {
    const endpoint = store.endpoint === undefined ? undefined : parseEndpoint(store.endpoint)
    const { AwsClient } = await Optional.load("aws4fetch", "object storage", () => import("aws4fetch"))
    const region = store.region ?? "us-east-1"
    const client = new AwsClient({
      accessKeyId: store.accessKeyId,
      secretAccessKey: Redacted.value(store.secretAccessKey),
      ...(store.sessionToken === undefined ? {} : { sessionToken: Redacted.value(store.sessionToken) }),
      service: "s3",
      region
    })
    const path = key.split("/").map(encodeURIComponent).join("/")
    // A certificate of AWS covers one label before its domain.
    const isLabel = store.endpoint === undefined && !bucket.includes(".")
    const base = isLabel
      ? `https://${bucket}.s3.${region}.amazonaws.com`
      : `${(endpoint ?? `https://s3.${region}.amazonaws.com`).replace(/\/+$/, "")}/${bucket}`
    return new StoredObject(client, `${base}/${path}`)
  }

  /** Whether it is there; `undefined` where that may not be asked. */
  async exists(): Promise<boolean | undefined> {
    const { status } = await this.ask("HEAD", "")
    return status === 200 ? true : status === 404 ? false : undefined
  }

  /** How many bytes it has; `undefined` where it is not there. Rejects where that may not be asked. */
  async size(): Promise<number | undefined> {
    const { length, status } = await this.ask("HEAD", "")
    if (status === 404) return undefined
    if (status !== 200) throw new Refusal(status, "")
    return length
  }

  /** Its bytes, from `start` and before `end` if they are given. */
  async read(range?: { readonly start: number; readonly end: number }): Promise<Readable> {
    const headers: Record<string, string> =
      range === undefined ? {} : { range: `bytes=${range.start}-${range.end - 1}` }
    const { answer } = await this.#send("GET", "", undefined, headers, undefined)
    if (answer.status >= 300) throw new Refusal(answer.status, await answer.text())
    return answer.body === null ? Readable.from([]) : Readable.fromWeb(answer.body as ReadableStream)
  }

  upload(partBytes: number = defaultPartBytes): ObjectUpload {
    return new ObjectUpload(this, partBytes)
  }

  /** Asks, and gives the answer whatever it is. */
  async ask(
    method: string,
    query: string,
    body?: Buffer | undefined,
    headers: Record<string, string> = {},
    ended?: AbortSignal
  ) {
    const { answer } = await this.#send(method, query, body, headers, ended)
    const text = method === "HEAD" ? "" : await answer.text()
    return {
      status: answer.status,
      text,
      tag: answer.headers.get("etag") ?? undefined,
      length: Number(answer.headers.get("content-length"))
    }
  }

  async #send(
    method: string,
    query: string,
    body: Buffer | undefined,
    headers: Record<string, string>,
    ended: AbortSignal | undefined
  ) {
    const url = query === "" ? this.#url : `${this.#url}?${query}`
    for (let attempt = 1; ; attempt++) {
      try {
        const request = await this.#client.sign(url, {
          method,
          ...(body === undefined ? {} : { body: body as Uint8Array<ArrayBuffer> }),
          headers: { ...headers, "x-amz-content-sha256": hash("sha256", body ?? "") }
        })
        // Until the answer begins. How long its body takes depends on who reads it; one that falls silent `fetch` gives up.
        const late = new AbortController()
        const timer = setTimeout(() => late.abort(new Error("the store does not answer")), requestMillis)
        const signal = ended === undefined ? late.signal : AbortSignal.any([ended, late.signal])
        const answer = await fetch(request, { signal }).finally(() => clearTimeout(timer))
        if (!isLater(answer.status) || attempt === attempts) return { answer }
        await answer.body?.cancel()
      } catch (cause) {
        if (ended?.aborted === true || attempt === attempts) throw reasonOf(cause)
      }
      await sleep(100 * 4 ** attempt, undefined, ended === undefined ? {} : { signal: ended })
    }
  }
}

/** An object that is being written. */
export class ObjectUpload {
  readonly #object: StoredObject
  readonly #partBytes: number
  readonly #ended = new AbortController()
  readonly #tags: Array<string> = []
  #uploadId: string | undefined
  #held: Array<Buffer> = []
  #heldBytes = 0

  constructor(object: StoredObject, partBytes: number) {
    this.#object = object
    this.#partBytes = partBytes
  }

  /** Takes the bytes. */
  readonly stream: Writable = new Writable({
    highWaterMark: 65_536,
    write: (chunk: Buffer, _encoding, done) => void this.#take(chunk).then(() => done(), done)
  })

  /** Makes the object appear, after the stream has ended; refused (412) if one is there that it may not `replace`. */
  async complete(replace: boolean): Promise<void> {
    const condition: Record<string, string> = replace ? {} : { "if-none-match": "*" }
    if (this.#uploadId === undefined) {
      await this.#ask("PUT", "", this.#body(), condition)
      return
    }
    if (this.#heldBytes > 0) await this.#putPart()
    const parts = this.#tags.map((tag, i) => `<Part><PartNumber>${i + 1}</PartNumber><ETag>${tag}</ETag></Part>`)
    const { text } = await this.#ask(
      "POST",
      `uploadId=${encodeURIComponent(this.#uploadId)}`,
      Buffer.from(`<CompleteMultipartUpload>${parts.join("")}</CompleteMultipartUpload>`),
      condition
    )
    // The answer begins before the parts are joined, so it may be one of failure.
    if (text.includes("<Error>")) throw new Refusal(200, text)
    this.#uploadId = undefined
  }

  /** Leaves nothing. */
  async abort(): Promise<void> {
    this.stream.destroy()
    this.#ended.abort()
    const id = this.#uploadId
    if (id === undefined) return
    await this.#object.ask("DELETE", `uploadId=${encodeURIComponent(id)}`, undefined, {}, AbortSignal.timeout(10_000))
  }

  async #take(chunk: Buffer): Promise<void> {
    this.#held.push(chunk)
    this.#heldBytes += chunk.length
    while (this.#heldBytes >= this.#partBytes) {
      if (this.#uploadId === undefined) {
        const { text } = await this.#ask("POST", "uploads=", undefined)
        const id = /<UploadId>([^<]+)<\/UploadId>/.exec(text)?.[1]
        if (id === undefined) throw new Error("the store has begun no upload")
        this.#uploadId = id
      }
      await this.#putPart()
    }
  }

  async #putPart(): Promise<void> {
    const all = this.#body()
    const part = all.subarray(0, this.#partBytes)
    const rest = all.subarray(part.length)
    this.#held = rest.length === 0 ? [] : [rest]
    this.#heldBytes = rest.length
    const query = `partNumber=${this.#tags.length + 1}&uploadId=${encodeURIComponent(this.#uploadId!)}`
    const { tag } = await this.#ask("PUT", query, part)
    if (tag === undefined) throw new Error("the store has not taken a part")
    this.#tags.push(tag)
  }

  #body(): Buffer {
    return this.#held.length === 1 ? this.#held[0]! : Buffer.concat(this.#held)
  }

  async #ask(method: string, query: string, body: Buffer | undefined, headers: Record<string, string> = {}) {
    const answer = await this.#object.ask(method, query, body, headers, this.#ended.signal)
    if (answer.status >= 300) throw new Refusal(answer.status, answer.text)
    return answer
  }
}

/** `fetch` says only that it failed; the reason is its cause. */
const reasonOf = (cause: unknown): unknown =>
  cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause
