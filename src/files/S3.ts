/**
 * Objects in a store that speaks S3: whole, or not there.
 *
 * AWS's own client does the work: it finds the credentials, signs, retries, uploads large objects in parts, and removes the parts
 * of a failed upload. This module decides when an object appears: not after the last byte, but when `complete` is called, and never
 * after `abort`. Memory holds two parts.
 */
import type { S3Client, S3ClientConfig, S3ServiceException } from "@aws-sdk/client-s3"
import * as Redacted from "effect/Redacted"
import { PassThrough, Readable, type Writable } from "node:stream"
import { setTimeout as sleep } from "node:timers/promises"
import { InvalidInput } from "../domain/InvalidInput.ts"
import { printable, withoutPasswords } from "../domain/Shown.ts"
import * as Optional from "../system/Optional.ts"
import type * as ObjectUrl from "./ObjectUrl.ts"

/**
 * How an object store is reached.
 *
 * - `endpoint`: such as `http://127.0.0.1:9000`, whose buckets are paths; AWS, if absent
 * - `region`: if absent, that of AWS's variables or profile, or else `us-east-1`; with an `endpoint` always `us-east-1`
 * - `credentials`: a static key; if absent, AWS's client finds one: its variables and profiles, SSO, or the role of the pod, the task
 *   or the machine
 *
 * @since 0.1.0
 */
export interface ObjectStore {
  readonly endpoint?: string | undefined
  readonly region?: string | undefined
  readonly credentials?:
    | {
        readonly accessKeyId: string
        readonly secretAccessKey: Redacted.Redacted
        readonly sessionToken?: Redacted.Redacted | undefined
      }
    | undefined
}

/** Bytes of a part: of 10,000 parts, the most that there may be, an object of 80 GB. */
const defaultPartBytes = 8_388_608

/** How long an abort waits for the removal of its parts: a silent store does not hold up a shutdown. */
const abortMillis = 10_000

/** The store's refusal of a request. */
export class StoreRefusal extends Error {
  readonly status: number
  constructor(status: number, text: string) {
    super(text === "" ? `the store answered ${status}, and not in S3's words` : text)
    this.status = status
  }
}

/** Both libraries, or `NotInstalled`. */
const libraries = () =>
  Optional.load("@aws-sdk/client-s3", "object storage", () =>
    Optional.load("@aws-sdk/lib-storage", "object storage", async () => {
      const { Upload } = await import("@aws-sdk/lib-storage")
      return { Upload, aws: await import("@aws-sdk/client-s3") }
    })
  )

type Libraries = Awaited<ReturnType<typeof libraries>>

/** Checked here, because other errors would quote the URL with its password. */
const checkEndpoint = (text: string): void => {
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
}

const optionsOf = ({ aws }: Libraries, { credentials, endpoint, region }: ObjectStore): S3ClientConfig => ({
  maxAttempts: 4,
  requestHandler: {
    connectionTimeout: 10_000,
    // Until the response begins. Its body may then pause for ten minutes, for a slow reader.
    requestTimeout: 120_000,
    throwOnRequestTimeout: true,
    socketTimeout: 600_000
  },
  // A store that does not answer "100 Continue" would delay every part.
  expectContinueHeader: false,
  ...(credentials !== undefined && {
    credentials: {
      accessKeyId: credentials.accessKeyId,
      secretAccessKey: Redacted.value(credentials.secretAccessKey),
      ...(credentials.sessionToken !== undefined && { sessionToken: Redacted.value(credentials.sessionToken) })
    }
  }),
  ...(endpoint === undefined
    ? {
        region: region ?? (() => new aws.S3Client({}).config.region().catch(() => "us-east-1")),
        followRegionRedirects: true
      }
    : {
        endpoint,
        forcePathStyle: true,
        region: region ?? "us-east-1",
        // Not every store supports the checksums that AWS uses by default.
        requestChecksumCalculation: "WHEN_REQUIRED" as const,
        responseChecksumValidation: "WHEN_REQUIRED" as const
      })
})

interface Connection extends Libraries {
  readonly client: S3Client
}

/** One client for each store, so that a role's credentials are fetched once until they expire. */
const connections = new WeakMap<ObjectStore, Promise<Connection>>()

const connect = (store: ObjectStore): Promise<Connection> => {
  const known = connections.get(store)
  if (known !== undefined) return known
  const connecting = (async () => {
    if (store.endpoint !== undefined) checkEndpoint(store.endpoint)
    const loaded = await libraries()
    return { ...loaded, client: new loaded.aws.S3Client(optionsOf(loaded, store)) }
  })()
  connections.set(store, connecting)
  connecting.catch(() => connections.delete(store))
  return connecting
}

/** Rejects if the libraries or the credentials are missing; sends nothing to the store. */
export const checkCredentials = async (store: ObjectStore): Promise<void> => {
  const { client } = await connect(store)
  await client.config.credentials().catch((cause: unknown) => {
    throw withoutCredentials(cause)
  })
}

/** One object of a store. */
export class StoredObject {
  readonly #connection: Connection
  readonly #name: { readonly Bucket: string; readonly Key: string }

  private constructor(connection: Connection, { bucket, key }: ObjectUrl.ObjectUrl) {
    this.#connection = connection
    this.#name = { Bucket: bucket, Key: key }
  }

  static async at(store: ObjectStore, name: ObjectUrl.ObjectUrl): Promise<StoredObject> {
    return new StoredObject(await connect(store), name)
  }

  /** Whether it is there; `undefined` where that may not be asked. */
  async exists(): Promise<boolean | undefined> {
    try {
      return (await this.size()) !== undefined
    } catch (cause) {
      if (cause instanceof StoreRefusal) return undefined
      throw cause
    }
  }

  /** How many bytes it has; `undefined` where it is not there. Rejects where that may not be asked. */
  async size(): Promise<number | undefined> {
    const { aws, client } = this.#connection
    try {
      return (await client.send(new aws.HeadObjectCommand(this.#name)).catch(explain)).ContentLength ?? 0
    } catch (cause) {
      if (cause instanceof StoreRefusal && cause.status === 404) return undefined
      throw cause
    }
  }

  /** Its bytes, from `start` and before `end` if they are given. */
  async read(range?: { readonly start: number; readonly end: number }): Promise<Readable> {
    const { aws, client } = this.#connection
    const bytes = range === undefined ? {} : { Range: `bytes=${range.start}-${range.end - 1}` }
    const { Body } = await client.send(new aws.GetObjectCommand({ ...this.#name, ...bytes })).catch(explain)
    return Body instanceof Readable ? Body : Readable.from([])
  }

  /** Removes it, if it is there. */
  async remove(): Promise<void> {
    const { aws, client } = this.#connection
    try {
      await client.send(new aws.DeleteObjectCommand(this.#name)).catch(explain)
    } catch (cause) {
      if (!(cause instanceof StoreRefusal && cause.status === 404)) throw cause
    }
  }

  /** `replace`: whether it may take the place of one that is there. */
  upload(replace: boolean, partSize = defaultPartBytes): ObjectUpload {
    return beginUpload(this.#connection, replace ? this.#name : { ...this.#name, IfNoneMatch: "*" }, partSize)
  }
}

/** An object that is being written. */
export interface ObjectUpload {
  /** Takes the bytes. */
  readonly stream: Writable
  /** Makes the object appear, after the stream has ended; refused (412) if one is there that it may not replace. */
  readonly complete: () => Promise<void>
  /** Leaves nothing. */
  readonly abort: () => Promise<void>
}

const beginUpload = (
  { aws, client, Upload }: Connection,
  object: { readonly Bucket: string; readonly Key: string; readonly IfNoneMatch?: string },
  partSize: number
): ObjectUpload => {
  const stream = new PassThrough({ highWaterMark: 65_536 })
  const ended = new AbortController()
  const last = Promise.withResolvers<void>()
  last.promise.catch(() => {})
  // An upload is completed when its body ends, and aborted when its body fails.
  const body = async function* () {
    for await (const chunk of stream.iterator({ destroyOnReturn: false })) yield chunk
    await last.promise
  }
  // The beginning of an upload is not cancelled, since its id would be lost; nor is the removal of its parts.
  const lasting = [aws.CreateMultipartUploadCommand, aws.AbortMultipartUploadCommand]
  const cancellable: S3Client = Object.create(client, {
    send: {
      value: (command: Parameters<S3Client["send"]>[0]) =>
        client.send(command, lasting.some((one) => command instanceof one) ? {} : { abortSignal: ended.signal })
    }
  })
  const params = { ...object, Body: Readable.from(body(), { highWaterMark: 1 }) }
  const done = new Upload({ client: cancellable, params, partSize, queueSize: 1 }).done().catch(explain)
  done.catch((cause: unknown) => stream.destroy(cause instanceof Error ? cause : undefined))
  return {
    stream,
    complete: async () => {
      last.resolve()
      await done
    },
    abort: async () => {
      last.reject(new Error("the upload was aborted"))
      ended.abort()
      stream.destroy()
      await Promise.race([done.catch(() => {}), sleep(abortMillis, undefined, { ref: false })])
    }
  }
}

const withoutCredentials = (cause: unknown) =>
  new InvalidInput({
    field: "file",
    problem: `an object store asks for credentials, and there are none: ${printable(withoutPasswords(cause instanceof Error ? cause.message : ""))}`,
    remedy:
      "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, sign in to the profile of AWS_PROFILE, or give the machine a role"
  })

/** Rejects with a readable reason: the store's message, or what to do about the credentials. */
const explain = (cause: unknown): never => {
  if (!(cause instanceof Error)) throw cause
  const { $fault, $metadata, code } = cause as Error & Partial<S3ServiceException> & NodeJS.ErrnoException
  if (cause.name === "CredentialsProviderError" || cause.name === "TokenProviderError") throw withoutCredentials(cause)
  if ($metadata?.httpStatusCode !== undefined) {
    const isNamed = $fault !== undefined && !["", "UnknownError"].includes(cause.message)
    throw new StoreRefusal($metadata.httpStatusCode, isNamed ? `${cause.name}: ${cause.message}` : "")
  }
  if (cause.name === "TimeoutError" && code === undefined) throw new Error("the store does not answer", { cause })
  throw cause.message === "" && code !== undefined ? new Error(code, { cause }) : cause
}
