/**
 * Writes records to segments, and acknowledges them once they are on the disk.
 *
 * Group commit: while one write is being synced the next one gathers, so that many callers share an `fdatasync`. A segment is
 * sealed and handed on when it has `maxRecords` or is `maxAge` old.
 *
 * Owners and bounds: one fiber owns the open segment; at most `capacity` appends wait for it. Closing the scope writes what
 * waits and seals the segment. The segment lies in the writer's own directory, which nobody takes while the writer lives.
 *
 * Invariants:
 * - `append` succeeds only after its records were synced to a file that was still in its place.
 * - After a failed write or sync, nothing more is appended to that segment, because nobody knows how much reached the disk. It
 *   is cut back to what was acknowledged, and sealed; the next append begins a new one. So with a full or broken disk nothing
 *   is acknowledged, and the disk is used again as soon as it works.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import { randomUUID } from "node:crypto"
import { type FileHandle, open, stat } from "node:fs/promises"
import { join } from "node:path"
import type { UsageRecord } from "../domain/UsageRecord.ts"
import { isMissing, syncDirectory } from "../files/Files.ts"
import * as OwnDirectory from "./OwnDirectory.ts"
import * as Segment from "./Segment.ts"
import * as SpoolDirectory from "./SpoolDirectory.ts"
import { SpoolUnusable } from "./SpoolUnusable.ts"

export interface SealedSegment {
  readonly batch: SpoolDirectory.SealedBatch
  readonly records: ReadonlyArray<UsageRecord>
}

export interface SegmentWriter {
  /** Returns when the records are synced. `false`: the writer is closed. */
  readonly append: (records: ReadonlyArray<UsageRecord>) => Effect.Effect<boolean, SpoolUnusable>
  /** Seals the open segment unless it is empty; returns when it is handed on. */
  readonly seal: Effect.Effect<void>
}

export interface Options {
  readonly maxRecords: number
  readonly maxAge: Duration.Duration
  readonly capacity: number
  /** Told of a new segment's key before anybody else can see the segment. */
  readonly onBegin?: ((key: string) => void) | undefined
  /** Takes over a sealed segment. While it waits, appends wait too. */
  readonly onSealed: (segment: SealedSegment) => Effect.Effect<unknown>
  /** A substitute for the disk, in tests. */
  readonly io?: Io | undefined
}

/** What the writer asks of the file system. */
export interface Io {
  readonly create: (path: string) => Promise<SegmentFile>
}

type SegmentFile = Pick<FileHandle, "write" | "datasync" | "truncate" | "stat" | "close">

const nodeIo: Io = { create: (path) => open(path, "wx", 0o600) }

interface Append {
  readonly records: ReadonlyArray<UsageRecord>
  readonly settled: Deferred.Deferred<boolean, SpoolUnusable>
}

interface OpenSegment {
  readonly key: string
  readonly path: string
  readonly file: SegmentFile
  readonly records: Array<UsageRecord>
  readonly openedAt: number
  bytes: number
}

type Item = Append | { readonly seal: Deferred.Deferred<void> }

export const make = Effect.fnUntraced(function* (
  spool: SpoolDirectory.SpoolDirectory,
  options: Options
): Effect.fn.Return<SegmentWriter, never, Scope.Scope> {
  const io = options.io ?? nodeIo
  const queue = yield* Queue.make<Item, Cause.Done>({ capacity: options.capacity })
  let own: OwnDirectory.OwnDirectory | undefined
  let segment: OpenSegment | undefined
  let closed = false

  const attempt = SpoolUnusable.attempt(spool.path)

  const create = async (name: string) => {
    own ??= await OwnDirectory.make(spool.path)
    const path = join(own.path, name)
    const file = await io.create(path)
    try {
      await file.write(Segment.header)
      await syncDirectory(own.path)
    } catch (cause) {
      await file.close().catch(() => {})
      throw cause
    }
    return { path, file }
  }

  const begin = Effect.gen(function* () {
    const openedAt = yield* Clock.currentTimeMillis
    const key = randomUUID()
    const name = SpoolDirectory.segmentName(key)
    options.onBegin?.(key)
    const created = yield* attempt("making a segment", () =>
      create(name).catch(async (cause: unknown) => {
        // Somebody has removed the directory since the last segment.
        if (!isMissing(cause)) throw cause
        await own?.retire()
        own = undefined
        return create(name)
      })
    )
    segment = { key, ...created, records: [], openedAt, bytes: Segment.header.length }
    return segment
  })

  /** Closes the open segment and hands it on. An empty one is removed. */
  const sealOpen = Effect.gen(function* () {
    const current = segment
    if (current === undefined) return
    segment = undefined
    yield* Effect.promise(() => current.file.close().catch(() => {}))
    if (current.records.length === 0) {
      return yield* Effect.promise(() =>
        SpoolDirectory.remove({ kind: "segment", key: current.key, path: current.path })
      )
    }
    // If the disk cannot even rename it, the segment stays where it is: whoever retires the directory finds it.
    const sealed = yield* Effect.option(
      attempt("sealing a segment", () =>
        SpoolDirectory.seal(spool, current.path, current.key).catch((cause: unknown) => {
          if (!isMissing(cause)) throw cause
          // Somebody has removed it; what was acknowledged is still in memory.
          return SpoolDirectory.putSealed(spool, current.key, Segment.encodeAll(current.records))
        })
      )
    )
    const batch =
      sealed._tag === "Some" ? sealed.value : { kind: "segment" as const, key: current.key, path: current.path }
    yield* options.onSealed({ batch, records: current.records })
  })

  const writeAll = Effect.fnUntraced(function* (appends: ReadonlyArray<Append>) {
    const written = yield* Effect.result(
      Effect.gen(function* () {
        const current = segment ?? (yield* begin)
        const before = current.bytes
        let text = ""
        for (const { records } of appends) for (const record of records) text += Segment.encode(record)
        const data = Buffer.from(text, "utf8")
        yield* attempt("writing a segment", async () => {
          try {
            for (let offset = 0; offset < data.length;) {
              offset += (await current.file.write(data, offset, data.length - offset)).bytesWritten
            }
            await current.file.datasync()
            if (!(await isInPlace(current))) throw new Error(`somebody has removed ${current.path} or its directory`)
          } catch (cause) {
            await current.file.truncate(before).catch(() => {})
            throw cause
          }
        })
        current.bytes += data.length
        for (const { records } of appends) for (const record of records) current.records.push(record)
      })
    )
    for (const { settled } of appends) {
      Deferred.doneUnsafe(settled, written._tag === "Success" ? Exit.succeed(true) : Exit.fail(written.failure))
    }
    if (written._tag === "Failure" || (segment !== undefined && segment.records.length >= options.maxRecords))
      yield* sealOpen
  })

  /** How long the open segment may wait for more; `undefined` if none is open. */
  const remaining = Effect.gen(function* () {
    if (segment === undefined) return undefined
    const now = yield* Clock.currentTimeMillis
    // A clock that was set back must not keep a segment open.
    const age = Math.abs(now - segment.openedAt)
    return Math.max(0, Duration.toMillis(options.maxAge) - age)
  })

  const turn = Effect.gen(function* () {
    const millis = yield* remaining
    if (millis !== undefined) {
      // Nothing is taken while waiting: an item in a fiber that loses a race would be lost.
      const more = yield* Effect.timeoutOption(Queue.peek(queue), Duration.millis(millis))
      if (more._tag === "None") return yield* sealOpen
    }
    const items = yield* Queue.takeBetween(queue, 1, Math.max(1, options.maxRecords - (segment?.records.length ?? 0)))
    const appends = items.filter((item): item is Append => "records" in item)
    if (appends.length > 0) yield* writeAll(appends)
    const seals = items.filter((item) => "seal" in item)
    if (seals.length > 0) yield* sealOpen
    for (const { seal } of seals) Deferred.doneUnsafe(seal, Exit.void)
  })

  const fiber = yield* Effect.forkScoped(Effect.ignore(Effect.forever(turn)))
  yield* Effect.addFinalizer(() =>
    Effect.gen(function* () {
      closed = true
      yield* Queue.end(queue)
      yield* Fiber.await(fiber)
      yield* sealOpen
      yield* Effect.promise(async () => own?.retire().catch(() => {}))
    })
  )

  return {
    append: (records) =>
      // An interrupted caller has either handed its records over or not begun to.
      Effect.uninterruptibleMask((restore) => {
        if (closed) return Effect.succeed(false)
        const settled = Deferred.makeUnsafe<boolean, SpoolUnusable>()
        return Effect.flatMap(Queue.offer(queue, { records, settled }), (accepted) =>
          accepted ? restore(Deferred.await(settled)) : Effect.succeed(false)
        )
      }),
    seal: Effect.suspend(() => {
      const seal = Deferred.makeUnsafe<void>()
      return Effect.flatMap(Queue.offer(queue, { seal }), (accepted) => (accepted ? Deferred.await(seal) : Effect.void))
    })
  }
})

/** Whether a segment's file is still the one at its path. */
const isInPlace = async ({ file, path }: OpenSegment): Promise<boolean> => {
  const [written, found] = await Promise.all([
    file.stat(),
    stat(path).catch((cause: unknown) => {
      if (!isMissing(cause)) throw cause
      return undefined
    })
  ])
  return found !== undefined && found.ino === written.ino && found.dev === written.dev
}
