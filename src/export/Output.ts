/** Where an export goes: a file, whole or not at all, or a stream of the caller's. */
import * as Effect from "effect/Effect"
import type { FileHandle } from "node:fs/promises"
import { Writable } from "node:stream"
import type { InvalidInput } from "../domain/InvalidInput.ts"
import * as NewFile from "../internal/NewFile.ts"
import { begin } from "../system/Files.ts"
import { type Compression, highWaterMark, Sink } from "./Sink.ts"

/**
 * - `file`: a path; a file that is there is replaced only with `force`
 * - `stream`: it is left open, and gets what there is until something fails
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

/** Looks whether an export may go there, before anything is read for it. */
export const check = (destination: Destination): Effect.Effect<void, InvalidInput | NewFile.Unwritable> =>
  "file" in destination ? NewFile.check("file", destination.file, destination.force === true, "usage.csv") : Effect.void

export const open = (destination: Destination, compression: Compression | undefined): OutputEffect =>
  "file" in destination
    ? openFile(destination.file, destination.force === true, compression)
    : openStream(destination.stream, destination.name ?? "the stream", compression)

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
