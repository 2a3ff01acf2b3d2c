/** The destination of an export: a file or an object, whole or not at all, or the caller's stream. */
import * as Effect from "effect/Effect"
import type { Writable } from "node:stream"
import type { InvalidInput } from "../domain/InvalidInput.ts"
import * as NewFile from "../files/NewFile.ts"
import { isObjectUrl } from "../files/ObjectUrl.ts"
import type { ObjectStore } from "../files/S3.ts"
import * as Storage from "../files/Storage.ts"
import { type Compression, Sink } from "../files/Sink.ts"

/**
 * - `file`: a path, or `s3://bucket/key` in the store of `ObjectStorage`; an existing one is replaced only with `force`
 * - `stream`: is left open; after a failure it has received what was written before
 *
 * @since 0.1.0
 */
export type Destination =
  | { readonly file: string; readonly force?: boolean | undefined }
  | { readonly stream: Writable; readonly name?: string | undefined }

/** An export under way. `place` makes it visible; `discard` leaves nothing. */
export interface Output {
  readonly name: string
  readonly sink: Sink
  readonly place: Effect.Effect<void, InvalidInput | NewFile.Unwritable>
  readonly discard: Effect.Effect<void>
}

type OutputEffect = Effect.Effect<Output, InvalidInput | NewFile.Unwritable>

/** Checks the destination before anything is read. */
export const check = Effect.fnUntraced(function* (store: ObjectStore | undefined, destination: Destination) {
  if (!("file" in destination)) return
  const { file, force } = destination
  if (!isObjectUrl(file)) return yield* NewFile.check("file", file, force === true, "usage.csv")
  yield* Storage.check(store, file)
  const catchCause = { catch: (cause: unknown) => NewFile.refusalOf("file", file, cause) }
  const exists = yield* Effect.tryPromise({ try: () => Storage.exists(store, file), ...catchCause })
  if (exists === true && force !== true) return yield* NewFile.exists("file", file)
})

export const open = (
  store: ObjectStore | undefined,
  destination: Destination,
  compression: Compression | undefined
): OutputEffect =>
  "file" in destination
    ? openFile(store, destination.file, destination.force === true, compression)
    : openStream(destination.stream, destination.name ?? "the stream", compression)

const openFile = (
  store: ObjectStore | undefined,
  file: string,
  force: boolean,
  compression: Compression | undefined
): OutputEffect => openPending(file, () => Storage.begin(store, file, force), compression)

/** A file in a hidden directory. */
export const openHidden = (file: string, compression: Compression | undefined): OutputEffect =>
  openPending(file, () => Storage.beginHidden(file), compression)

const openPending = (
  file: string,
  begin: () => Promise<Storage.Pending>,
  compression: Compression | undefined
): OutputEffect => {
  const catchCause = { catch: (cause: unknown) => NewFile.refusalOf("file", file, cause) }
  return Effect.map(Effect.tryPromise({ try: begin, ...catchCause }), (pending) => {
    const sink = new Sink(pending.stream, compression, true)
    return {
      name: file,
      sink,
      place: Effect.andThen(
        Effect.tryPromise({ try: () => sink.end(), ...catchCause }),
        Effect.uninterruptible(Effect.tryPromise({ try: () => pending.place(), ...catchCause }))
      ),
      discard: Effect.ignore(
        Effect.tryPromise(async () => {
          sink.destroy()
          await pending.discard()
        })
      )
    }
  })
}

const openStream = (stream: Writable, name: string, compression: Compression | undefined): OutputEffect =>
  Effect.sync(() => {
    const sink = new Sink(stream, compression, false)
    return {
      name,
      sink,
      place: Effect.tryPromise({
        try: () => sink.end(),
        catch: (cause) => NewFile.Unwritable.of(name, cause)
      }),
      discard: Effect.sync(() => sink.destroy())
    }
  })
