/**
 * Reads claims of the inbox. Files that were claimed together are one batch; of a file that was claimed alone, each chunk is
 * a batch. Their keys are the same whenever a claim is read.
 *
 * A file that does not contain usage is kept aside, and one dead letter says so. The verdict is written first, and binds
 * whoever reads the claim again (see `Broken`).
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import { join } from "node:path"
import type { DatabaseError } from "../database/DatabaseError.ts"
import type { UsageRecord } from "../domain/UsageRecord.ts"
import { isMissing } from "../files/Files.ts"
import type { NewDeadLetter } from "../ledger/DeadLetterStore.ts"
import { derivedKey } from "../ledger/DerivedKey.ts"
import type { Intake } from "../ledger/Intake.ts"
import * as Broken from "./Broken.ts"
import * as Inbox from "./Inbox.ts"
import * as InboxLines from "./InboxLines.ts"
import type { SealedBatch, SpoolDirectory } from "./SpoolDirectory.ts"
import { SpoolUnusable } from "./SpoolUnusable.ts"

/** Stores a batch. */
type Store = (
  key: string,
  records: ReadonlyArray<UsageRecord>,
  letters: ReadonlyArray<NewDeadLetter>
) => Effect.Effect<void, DatabaseError>

type Take = (part: InboxLines.Part) => Effect.Effect<void, DatabaseError>

/** How reading a file ended: `undefined` at its end; `gone`: somebody else has stored and removed the claim. */
type Outcome = Broken.Verdict | "gone" | undefined

export const make = ({ path: spool }: SpoolDirectory, intake: Intake) => {
  const onDisk = SpoolUnusable.attempt(spool)

  const openFile = (file: string, isAlone: boolean) =>
    Effect.acquireRelease(
      onDisk("opening a file of the inbox", () => Inbox.openFile(file, isAlone)),
      ({ handle, window }) =>
        Effect.promise(() => {
          window.close()
          return handle.close().catch(() => {})
        })
    )

  const judge = (batch: SealedBatch, verdict: Broken.Verdict) =>
    Effect.as(
      onDisk("keeping a file aside", async () => {
        await Broken.judge(spool, batch.key, verdict)
        if (verdict.kept === "whole") await Broken.keep(spool, batch, verdict.file)
      }),
      verdict
    )

  /** Keeps aside the part of a file that was given up. */
  const setAside = Effect.fnUntraced(function* (
    batch: SealedBatch,
    name: string,
    file: Inbox.OpenFile,
    { from, isReadable, line, part, problem }: InboxLines.GivenUp
  ) {
    const verdict = { file: name, from, line, problem }
    if (!isReadable) return yield* judge(batch, { ...verdict, kept: "whole" })
    const isWhole = part.offset === 0 && part.records.length === 0 && part.letters.length === 0
    const lines = yield* onDisk("keeping a file aside", () =>
      isWhole
        ? InboxLines.rest(file, from, async () => {})
        : Broken.keepRest(spool, batch.key, name, (write) => InboxLines.rest(file, from, write))
    )
    return yield* judge(batch, {
      ...verdict,
      kept: isWhole ? "whole" : "rest",
      problem: `${lines} lines are not read: ${problem}`
    })
  })

  /** Reads a file of a claim, as far as an earlier verdict allows. */
  const readFile = Effect.fnUntraced(function* (
    batch: SealedBatch,
    name: string,
    before: Broken.Verdict | undefined,
    take: Take
  ): Effect.fn.Return<Outcome, DatabaseError | SpoolUnusable, Scope.Scope> {
    if (before?.kept === "whole") return yield* judge(batch, before)
    const opened = yield* Effect.result(openFile(join(batch.path, name), batch.kind === "file"))
    if (Result.isFailure(opened)) {
      const { cause } = opened.failure
      if (isMissing(cause)) return "gone"
      if (!(cause instanceof Inbox.Unreadable)) return yield* opened.failure
      return yield* judge(batch, { file: name, kept: "whole", from: 0, line: 1, problem: cause.message })
    }
    const file = opened.success
    const givenUp = yield* InboxLines.read({ name, file, intake, until: before?.from ?? Infinity }, take)
    if (givenUp === undefined) return undefined
    const verdict = before ?? (yield* setAside(batch, name, file, givenUp))
    yield* take(givenUp.part)
    return verdict
  }, Effect.scoped)

  const letterOf = (batch: SealedBatch, { file, kept, line, problem }: Broken.Verdict): NewDeadLetter => {
    const piece = Broken.pieceOf(spool, batch.key, file)
    const again = kept === "whole" && line > 1 ? `from line ${line} on` : "under a name that ends in .ndjson"
    return {
      source: `spool ${file}`,
      place: `line ${line}`,
      field: "file",
      problem,
      remedy: `Look at ${piece}, where it is kept, mend it, and move it into the inbox again, ${again}`,
      content: Buffer.from(piece)
    }
  }

  const readTogether = Effect.fnUntraced(function* (batch: SealedBatch, names: ReadonlyArray<string>, store: Store) {
    const verdicts = yield* onDisk("reading verdicts", () => Broken.verdicts(spool, batch.key))
    const records: Array<UsageRecord> = []
    const letters = verdicts.filter(({ file }) => !names.includes(file)).map((verdict) => letterOf(batch, verdict))
    for (const name of names) {
      const parts: Array<InboxLines.Part> = []
      const before = verdicts.find(({ file }) => file === name)
      const outcome = yield* readFile(batch, name, before, (part) => Effect.sync(() => void parts.push(part)))
      if (outcome === "gone") return false
      if (outcome !== undefined) letters.push(letterOf(batch, outcome))
      // Nothing is stored of a file that is kept whole.
      if (outcome?.kept === "whole") continue
      for (const part of parts) {
        for (const record of part.records) records.push(record)
        for (const letter of part.letters) letters.push(letter)
      }
    }
    yield* store(batch.key, records, letters)
    return true
  })

  const readAlone = Effect.fnUntraced(function* (batch: SealedBatch, names: ReadonlyArray<string>, store: Store) {
    const verdicts = yield* onDisk("reading verdicts", () => Broken.verdicts(spool, batch.key))
    let verdict = verdicts[0]
    for (const name of names) {
      const outcome = yield* readFile(batch, name, verdict, ({ letters, offset, records }) =>
        records.length + letters.length === 0
          ? Effect.void
          : store(derivedKey(`${batch.key} ${offset}`), records, letters)
      )
      if (outcome === "gone") return false
      verdict = outcome
    }
    if (verdict !== undefined) yield* store(derivedKey(`${batch.key} verdict`), [], [letterOf(batch, verdict)])
    return true
  })

  return {
    /** Reads a claim and passes its batches to `store`; `false` if somebody else has stored and removed it. */
    read: Effect.fnUntraced(function* (
      batch: SealedBatch,
      store: Store
    ): Effect.fn.Return<boolean, DatabaseError | SpoolUnusable> {
      const names = yield* onDisk("reading a claim", () => Inbox.list(batch.path))
      if (names === undefined) return false
      return yield* (batch.kind === "file" ? readAlone : readTogether)(batch, names, store)
    })
  }
}
