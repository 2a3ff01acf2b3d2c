/**
 * The parts of a file in order: those imported before, and new chunks.
 *
 * A place in a file is identified by a digest of all content before it, of the format, and of the options that change what lines
 * mean. At each place the chunks that once began there are looked up. If the bytes of one come next it is skipped; otherwise a new
 * chunk is cut. So a file is recognised by its content: under another name, compressed, grown, or cut short. One that lost its
 * beginning is another file.
 *
 * - An unended last line is a chunk of its own. If it has grown since, its chunk is not recognised and the whole line is read; but
 *   if its first part was counted as a record, the line is refused, since it would count twice.
 * - Content that ends inside an imported chunk is recognised by the checksums of its lines.
 * - After the first unknown chunk nothing is looked up any more, until another process turns out to be importing the same file.
 */
import * as Effect from "effect/Effect"
import { createHash, type Hash } from "node:crypto"
import type { DatabaseError } from "../database/DatabaseError.ts"
import { InvalidInput } from "../domain/InvalidInput.ts"
import type { ImportStore, KnownChunk } from "./ImportStore.ts"
import { type Cut, type FileFormat, maxChunkBytes, maxLineBytes } from "./FileFormat.ts"
import * as Lines from "./Lines.ts"
import type { ByteWindow } from "./ByteWindow.ts"

/**
 * A place in a file.
 *
 * - `offset`, `line`: bytes and lines before it
 * - `open`: bytes before it of an unended line
 */
export interface Place {
  readonly offset: number
  readonly line: number
  readonly open: number
  readonly hash: Hash
  readonly digest: string
}

/** `isEmpty`: nothing in it was usage. */
export type Part =
  | { readonly kind: "known"; readonly from: Place; readonly to: Place; readonly isEmpty: boolean }
  | {
      readonly kind: "new"
      readonly from: Place
      readonly to: Place
      readonly variant: number
      readonly content: Buffer
      readonly cut: Cut
    }
  | { readonly kind: "end"; readonly failure: Error | undefined }

export interface Parts {
  /** The next part, in which a new chunk has at most so many lines. It goes on after it. */
  readonly next: (maxLines: number) => Effect.Effect<Part, DatabaseError>
  /** Goes back to where a part began, and looks up what is known from there on. */
  readonly rewind: (place: Place) => void
  /** Looks up again what is known. */
  readonly lookAgain: () => void
}

/** Chunks that are read ahead along the chain of a file. From the beginning, which all files share, it is one. */
const readAhead = 256

/** Bytes that a chunk is first cut from; more where its lines are long. */
const firstWanted = 1_048_576

const lineFeed = 0x0a
const carriageReturn = 0x0d

const counted = new InvalidInput({
  field: "line",
  problem: "has grown since an earlier import counted its first part",
  remedy: "Correct the record of that part by hand; import logs whose last line is complete"
})

/** The parts of what is in `window`. `options` are those that change what lines mean. */
export const make = (
  window: ByteWindow,
  format: FileFormat,
  imports: ImportStore["Service"],
  options: { readonly [name: string]: string | undefined }
): Parts => {
  const hash = createHash("sha256").update(`${JSON.stringify(["effect-usage import", 1, options])}\n`)
  let place: Place = { offset: 0, line: 0, open: 0, hash, digest: digestOf(hash) }
  let looking = true
  let known = new Map<string, Array<KnownChunk>>()
  let wanted = firstWanted

  const ensure = (count: number) => Effect.promise(() => window.ensure(count))

  const placeAfter = (content: Buffer, lines: number): Place => {
    const hash = place.hash.copy().update(content)
    const last = content.lastIndexOf(lineFeed)
    return {
      offset: place.offset + content.length,
      line: place.line + lines,
      open: last < 0 ? place.open + content.length : content.length - 1 - last,
      hash,
      digest: digestOf(hash)
    }
  }

  const moveTo = (to: Place) => {
    place = to
    window.position = to.offset
  }

  const lookUp = Effect.fnUntraced(function* () {
    const there = known.get(place.digest)
    if (there !== undefined) return there
    known = new Map()
    for (const chunk of yield* imports.known(place.digest, place.offset === 0 ? 1 : readAhead)) {
      const others = known.get(chunk.digestBefore)
      if (others === undefined) known.set(chunk.digestBefore, [chunk])
      else others.push(chunk)
    }
    return known.get(place.digest) ?? []
  })

  /** Whether a line that the content leaves unended is ended by what follows. */
  const isEnded = (content: Buffer, after: Buffer): boolean => {
    const last = content.lastIndexOf(lineFeed)
    const open = last < 0 ? place.open + content.length : content.length - 1 - last
    if (open === 0 || open > maxLineBytes || after.length === 0) return true
    return after[0] === lineFeed || (after[0] === carriageReturn && (after.length === 1 || after[1] === lineFeed))
  }

  /** The longest of the chunks that comes next in the file. */
  const recognise = Effect.fnUntraced(function* (candidates: ReadonlyArray<KnownChunk>) {
    const longest = candidates.reduce((length, chunk) => Math.max(length, chunk.bytes), 0)
    yield* ensure(longest + 2)
    const view = window.view(longest + 2)
    const hash = place.hash.copy()
    let hashed = 0
    let found: KnownChunk | undefined
    let grown: KnownChunk | undefined
    for (const chunk of candidates.toSorted((a, b) => a.bytes - b.bytes)) {
      if (chunk.bytes > view.length) break
      hash.update(view.subarray(hashed, chunk.bytes))
      hashed = chunk.bytes
      if (digestOf(hash) !== chunk.digestAfter) continue
      if (isEnded(view.subarray(0, chunk.bytes), view.subarray(chunk.bytes))) found = chunk
      else grown = chunk
    }
    return { found, grown, longest }
  })

  /** Cuts a chunk from as many bytes as it needs. */
  const cut = Effect.fnUntraced(function* (maxLines: number) {
    for (;;) {
      yield* ensure(wanted + 1)
      const view = window.view(wanted)
      const found = format.cut(view, {
        ended: window.ended && window.failure === undefined && window.available === view.length,
        atStart: place.offset === 0,
        open: place.open,
        maxLines
      })
      if (found.pieces.length === maxLines || window.available <= wanted || wanted === maxChunkBytes) return found
      // Lines are longer than expected.
      wanted = Math.min(2 * wanted, maxChunkBytes)
    }
  })

  const next = Effect.fnUntraced(function* (maxLines: number): Effect.fn.Return<Part, DatabaseError> {
    yield* ensure(1)
    if (window.available === 0) return { kind: "end", failure: window.failure }
    const from = place
    let variant = 0
    let grown: KnownChunk | undefined
    if (looking) {
      const candidates = yield* lookUp()
      variant = candidates.reduce((variant, chunk) => Math.max(variant, chunk.variant + 1), 0)
      const recognised = yield* recognise(candidates)
      grown = recognised.grown
      const { found } = recognised
      const whole = window.ended && window.failure === undefined
      if (found !== undefined) moveTo(placeAfter(window.view(found.bytes), found.lines))
      else if (whole && recognised.longest > window.available) {
        const rest = window.view(window.available)
        const lineSums = Lines.sums(rest)
        if (lineSums.length > 0 && (yield* imports.covers(place.digest, lineSums))) {
          const unended = rest.at(-1) === lineFeed ? 0 : 1
          moveTo(placeAfter(rest, Lines.countEnds(rest, 0, rest.length) + unended - (place.open > 0 ? 1 : 0)))
        }
      }
      if (place !== from) return { kind: "known", from, to: place, isEmpty: found?.records === 0 }
      looking = candidates.length > 0
    }
    const found = yield* cut(maxLines)
    if (found.bytes === 0) return { kind: "end", failure: window.failure }
    const content = window.view(found.bytes)
    moveTo(placeAfter(content, found.lines))
    const part = { kind: "new" as const, from, to: place, variant, content, cut: found }
    if (grown === undefined || grown.records === 0 || found.pieces.length === 0) return part
    const [first, ...others] = found.pieces
    return { ...part, cut: { ...found, pieces: [{ ...first!, refusal: counted }, ...others] } }
  })

  return {
    next,
    rewind: (to) => {
      moveTo(to)
      looking = true
      known = new Map()
    },
    lookAgain: () => {
      looking = true
      known = new Map()
    }
  }
}

const digestOf = (hash: Hash): string => hash.copy().digest("hex")
