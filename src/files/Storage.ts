/**
 * Whole files by name: a path is on the disk, `s3://bucket/key` in an object store. A file appears whole or not at all, and
 * replaces another only if it may.
 */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { constants, type FileHandle, lstat, open, rm, stat } from "node:fs/promises"
import { type Readable, Writable } from "node:stream"
import { InvalidInput } from "../domain/InvalidInput.ts"
import { NotInstalled } from "../domain/NotInstalled.ts"
import * as Settings from "../system/Settings.ts"
import { begin as beginFile, beginHidden as beginHiddenFile, isMissing } from "./Files.ts"
import * as ObjectUrl from "./ObjectUrl.ts"
import { checkCredentials, type ObjectStore, StoreRefusal, StoredObject } from "./S3.ts"

/**
 * The object store that `s3://…` refers to; none unless a layer provides one. Exports and archives take it when their layer is
 * built.
 *
 * @since 0.1.0
 */
export const ObjectStorage = Context.Reference<ObjectStore | undefined>("effect-usage/ObjectStorage", {
  defaultValue: () => undefined
})

const given = (...texts: ReadonlyArray<Option.Option<string>>) =>
  texts.map(Option.getOrUndefined).find((text) => text !== undefined && text !== "")

/** The object store configured by the environment. */
export const configured: Effect.Effect<ObjectStore, Config.ConfigError> = Effect.map(
  Settings.objectStore,
  ({ accessKeyId, anyEndpoint, defaultRegion, endpoint, region, secretAccessKey, sessionToken }) => ({
    endpoint: given(endpoint, anyEndpoint),
    region: given(region, defaultRegion),
    credentials: Option.getOrUndefined(
      Option.map(Option.all({ accessKeyId, secretAccessKey }), (key) => ({
        ...key,
        sessionToken: Option.getOrUndefined(sessionToken)
      }))
    )
  })
)

/**
 * The object store configured by AWS's own variables: `AWS_REGION`, `AWS_ENDPOINT_URL_S3` if it is another's, and the key
 * `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`. Without a key AWS's client looks for one: profiles, SSO, and the role
 * of the pod, the task or the machine.
 *
 * @since 0.1.0
 */
export const layerObjectStorageConfig: Layer.Layer<never, Config.ConfigError> = Layer.effect(ObjectStorage, configured)

/** Refuses a malformed object name, and any where no store or no credentials for it are known. */
export const check = (store: ObjectStore | undefined, name: string): Effect.Effect<void, InvalidInput | NotInstalled> =>
  ObjectUrl.isObjectUrl(name)
    ? Effect.flatMap(Effect.fromResult(urlOf(store, name)), ([known]) =>
        Effect.catchDefect(
          Effect.promise(() => checkCredentials(known)),
          (cause) =>
            cause instanceof InvalidInput || cause instanceof NotInstalled ? Effect.fail(cause) : Effect.die(cause)
        )
      )
    : Effect.void

/** A file being written, not visible yet. End `stream` before `place`. */
export interface Pending {
  readonly stream: Writable
  /** Gives it its name, durably; rejects with the code `EEXIST` rather than replace another, unless it may. */
  readonly place: () => Promise<void>
  /** Discards it. */
  readonly discard: () => Promise<void>
}

/** Bytes buffered before a write waits. */
export const highWaterMark = 262_144

/** Begins a file in a directory that is not visible yet. */
export const beginHidden = async (file: string): Promise<Pending> => {
  const { discard, handle, place } = await beginHiddenFile(file)
  return { stream: fileStream(handle), place: () => place(false), discard }
}

/** Begins a file. `replace`: whether it may replace an existing one. */
export const begin = async (store: ObjectStore | undefined, name: string, replace: boolean): Promise<Pending> => {
  if (ObjectUrl.isObjectUrl(name)) {
    const upload = (await objectAt(store, name)).upload(replace)
    return {
      stream: upload.stream,
      place: () =>
        upload.complete().catch((cause: unknown) => {
          throw cause instanceof StoreRefusal && cause.status === 412 ? isThere(name) : cause
        }),
      discard: () => upload.abort()
    }
  }
  const { discard, handle, place } = await beginFile(name)
  return { stream: fileStream(handle), place: () => place(replace), discard }
}

/** Whether the name exists; `undefined` where asking is not permitted. */
export const exists = async (store: ObjectStore | undefined, name: string): Promise<boolean | undefined> => {
  if (ObjectUrl.isObjectUrl(name)) return (await objectAt(store, name)).exists()
  return lstat(name).then(
    () => true,
    (cause: unknown) => {
      if (isMissing(cause)) return false
      throw cause
    }
  )
}

/** The size of a file in bytes; `undefined` if it does not exist. */
export const size = async (store: ObjectStore | undefined, name: string): Promise<number | undefined> => {
  if (ObjectUrl.isObjectUrl(name)) return (await objectAt(store, name)).size()
  return stat(name).then(
    (found) => found.size,
    (cause: unknown) => {
      if (isMissing(cause)) return undefined
      throw cause
    }
  )
}

/** The bytes of a file, or those in [`start`, `end`). */
export const read = async (
  store: ObjectStore | undefined,
  name: string,
  range?: { readonly start: number; readonly end: number }
): Promise<Readable> => {
  if (ObjectUrl.isObjectUrl(name)) return (await objectAt(store, name)).read(range)
  // Opened here, so that a missing file rejects; and without waiting for the writer of a pipe.
  const handle = await open(name, constants.O_RDONLY | constants.O_NONBLOCK)
  if (!(await handle.stat()).isFile()) {
    await handle.close()
    throw new Error("it is no regular file")
  }
  return range === undefined
    ? handle.createReadStream()
    : handle.createReadStream({ start: range.start, end: range.end - 1 })
}

/** Removes a file, if it exists. */
export const remove = async (store: ObjectStore | undefined, name: string): Promise<void> => {
  if (!ObjectUrl.isObjectUrl(name)) return rm(name, { force: true })
  await (await objectAt(store, name)).remove()
}

/** Writes a small file, replacing any other. */
export const write = async (store: ObjectStore | undefined, name: string, text: string): Promise<void> => {
  const pending = await begin(store, name, true)
  try {
    await new Promise<void>((resolve, reject) => {
      pending.stream.on("error", reject)
      pending.stream.end(text, () => resolve())
    })
  } catch (cause) {
    await pending.discard()
    throw cause
  }
  await pending.place()
}

const isThere = (name: string) => Object.assign(new Error(`${name} exists`), { code: "EEXIST" })

const urlOf = (
  store: ObjectStore | undefined,
  name: string
): Result.Result<readonly [ObjectStore, ObjectUrl.ObjectUrl], InvalidInput> =>
  store === undefined
    ? Result.fail(
        new InvalidInput({
          field: "file",
          problem: "no object store is known",
          remedy: "Provide ObjectStorage, as layerObjectStorageConfig does, or give a path"
        })
      )
    : Result.map(ObjectUrl.parse(name), (url) => [store, url])

const objectAt = async (store: ObjectStore | undefined, name: string): Promise<StoredObject> =>
  StoredObject.at(...Result.getOrThrow(urlOf(store, name)))

/** Writes to a file that its opener syncs and closes. */
const fileStream = (handle: FileHandle): Writable =>
  new Writable({
    highWaterMark,
    decodeStrings: true,
    write: (chunk: Buffer, _encoding, done) => void handle.writeFile(chunk).then(() => done(), done),
    writev: (chunks: ReadonlyArray<{ readonly chunk: Buffer }>, done) =>
      void handle.writeFile(Buffer.concat(chunks.map(({ chunk }) => chunk))).then(() => done(), done)
  })
