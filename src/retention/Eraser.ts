/**
 * Erases a customer: records, in the table and in archives, rollups, keys, alerts, quotas, prices, dead letters,
 * and whatever of theirs is still in the spool. Or keeps totals under a random pseudonym in place of the id, and erases the rest.
 *
 * It works month by month, and records what it did in the transaction that did it. After any interruption, calling it again
 * finishes the work, and the certificate covers all of it. Archives are rewritten and read back before they replace the old
 * files, which are then removed. Other customers' usage stays the same, to the last digit.
 *
 * Usage recorded for the id afterwards belongs to a new customer, who has not been erased.
 */
import * as BigDecimal from "effect/BigDecimal"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { createHash, randomBytes, randomUUID } from "node:crypto"
import { dirname, join, resolve } from "node:path"
import { Aggregator, AggregatorError } from "../rollup/Aggregator.ts"
import { Archiver, ArchiverError } from "./Archiver.ts"
import { ArchiveBroken, ArchiveFileError } from "../archive/ArchiveFile.ts"
import * as ErasedArchives from "./ErasedArchives.ts"
import * as ArchiveFiles from "../archive/ArchiveFiles.ts"
import * as Strays from "./Strays.ts"
import type { Database } from "../database/Database.ts"
import { Busy, DatabaseError } from "../database/DatabaseError.ts"
import * as CustomerId from "../domain/CustomerId.ts"
import * as Decimal from "../domain/Decimal.ts"
import { InvalidInput } from "../domain/InvalidInput.ts"
import { isLineOf } from "./Mention.ts"
import { ServiceError } from "../domain/ServiceError.ts"
import { Spool, SpoolError } from "../spool/Spool.ts"
import { SpoolDelivery, SpoolDeliveryError } from "../spool/SpoolDelivery.ts"
import * as Broken from "../spool/Broken.ts"
import * as Delivered from "../spool/Delivered.ts"
import * as SpoolDirectory from "../spool/SpoolDirectory.ts"
import { SpoolUnusable } from "../spool/SpoolUnusable.ts"
import { isObjectUrl } from "../files/ObjectUrl.ts"
import { ArchiveFilesStore } from "../archive/ArchiveFilesStore.ts"
import { ArchiveStore } from "../archive/ArchiveStore.ts"
import { DeadLetterStore } from "../ledger/DeadLetterStore.ts"
import { certificateOf, type ErasureCertificate, leftOf } from "./Certificate.ts"
import type { Done, Erasure, Note, Swap } from "./Erasure.ts"
import { ErasureStore } from "./ErasureStore.ts"
import { IdentityStore } from "../database/IdentityStore.ts"
import { printable } from "../domain/Shown.ts"

/** @since 0.1.0 */
export class EraserError extends ServiceError<EraserError>()("EraserError", [
  InvalidInput,
  ArchiveBroken,
  ArchiveFileError,
  ArchiverError,
  AggregatorError,
  SpoolDeliveryError,
  SpoolError,
  DatabaseError
]) {}

/**
 * - `pseudonymise`: rather than to erase usage, put a random pseudonym into the place of the customer and drop the metadata
 * - `directories`: where else archives' files may be that no archive is in, beside the directories of archives
 * - `onStep`: is told what is done
 *
 * @since 0.1.0
 */
export interface EraseOptions {
  readonly pseudonymise?: boolean | undefined
  readonly directories?: ReadonlyArray<string> | undefined
  readonly onStep?: ((step: string) => Effect.Effect<void>) | undefined
}

/** @since 0.1.0 */
export class Eraser extends Context.Service<
  Eraser,
  {
    /** Erases a customer. Again, it finds nothing more, and gives the certificate that it gave. */
    readonly erase: (customer: string, options?: EraseOptions) => Effect.Effect<ErasureCertificate, EraserError>
  }
>()("effect-usage/Eraser") {
  /** @internal */
  static readonly layerNoDeps: Layer.Layer<
    Eraser,
    never,
    | ErasureStore
    | ArchiveStore
    | ArchiveFilesStore
    | IdentityStore
    | DeadLetterStore
    | Archiver
    | Aggregator
    | SpoolDelivery
    | Spool
  > = Layer.suspend(() => Layer.effect(Eraser, make))

  static readonly layer: Layer.Layer<Eraser, never, Database | Spool> = Layer.suspend(() =>
    Layer.provide(Eraser.layerNoDeps, [
      ErasureStore.layer,
      ArchiveStore.layer,
      ArchiveFilesStore.layer,
      IdentityStore.layer,
      DeadLetterStore.layer,
      Archiver.layer,
      Aggregator.layer,
      SpoolDelivery.layer({ retryFor: "10 seconds" })
    ])
  )
}

/** How often it is begun anew because usage of the customer kept coming. */
const attempts = 5
const lettersAtOnce = 500

const nothing: Done = { records: [], tables: {}, files: 0, archives: [] }

const hashOf = (salt: string, customer: string): string =>
  createHash("sha256").update(salt).update(customer).digest("hex")

/** Adds what a step did to what was done before. */
const noteOn =
  (done: Done): Note =>
  ({ records = [], tables = {} }) => {
    const services = new Map(done.records.map((sum) => [sum.service, sum]))
    for (const { amount, records: count, service } of records) {
      const before = services.get(service)
      services.set(service, {
        service,
        records: (before?.records ?? 0) + count,
        amount: Decimal.toText(
          BigDecimal.sum(Decimal.fromDatabase(before?.amount ?? "0"), Decimal.fromDatabase(amount))
        )
      })
    }
    const all: Record<string, number> = { ...done.tables }
    for (const [table, count] of Object.entries(tables)) if (count > 0) all[table] = (all[table] ?? 0) + count
    return { ...done, records: [...services.values()], tables: all }
  }

const make = Effect.gen(function* () {
  const store = yield* ErasureStore
  const archives = yield* ArchiveStore
  const files = yield* ArchiveFiles.make
  const notes = yield* ArchiveFilesStore
  const identity = yield* IdentityStore
  const letters = yield* DeadLetterStore
  const archiver = yield* Archiver
  const aggregator = yield* Aggregator
  const spoolDelivery = yield* SpoolDelivery
  const spool = yield* Spool

  const inSpool = <A>(step: string, run: () => Promise<A>) =>
    Effect.mapError(SpoolUnusable.attempt(spool.directory.path)(step, run), SpoolError.from)

  /** Removes what names the customer from what is kept of damaged segments; gives the number of files. */
  const clearBroken = (customer: string) =>
    inSpool("removing damaged pieces", () => Broken.remove(spool.directory.path, (text) => isLineOf(text, customer)))

  /** Whether the spool is this database's. Another's is left to it, with whatever names the customer told of. */
  const deliverSpool = Effect.catchIf(
    Effect.as(spoolDelivery.deliverAll(), true),
    (error: SpoolDeliveryError) => error.reason._tag === "SpoolOfAnother",
    () => Effect.succeed(false)
  )

  const lettersOf = Effect.fnUntraced(function* (customer: string) {
    const found: Array<string> = []
    for (let after = "0"; ;) {
      const page = yield* letters.list({ after, limit: lettersAtOnce })
      for (const letter of page) {
        if (isLineOf(Buffer.from(letter.content).toString("utf8"), customer)) found.push(letter.id)
      }
      const last = page.at(-1)
      if (last === undefined) return found
      after = last.id
    }
  })

  /** Files with the customer that are no archives of this database, and what is half written. */
  const strays = Effect.fnUntraced(function* (customer: string, directories: ReadonlyArray<string>) {
    const names = (yield* archives.list).map(({ file }) => file).filter((file) => !isObjectUrl(file))
    const known = new Set(names)
    const found: { readonly holding: Array<Strays.Stray>; readonly half: Array<string> } = { holding: [], half: [] }
    for (const directory of new Set([
      ...names.map((file) => dirname(file)),
      ...directories.map((one) => resolve(one))
    ])) {
      const { half, holding } = yield* Strays.find(directory, known, (record) => record.customer === customer)
      found.holding.push(...holding)
      found.half.push(...half)
    }
    return found
  })

  /** Files of the spool that name a customer: those that a running process writes cannot be delivered yet. */
  const waiting = (customer: string) =>
    inSpool("looking for a customer", () => SpoolDirectory.filesWith(spool.directory, JSON.stringify(customer)))

  const run = Effect.fnUntraced(function* (
    erasure: Erasure,
    customer: string,
    tell: (step: string) => Effect.Effect<void>
  ) {
    const { id, pseudonym } = erasure
    let done = erasure.removed
    const archived = archivesWith(customer, pseudonym)
    const noted = (swaps: ReadonlyArray<Swap>): Done => ({
      ...done,
      archives: [...done.archives, ...swaps.map(ErasedArchives.notedOf)]
    })

    /** Records of archives are put back first: then they are erased as all others are. */
    const eraseUsage = Effect.gen(function* () {
      for (const month of yield* store.archivedMonths(customer)) {
        yield* tell(`restoring ${month}`)
        yield* archiver.restore(month, { customer })
      }
      for (const archive of yield* archives.list) {
        const swaps = yield* archived.replacements([archive], tell)
        const after = noted(swaps)
        // One that is another by now is looked at in the next turn.
        if (swaps.length > 0 && (yield* store.swap(id, swaps, after))) done = after
        yield* files.removeDoomed(notes)
      }
      for (const month of yield* store.months(customer)) {
        yield* tell(month)
        const after = yield* store.eraseMonth(id, customer, month, noteOn(done))
        if (after !== "archived") done = after
      }
    })

    const renameUsage = Effect.fnUntraced(function* (name: string) {
      const all = yield* archives.list
      const months = new Set([...(yield* store.months(customer)), ...all.map(({ month }) => month)])
      for (const month of [...months].sort()) {
        const swaps = yield* archived.replacements(
          all.filter((archive) => archive.month === month),
          tell
        )
        yield* tell(month)
        const after = yield* store.renameMonth(id, { customer, pseudonym: name }, month, swaps, noteOn(noted(swaps)))
        if (after !== "changed") done = after
        yield* files.removeDoomed(notes)
      }
    })

    for (let attempt = 0; attempt < attempts; attempt++) {
      yield* tell("spool")
      const isSpoolOurs = yield* deliverSpool
      if (isSpoolOurs) yield* inSpool("removing what was delivered", () => Delivered.clear(spool.directory))
      yield* aggregator.rollUp
      // Archivers start again, and find nothing of the customer's.
      yield* store.supersedeOpen
      yield* notes.giveUpAll("all")
      yield* pseudonym === undefined ? eraseUsage : renameUsage(pseudonym)
      yield* tell("everything else")
      if (isSpoolOurs) done = { ...done, files: done.files + (yield* clearBroken(customer)) }
      const theirs = yield* lettersOf(customer)
      done = yield* store.eraseRest(id, customer, pseudonym, theirs, noteOn(done))
      const isGone = Object.keys(yield* store.residue(customer)).length === 0
      if (isGone && (yield* store.finish(id, archived.clean))) return
    }
    return yield* new DatabaseError({
      reason: new Busy({ detail: "usage of the customer keeps coming", code: "55P03", cause: undefined })
    })
  })

  const archivesWith = (customer: string, pseudonym: string | undefined) =>
    ErasedArchives.make(files, notes, identity.current, (record) =>
      record.customer !== customer
        ? record
        : pseudonym === undefined
          ? undefined
          : { ...record, customer: pseudonym, metadata: null }
    )

  const begin = Effect.fnUntraced(function* (customer: string, mode: Erasure["mode"]) {
    const salt = randomBytes(16).toString("hex")
    const erasure = {
      id: randomUUID(),
      salt,
      subjectHash: hashOf(salt, customer),
      pseudonym: mode === "erase" ? undefined : `customer-${randomUUID()}`,
      mode,
      removed: nothing
    }
    yield* store.begin(erasure)
    return { ...erasure, startedAt: "", finishedAt: undefined }
  })

  const erase = Effect.fn("Eraser.erase")(function* (input: string, options: EraseOptions = {}) {
    const customer = yield* Effect.fromResult(CustomerId.parse(input))
    const mode = options.pseudonymise === true ? "pseudonymise" : "erase"
    const theirs = (yield* store.list).filter((one) => one.subjectHash === hashOf(one.salt, customer))
    yield* files.removeDoomed(notes)
    const open = theirs.find(({ finishedAt }) => finishedAt === undefined)
    if (open !== undefined && open.mode !== mode) {
      return yield* new InvalidInput({
        field: "pseudonymise",
        problem: `an interrupted run was to ${open.mode} this customer`,
        remedy: `Finish that first, ${open.mode === "erase" ? "without" : "with"} \`pseudonymise\``
      })
    }
    const before = theirs.findLast(({ finishedAt }) => finishedAt !== undefined)
    const isGone =
      open === undefined &&
      before !== undefined &&
      Object.keys(yield* store.residue(customer)).length === 0 &&
      (yield* lettersOf(customer)).length === 0 &&
      (yield* waiting(customer)).length === 0 &&
      !(yield* archivesWith(customer, undefined).isAny(yield* archives.list))
    if (!isGone) {
      yield* run(open ?? (yield* begin(customer, mode)), customer, options.onStep ?? (() => Effect.void))
    }
    const [last] = (yield* store.list).filter((one) => one.subjectHash === hashOf(one.salt, customer)).slice(-1)
    const kept = yield* files.removeDoomed(notes)
    const { half, holding } = yield* strays(
      customer,
      (options.directories ?? []).filter((one) => !isObjectUrl(one))
    )
    return certificateOf(last!, [
      ...(yield* waiting(customer)).map((file) =>
        file.startsWith(join(spool.directory.path, "open"))
          ? `${printable(file)}: a process that runs is writing it`
          : `${printable(file)}: waits in a spool that is another database's, and was left as it is`
      ),
      ...kept.map(
        ({ file, problem }) =>
          `${printable(file)}: cannot be removed now, and may have the customer in it (${problem}): erase again when it can be, or see to it yourself`
      ),
      ...leftOf(last!.removed, holding, yield* identity.current),
      ...half.map(
        (file) =>
          `${printable(file)}: half an archive, which is being written or was left by a run that was killed: remove it, if nobody writes it`
      )
    ])
  }, Effect.mapError(EraserError.from))

  return Eraser.of({ erase })
})
