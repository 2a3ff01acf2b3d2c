/**
 * A month's file: written under a name that is noted first, read back, and recorded. Whatever goes wrong on the way, what
 * is left over is removed by this run or by the next, and what an archive has is not.
 */
import * as Effect from "effect/Effect"
import type { DatabaseError } from "../database/DatabaseError.ts"
import * as Decimal from "../domain/Decimal.ts"
import type { Month } from "../domain/Month.ts"
import type { Selection } from "../domain/RetentionRule.ts"
import { codeOf } from "../files/Files.ts"
import type { Load } from "./StagingSql.ts"
import type { ArchiveFilesStore } from "./ArchiveFilesStore.ts"
import type { ArchiveStore } from "./ArchiveStore.ts"
import type { Identity } from "../database/IdentityStore.ts"
import { ArchiveBroken, type ArchiveFileError } from "./ArchiveFile.ts"
import type { ArchiveFiles } from "./ArchiveFiles.ts"
import { cellsOf } from "./RecordText.ts"
import { Totals } from "./Totals.ts"
import { type Manifest, manifestFile, sumsOf } from "./Manifest.ts"
import type { Name } from "./Names.ts"

/** Names to try, one after the other. */
export type Names = (number: number) => Name

/** How far a file is. */
interface Progress {
  /** All of it is written, under a name that nobody sees. */
  isWhole: boolean
  isPlaced: boolean
  /** The database was asked to record it. */
  isAsked: boolean
  /** Nobody else has given it up. */
  isNoted: boolean
}

export const makeMonthFiles = ({
  files,
  identity,
  notes,
  store
}: {
  readonly files: ArchiveFiles
  readonly store: ArchiveStore["Service"]
  readonly notes: ArchiveFilesStore["Service"]
  readonly identity: Effect.Effect<Identity, DatabaseError>
}) => {
  /** The first name that is free, noted as that of a file which is going to be written. */
  const begin = Effect.fnUntraced(function* (names: Names) {
    for (let number = 1; ; number++) {
      const name = names(number)
      if (
        !name.isOurs &&
        ((yield* files.exists(name.file)) === true || (yield* files.exists(manifestFile(name.file))) === true)
      ) {
        continue
      }
      if (yield* notes.begin(name.file, name.isOurs)) return name
    }
  })

  /** Removes what runs before have left. What cannot be removed now is for the next one. */
  const tidy = Effect.gen(function* () {
    yield* notes.giveUpAll("old")
    for (const error of yield* files.removeDoomed(notes)) {
      yield* Effect.logWarning(`a file that no archive is in stays: ${error.message}`)
    }
  }).pipe(Effect.catch((error) => Effect.logWarning(`files that no archive is in stay: ${error.message}`)))

  /**
   * Removes a file that this run has written, unless it is in an archive: it may be, where an answer was lost, and others may
   * have emptied the month into it. `isNone`: it is certain that it is not. `false`: somebody else had given it up.
   */
  const discard = (file: string, isOurs: boolean, isNone: boolean) =>
    Effect.gen(function* () {
      const isGivenUp = yield* notes.giveUp(file, isOurs)
      if (isGivenUp) yield* files.removeDoomed(notes)
      // Whoever gave it up has looked for it before it was there.
      else if (isNone && isOurs) yield* files.remove(file)
      return isGivenUp
    }).pipe(
      Effect.timeout("10 seconds"),
      Effect.orElseSucceed(() => true)
    )

  /**
   * Writes a month's file and its manifest, records them, and gives the file's name. `late`: another archiver was first, or the
   * file was given up meanwhile. `nothing`: there is nothing of the month that no archive has.
   */
  const write = Effect.fnUntraced(function* (month: Month, names: Names, selection: Selection) {
    const { file, isOurs } = yield* begin(names)
    const state: Progress = { isWhole: false, isPlaced: false, isAsked: false, isNoted: true }
    const outcome = yield* fill(month, file, selection, state).pipe(
      Effect.onExit((exit) => {
        const outcome = exit._tag === "Success" ? exit.value : undefined
        if (outcome === "written") return Effect.void
        return Effect.map(
          discard(file, isOurs || state.isPlaced, !state.isAsked || outcome !== undefined),
          (isNoted) => {
            state.isNoted = isNoted
          }
        )
      }),
      // Somebody else has the name, or has given the file up and removed it.
      Effect.catchIf(
        (error) =>
          (error._tag === "ArchiveFileError" && state.isWhole && codeOf(error.cause) === "EEXIST") ||
          (error._tag !== "DatabaseError" && !state.isNoted),
        () => Effect.succeed("late" as const)
      )
    )
    return outcome === "written" ? file : outcome
  })

  const fill = Effect.fnUntraced(function* (
    month: Month,
    file: string,
    selection: Selection,
    state: Progress
  ): Effect.fn.Return<"nothing" | "written" | "late", ArchiveBroken | ArchiveFileError | DatabaseError> {
    // Asked after the file is noted: an erasure gives up what was noted before it ends.
    const known = (yield* store.list).filter((archive) => archive.month === month)
    const generation = Math.max(0, ...known.map((one) => one.generation)) + 1
    const before = known.findLast((archive) => archive.state === "removed")
    const expected = new Totals()
    const result = yield* Effect.scoped(
      Effect.gen(function* () {
        const writer = yield* files.openWriter(file)
        const carryOver = (load: Load) =>
          files.readKnown(before!, (records) =>
            Effect.gen(function* () {
              for (const record of records) expected.add(record)
              yield* load(records)
              yield* writer.rows(records.map(cellsOf))
            })
          )
        const handed = yield* store.take(month, before === undefined ? "none" : carryOver, writer, selection)
        // Another archiver has done it, or nothing is meant: the archive before holds all that there is.
        if (handed.count === 0) return undefined
        state.isWhole = true
        const finished = { taken: handed, written: yield* writer.finish }
        state.isPlaced = true
        return finished
      })
    )
    if (result === undefined) return "nothing"
    const { taken, written } = result
    for (const { amount, events, service, weighted } of taken.sums) {
      expected.addTotal(service, {
        events,
        amount: Decimal.fromDatabase(amount),
        weighted: Decimal.fromDatabase(weighted)
      })
    }
    const { bytes, sha256, totals } = written
    yield* requireSums(file, sumsOf(totals), sumsOf(expected))
    yield* files.readBack(file, written)
    const { id: database } = yield* identity
    const about = { file, database, month, generation, bytes, sha256 }
    const { first, last } = yield* files.writeManifest(about, totals)
    state.isAsked = true
    return yield* store.written({
      month,
      generation,
      file,
      records: totals.records,
      bytes,
      sha256,
      takenCount: taken.count,
      takenLast: taken.last,
      selection,
      first,
      last
    })
  })

  return { tidy, write }
}

/** What is in a file must come to what the database says of the records. */
const requireSums = (file: string, found: Manifest["sums"], expected: Manifest["sums"]) => {
  const [is, was] = [JSON.stringify(found), JSON.stringify(expected)]
  return is === was
    ? Effect.void
    : Effect.fail(new ArchiveBroken({ file, problem: `sums by service: ${is} instead of ${was}` }))
}
