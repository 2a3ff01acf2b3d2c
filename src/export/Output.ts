/** Where an export goes: a file or an object, whole or not at all, or a stream of the caller's. */
import * as Effect from "effect/Effect"
import type { FileHandle } from "node:fs/promises"
import { Writable } from "node:stream"
import type { InvalidInput } from "../domain/InvalidInput.ts"
import * as ObjectUrl from "./ObjectUrl.ts"
import { type ObjectStore, ObjectUpload, Refusal } from "./S3.ts"
import * as NewFile from "../internal/NewFile.ts"
import { begin } from "../system/Files.ts"
import { type Compression, highWaterMark, Sink } from "./Sink.ts"

/**
 * - `file`: a path; a file that is there is replaced only with `force`
 * - `object`: `s3://bucket/key` in a store; as a file, it is there whole or not at all, and replaced only with `force`
 * - `stream`: it is left open, and gets what there is until something fails
 *
 * @since 0.1.0
 */
export type Destination =
  | { readonly file: string; readonly force?: boolean | undefined }
  | { readonly object: string; readonly store: ObjectStore; readonly force?: boolean | undefined }
  | { readonly stream: Writable; readonly name?: string | undefined }

/** An export under way. `place` makes it visible; `discard` leaves nothing. */
export interface Output {
  readonly name: string
  readonly sink: Sink
  readonly place: Effect.Effect<void, InvalidInput | NewFile.Unwritable>
  readonly discard: Effect.Effect<void>
}

type OutputEffect = Effect.Effect<Output, InvalidInput | NewFile.Unwritable>

/** Looks whether an export may go there, before anything is read for it. */
export const check = (destination: Destination): Effect.Effect<void, InvalidInput | NewFile.Unwritable> => {
  if ("file" in destination) {
    return NewFile.check("file", destination.file, destination.force === true, "usage.csv")
  }
  return "object" in destination && destination.force !== true ? checkObject(destination) : Effect.void
}

export const open = (destination: Destination, compression: Compression | undefined): OutputEffect => {
  if ("file" in destination) return openFile(destination.file, destination.force === true, compression)
  if ("object" in destination) return openObject(destination, compression)
  return openStream(destination.stream, destination.name ?? "the stream", compression)
}

/** What its name says of an export that goes there. */
export const nameOf = (destination: Destination): string =>
  "file" in destination ? destination.file : "object" in destination ? destination.object : ""

export const openFile = (file: string, force: boolean, compression: Compression | undefined): OutputEffect => {
  const catchCause = { catch: (cause: unknown) => NewFile.refusalOf("file", file, cause) }
  return Effect.map(Effect.tryPromise({ try: () => begin(file), ...catchCause }), (pending) => {
    const sink = new Sink(fileStream(pending.handle), compression, true)
    return {
      name: file,
      sink,
      place: Effect.andThen(
        Effect.tryPromise({ try: () => sink.end(), ...catchCause }),
        Effect.uninterruptible(Effect.tryPromise({ try: () => pending.place(force), ...catchCause }))
      ),
      discard: Effect.promise(async () => {
        sink.destroy()
        await pending.discard()
      })
    }
  })
}

/** Writes to a file that whoever opened it syncs and closes. */
const fileStream = (handle: FileHandle): Writable =>
  new Writable({
    highWaterMark,
    decodeStrings: true,
    write: (chunk: Buffer, _encoding, done) => void handle.writeFile(chunk).then(() => done(), done),
    writev: (chunks: ReadonlyArray<{ readonly chunk: Buffer }>, done) =>
      void handle.writeFile(Buffer.concat(chunks.map(({ chunk }) => chunk))).then(() => done(), done)
  })

const openStream = (stream: Writable, name: string, compression: Compression | undefined): OutputEffect =>
  Effect.sync(() => {
    const sink = new Sink(stream, compression, false)
    return {
      name,
      sink,
      place: Effect.tryPromise({
        try: () => sink.end(),
        catch: (cause) => new NewFile.Unwritable({ file: name, cause })
      }),
      discard: Effect.sync(() => sink.destroy())
    }
  })

type ObjectDestination = Extract<Destination, { readonly object: string }>

const uploadOf = Effect.fnUntraced(function* ({ force, object, store }: ObjectDestination) {
  const url = yield* Effect.fromResult(ObjectUrl.parse(object))
  return yield* Effect.tryPromise({
    try: () => ObjectUpload.open(store, url, { replace: force === true }),
    catch: (cause) => new NewFile.Unwritable({ file: object, cause })
  })
})

const objectRefusal = (object: string, cause: unknown) =>
  cause instanceof Refusal && cause.status === 412
    ? NewFile.refusalOf("file", object, Object.assign(new Error("exists"), { code: "EEXIST" }))
    : new NewFile.Unwritable({ file: object, cause })

const checkObject = Effect.fnUntraced(function* (destination: ObjectDestination) {
  const upload = yield* uploadOf(destination)
  const exists = yield* Effect.tryPromise({
    try: () => upload.exists(),
    catch: (cause) => objectRefusal(destination.object, cause)
  })
  if (exists === true) return yield* objectRefusal(destination.object, new Refusal(412, ""))
})

const openObject = (destination: ObjectDestination, compression: Compression | undefined): OutputEffect =>
  Effect.map(uploadOf(destination), (upload) => {
    const sink = new Sink(upload.stream, compression, true)
    const catchCause = { catch: (cause: unknown) => objectRefusal(destination.object, cause) }
    return {
      name: destination.object,
      sink,
      place: Effect.andThen(
        Effect.tryPromise({ try: () => sink.end(), ...catchCause }),
        Effect.tryPromise({ try: () => upload.complete(), ...catchCause })
      ),
      discard: Effect.ignore(
        Effect.tryPromise(async () => {
          sink.destroy()
          await upload.abort()
        })
      )
    }
  })
