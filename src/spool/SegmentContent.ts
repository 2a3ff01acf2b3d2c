/**
 * The content of a segment: its records, and a dead letter for each frame that the disk has damaged.
 *
 * A damaged frame is kept on disk too: a dead letter holds only so much, and the frame may be half a disk block.
 */
import * as Effect from "effect/Effect"
import type { UsageRecord } from "../domain/UsageRecord.ts"
import type { NewDeadLetter } from "../ledger/DeadLetterStore.ts"
import * as Broken from "./Broken.ts"
import * as Segment from "./Segment.ts"
import { readSegment, type SealedBatch } from "./SpoolDirectory.ts"
import { SpoolUnusable } from "./SpoolUnusable.ts"

export interface SegmentContent {
  readonly records: ReadonlyArray<UsageRecord>
  readonly letters: ReadonlyArray<NewDeadLetter>
}

/** Reads a segment of the spool at `path`; `undefined` if somebody else has stored and removed it. */
export const read = Effect.fnUntraced(function* (
  path: string,
  batch: SealedBatch
): Effect.fn.Return<SegmentContent | undefined, SpoolUnusable> {
  const onDisk = SpoolUnusable.attempt(path)
  const data = yield* onDisk("reading a segment", () => readSegment(batch))
  if (data === undefined) return undefined
  const { broken, records } = Segment.decode(data)
  const damaged = broken.filter((frame) => !frame.torn)
  for (const { content, offset } of damaged) {
    yield* onDisk("keeping a damaged frame", () => Broken.keepBytes(path, batch.key, offset, content))
  }
  return { records, letters: damaged.map(({ content, offset }) => letterOf(batch, offset, content)) }
})

const letterOf = ({ key }: SealedBatch, offset: number, content: Uint8Array): NewDeadLetter => ({
  source: `spool ${key}`,
  place: `byte ${offset}`,
  field: "frame",
  problem: `${content.length} bytes are damaged: their checksum does not fit`,
  remedy: "The disk has changed them; what is left of them is in the spool's broken folder",
  content
})
