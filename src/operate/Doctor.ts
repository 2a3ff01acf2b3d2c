/**
 * Looks whether what this package promises holds on a live database and spool, says what does not, and how to mend it.
 * It changes nothing but its own bookmarks of what was found clean.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ArchiveFiles from "../archive/ArchiveFiles.ts"
import { Database } from "../database/Database.ts"
import { DatabaseError } from "../database/DatabaseError.ts"
import * as Migrations from "../database/Migrations.ts"
import * as Instant from "../domain/Instant.ts"
import * as Month from "../domain/Month.ts"
import { ServiceError } from "../domain/ServiceError.ts"
import { printable } from "../domain/Shown.ts"
import { Spool, SpoolError } from "../spool/Spool.ts"
import { ArchiveStore } from "../archive/ArchiveStore.ts"
import * as LookPlan from "./LookPlan.ts"
import { CheckStore } from "./CheckStore.ts"
import { DeadLetterStore } from "../ledger/DeadLetterStore.ts"
import { DoctorStore } from "./DoctorStore.ts"
import { claimHint, IdentityStore, isOf } from "../database/IdentityStore.ts"
import { PartitionStore } from "../ledger/PartitionStore.ts"
import { type RollupDifference, RollupStore } from "../rollup/RollupStore.ts"

/** @since 0.1.0 */
export class DoctorError extends ServiceError<DoctorError>()("DoctorError", [DatabaseError, SpoolError]) {}

/**
 * The outcome of one check.
 *
 * - `check`: its name: `database`, `version`, `writes`, `durability`, `clock`, `ledger`, `rollups`, `set-aside`, `keys`,
 *   `erasures`, `archives`, `partitions`, `dead-letters`, `spool`
 * - `status`: `wrong` is a broken promise, `warning` something to look at
 * - `remedy`: empty where all is well
 *
 * @since 0.1.0
 */
export interface Finding {
  readonly check: string
  readonly status: "ok" | "warning" | "wrong"
  readonly detail: string
  readonly remedy: string
}

/**
 * - `full`: look at everything, whatever was found clean before
 * - `remember`, true: what is found clean need not be looked at by the next
 * - `onProgress`: is told which day comes, and how many spans of days are done
 *
 * @since 0.1.0
 */
export interface ExamineOptions {
  readonly full?: boolean | undefined
  readonly remember?: boolean | undefined
  readonly onProgress?: ((day: string, done: number, of: number) => Effect.Effect<void>) | undefined
}

/** @since 0.1.0 */
export class Doctor extends Context.Service<
  Doctor,
  {
    /**
     * All checks, in the same order each time. Records are compared with the ledger and the rollups where something has
     * changed since the last look that found nothing there; with `full` all of them.
     */
    readonly examine: (options?: ExamineOptions) => Effect.Effect<ReadonlyArray<Finding>, DoctorError>
  }
>()("effect-usage/Doctor") {
  /** Checks of a database and a spool. */
  static readonly layer: Layer.Layer<Doctor, never, Database | Spool> = Layer.suspend(() =>
    Layer.provide(Layer.effect(Doctor, make), [
      CheckStore.layer,
      DoctorStore.layer,
      IdentityStore.layer,
      ArchiveStore.layer,
      DeadLetterStore.layer,
      PartitionStore.layer,
      RollupStore.layer
    ])
  )
}

const ok = (check: string, detail: string): Finding => ({ check, status: "ok", detail, remedy: "" })
const wrong = (check: string, detail: string, remedy: string): Finding => ({ check, status: "wrong", detail, remedy })
const warning = (check: string, detail: string, remedy: string): Finding => ({
  check,
  status: "warning",
  detail,
  remedy
})

/** Oldest supported server, as `server_version_num` writes it. */
const oldestVersion = 150_000
/** A record's time is that of the process which records it, a report's that of the one which asks. */
const toleratedSkewMillis = 5_000
/** What waits in the spool longer than this waits for a deliverer that does not come. */
const patienceMillis = 3_600_000
/** Batches that are named where ledger and records disagree. */
const namedBatches = 10

/** Archives that are named where something is wrong with them. */
const namedArchives = 5

/** Rollup rows that are named where they differ from the records. */
const namedDifferences = 5

const describe = ({ at, customer, found, level, service, stored }: RollupDifference): string =>
  `${level} ${at} of ${customer === "" ? "all customers" : customer}, ${service}: ${stored?.events ?? 0} events instead of ${found?.events ?? 0}`

const lookedAt = (since: string | undefined): string =>
  since === undefined ? "" : `, where anything changed since ${since.slice(0, 16)} UTC`

const make = Effect.gen(function* () {
  const database = yield* Database
  const spool = yield* Spool
  const store = yield* DoctorStore
  const checks = yield* CheckStore
  const identity = yield* IdentityStore
  const archives = yield* ArchiveStore
  const files = yield* ArchiveFiles.make
  const letters = yield* DeadLetterStore
  const partitions = yield* PartitionStore
  const rollups = yield* RollupStore

  const which = Effect.map(identity.known, (known) =>
    ok(
      "database",
      `${database.place.name}, schema ${database.schema}, ${known === undefined ? "new here: it takes an id when it needs one" : `id ${known.id}`}`
    )
  )

  const server = Effect.gen(function* () {
    const { fsync, now, readOnly, synchronousCommit, version } = yield* store.settings
    const here = yield* Clock.currentTimeMillis
    const skew = Math.abs(here - now)
    // The embedded engine never syncs, which its documentation says; there is nothing to mend.
    const unsafe =
      database.engine === "postgres"
        ? [synchronousCommit === "off" && "synchronous_commit", fsync === "off" && "fsync"]
        : []
    const off = unsafe.filter((name) => name !== false)
    return [
      version >= oldestVersion
        ? ok("version", `PostgreSQL ${Math.floor(version / 10_000)}`)
        : wrong("version", `PostgreSQL ${Math.floor(version / 10_000)}`, "Use PostgreSQL 15 or later"),
      readOnly === undefined
        ? ok("writes", "the server takes them")
        : wrong(
            "writes",
            readOnly === "standby"
              ? "the server is a standby and takes none"
              : "default_transaction_read_only is on: the server takes none",
            "Usage is retried or spooled meanwhile. Name the primary in the URL, or let the server write again"
          ),
      off.length === 0
        ? ok(
            "durability",
            database.engine === "postgres" ? "commits are durable" : "embedded: survives the process, not the machine"
          )
        : wrong(
            "durability",
            `${off.join(" and ")} is off: the server may forget what it has acknowledged`,
            "Turn it on for the role that records usage"
          ),
      skew <= toleratedSkewMillis
        ? ok("clock", `${skew} ms from the server's`)
        : warning(
            "clock",
            `${Math.round(skew / 1000)} s from the server's`,
            "Synchronise the clocks: records carry the time of the machine that records them"
          )
    ]
  })

  const ledger = Effect.fnUntraced(function* ({ since }: LookPlan.Look) {
    const found = yield* store.mismatches(namedBatches + 1, since)
    if (found.length === 0) {
      return ok("ledger", `every batch is there whole, and every record has its batch${lookedAt(since)}`)
    }
    const more = found.length > namedBatches ? ", …" : ""
    const named = found
      .slice(0, namedBatches)
      .map(({ batchId, found: records, said }) => `${batchId} (${said ?? "no row"}, ${records ?? 0} records)`)
    return wrong(
      "ledger",
      `ledger and records disagree on batch ${named.join(", ")}${more}`,
      "Somebody has changed records or the ledger by hand: restore them, or correct the ledger's record_count"
    )
  })

  const reconciled = Effect.fnUntraced(function* (
    { months, since }: LookPlan.Look,
    tell: ExamineOptions["onProgress"]
  ) {
    const found: Array<RollupDifference> = []
    const of = months.reduce((sum, { spans }) => sum + spans.length, 0)
    let done = 0
    for (const { month, spans } of months) {
      for (const span of spans) {
        if (tell !== undefined) yield* tell(Instant.toIso(span.start).slice(0, 10), done++, of)
        found.push(...(yield* rollups.dayDifferences(span, namedDifferences + 1)))
      }
      found.push(...(yield* rollups.monthDifferences(month, namedDifferences + 1)))
      found.push(...(yield* rollups.archivedDifferences(month, namedDifferences + 1)))
      if (found.length > namedDifferences) break
    }
    if (found.length === 0) return ok("rollups", `the rollups say what the records say${lookedAt(since)}`)
    const named = found.slice(0, namedDifferences).map(describe).join("; ")
    return wrong(
      "rollups",
      `rollups differ from the records: ${named}${found.length > namedDifferences ? "; …" : ""}`,
      "Somebody has changed records or rollups by hand: run `usage refresh --rebuild`"
    )
  })

  const setAside = Effect.map(rollups.listSetAside(1), ([first]) =>
    first === undefined
      ? ok("set-aside", "no batch is kept out of the rollups")
      : warning(
          "set-aside",
          `batch ${first.batchId} (${first.records} records) and perhaps others cannot be rolled up: ${first.problem}`,
          "Reports count them, slowly. Mend what the message says, then run `usage refresh --retry-set-aside`"
        )
  )

  const keys = Effect.fnUntraced(function* (look: LookPlan.Look) {
    if (!look.keys) return ok("keys", "no batch has left the ledger since they were looked at")
    const found = yield* store.orphanedKeys
    return found === 0n
      ? ok("keys", "every idempotency key belongs to a batch")
      : wrong(
          "keys",
          `${found} idempotency keys belong to no batch`,
          "They would swallow usage that is delivered again: delete them"
        )
  })

  const erasures = Effect.map(store.openErasures, (found) =>
    found === 0n
      ? ok("erasures", "none is unfinished")
      : wrong(
          "erasures",
          `${found} erasures of customers were begun and are not finished`,
          "Run `usage customer erase` for them again: it goes on where it was"
        )
  )

  const archived = Effect.gen(function* () {
    const sights = yield* files.look(yield* archives.list)
    const seen = `${sights.length} ${sights.length === 1 ? "archive" : "archives"}`
    const bad = sights.filter(({ problem }) => problem !== undefined)
    const findings: Array<Finding> = []
    for (const isHidden of [false, true]) {
      const found = bad.filter((sight) => sight.isHidden === isHidden)
      if (found.length === 0) continue
      const named = found
        .slice(0, namedArchives)
        .map(({ archive, problem }) => `${archive.month} (${archive.file}: ${problem})`)
      const detail = `${found.length} of ${seen}: ${named.join(", ")}${found.length > namedArchives ? ", …" : ""}`
      findings.push(
        isHidden
          ? warning("archives", detail, "They could not be looked at: see to it that this process may read them")
          : wrong(
              "archives",
              detail,
              "Bring the files back from a backup; if they lie elsewhere now, say so: usage archives relocate <from> <to>"
            )
      )
    }
    const others = sights.filter(({ archive }) => !archive.isOurs)
    const isCopy = (yield* identity.known)?.isCopy === true
    if (others.length > 0 && !isCopy) {
      const { owner } = others[0]!.archive
      findings.push(
        warning(
          "archives",
          `${others.length} of ${seen} belong to database ${owner}, which this one was before it was copied or moved: they are read, and never changed`,
          `${claimHint(owner)}. If it is a copy that goes its own way: usage database fork`
        )
      )
    }
    return findings.length > 0 ? findings : [ok("archives", `${seen}: each is there, as long as it was`)]
  })

  const months = Effect.gen(function* () {
    const there = new Set(yield* partitions.list)
    const now = yield* Clock.currentTimeMillis
    const current = Month.of(Instant.fromMillis(now))
    return there.has(current)
      ? ok("partitions", `${there.size} months, this one among them`)
      : warning(
          "partitions",
          `there is no partition for ${current} yet`,
          "The first record of the month makes it; the role must be allowed to"
        )
  })

  const refused = Effect.map(letters.count, (count) =>
    count === 0n
      ? ok("dead-letters", "none")
      : warning("dead-letters", `${count} wait`, "See `usage dead-letters list`")
  )

  const spooled = Effect.gen(function* () {
    const found = yield* spool.status
    const waiting = `${found.inboxFiles} files in the inbox, ${found.openSegments} open segments, ${found.readyBatches} batches ready`
    const now = yield* Clock.currentTimeMillis
    const findings: Array<Finding> = [
      found.oldest !== undefined && now - found.oldest > patienceMillis
        ? warning(
            "spool",
            `${waiting}; the oldest waits since ${Instant.toIso(Instant.fromMillis(found.oldest))}`,
            "Run `usage batch flush`"
          )
        : ok("spool", waiting)
    ]
    const known = yield* identity.known
    const isForeign = found.database !== undefined && (known === undefined || !isOf(known, found.database))
    if (isForeign && found.inboxFiles + found.openSegments + found.readyBatches > 0) {
      findings.push(
        wrong(
          "spool",
          `what waits in ${printable(spool.directory.path)} belongs to database ${found.database}, and is not delivered to this one`,
          `${claimHint(found.database!)}. Otherwise use another USAGE_HOME`
        )
      )
    }
    if (found.broken > 0) {
      findings.push(
        wrong(
          "spool",
          `${found.broken} things that could not be read are kept in ${spool.directory.path}/broken`,
          "See `usage dead-letters list` for what they are; mend and drop them again, or remove them"
        )
      )
    }
    return findings
  })

  const examine = Effect.fn("Doctor.examine")(function* (options: ExamineOptions = {}) {
    yield* Effect.provideService(Migrations.check, Database, database)
    const first = [yield* which, ...(yield* server)]
    const look = yield* LookPlan.plan(checks, rollups, options.full === true)
    const compared = [yield* ledger(look), yield* reconciled(look, options.onProgress), yield* keys(look)]
    if (options.remember !== false && compared.every(({ status }) => status === "ok")) {
      // A standby, or a role that only reads, looks at everything again.
      yield* Effect.ignore(checks.put(look.found))
    }
    const [ofLedger, ofRollups, ofKeys] = compared
    return [
      ...first,
      ofLedger!,
      ofRollups!,
      yield* setAside,
      ofKeys!,
      yield* erasures,
      ...(yield* archived),
      yield* months,
      yield* refused,
      ...(yield* spooled)
    ]
  }, Effect.mapError(DoctorError.from))

  return Doctor.of({ examine })
})
