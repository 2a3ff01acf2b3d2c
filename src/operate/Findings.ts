/**
 * What `Doctor` concludes from what it has read: whether all is well, what is wrong, and what to do about it. Nothing is read
 * here.
 */
import type { Sight } from "../archive/ArchiveFiles.ts"
import type { Database } from "../database/Database.ts"
import { claimHint, type History, isOf } from "../database/IdentityStore.ts"
import * as Instant from "../domain/Instant.ts"
import * as Month from "../domain/Month.ts"
import { printable } from "../domain/Shown.ts"
import type { RollupDifference, SetAsideBatch } from "../rollup/RollupStore.ts"
import type { SpoolStatus } from "../spool/SpoolDirectory.ts"
import type { BatchMismatch, ServerSettings } from "./DoctorStore.ts"

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
/** Records carry the clock of the process that records, reports go by that of the process that asks. */
const toleratedSkewMillis = 5_000
/** What has been in the spool for longer than this is not going to be delivered by itself. */
const patienceMillis = 3_600_000
/** How many batches are named where ledger and records disagree. */
export const namedBatches = 10

/** How many archives are named where something is wrong with them. */
const namedArchives = 5

/** How many rows of rollups are named where they differ from the records. */
export const namedDifferences = 5

const describe = ({ at, customer, found, level, service, stored }: RollupDifference): string =>
  `${level} ${at} of ${customer === "" ? "all customers" : customer}, ${service}: ${stored?.events ?? 0} events instead of ${found?.events ?? 0}`

const lookedAt = (since: string | undefined): string =>
  since === undefined ? "" : `, where anything changed since ${since.slice(0, 16)} UTC`

export const which = (database: Database["Service"], known: History | undefined): Finding =>
  ok(
    "database",
    `${database.place.name}, schema ${database.schema}, ${known === undefined ? "new here: it takes an id when it needs one" : `id ${known.id}`}`
  )

/** `here`: this process's clock when the server's was read. */
export const server = (
  engine: Database["Service"]["engine"],
  { fsync, now, readOnly, synchronousCommit, version }: ServerSettings,
  here: number
): ReadonlyArray<Finding> => {
  const skew = Math.abs(here - now)
  // The embedded engine never syncs, which its documentation says; there is nothing to mend.
  const unsafe =
    engine === "postgres" ? [synchronousCommit === "off" && "synchronous_commit", fsync === "off" && "fsync"] : []
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
          engine === "postgres" ? "commits are durable" : "embedded: survives the process, not the machine"
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
}

export const ledger = (found: ReadonlyArray<BatchMismatch>, since: string | undefined): Finding => {
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
}

export const rollups = (found: ReadonlyArray<RollupDifference>, since: string | undefined): Finding => {
  if (found.length === 0) return ok("rollups", `the rollups say what the records say${lookedAt(since)}`)
  const named = found.slice(0, namedDifferences).map(describe).join("; ")
  return wrong(
    "rollups",
    `rollups differ from the records: ${named}${found.length > namedDifferences ? "; …" : ""}`,
    "Somebody has changed records or rollups by hand: run `Aggregator.rebuild`"
  )
}

export const setAside = (first: SetAsideBatch | undefined): Finding =>
  first === undefined
    ? ok("set-aside", "no batch is kept out of the rollups")
    : warning(
        "set-aside",
        `batch ${first.batchId} (${first.records} records) and perhaps others cannot be rolled up: ${first.problem}`,
        "Reports count them, slowly. Mend what the message says, then run `Aggregator.retrySetAside`"
      )

/** `orphaned`: keys without a batch; `undefined` where there can be none. */
export const keys = (orphaned: bigint | undefined): Finding => {
  if (orphaned === undefined) return ok("keys", "no batch has left the ledger since they were looked at")
  return orphaned === 0n
    ? ok("keys", "every idempotency key belongs to a batch")
    : wrong(
        "keys",
        `${orphaned} idempotency keys belong to no batch`,
        "They would swallow usage that is delivered again: delete them"
      )
}

export const erasures = (open: bigint): Finding =>
  open === 0n
    ? ok("erasures", "none is unfinished")
    : wrong(
        "erasures",
        `${open} erasures of customers were begun and are not finished`,
        "Run `Eraser.erase` for them again: it goes on where it was"
      )

export const archives = (sights: ReadonlyArray<Sight>, known: History | undefined): ReadonlyArray<Finding> => {
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
            "Bring the files back from a backup; if they lie elsewhere now, say so: `Archiver.relocate(from, to)`"
          )
    )
  }
  const others = sights.filter(({ archive }) => !archive.isOurs)
  if (others.length > 0 && known?.isCopy !== true) {
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
}

export const partitions = (there: ReadonlyArray<Month.Month>, now: number): Finding => {
  const current = Month.of(Instant.fromMillis(now))
  return there.includes(current)
    ? ok("partitions", `${there.length} months, this one among them`)
    : warning(
        "partitions",
        `there is no partition for ${current} yet`,
        "The first record of the month makes it; the role must be allowed to"
      )
}

export const deadLetters = (count: bigint): Finding =>
  count === 0n ? ok("dead-letters", "none") : warning("dead-letters", `${count} wait`, "See `DeadLetters.list`")

export const spool = (
  path: string,
  found: SpoolStatus,
  known: History | undefined,
  now: number
): ReadonlyArray<Finding> => {
  const waiting = `${found.inboxFiles} files in the inbox, ${found.openSegments} open segments, ${found.readyBatches} batches ready`
  const findings: Array<Finding> = [
    found.oldest !== undefined && now - found.oldest > patienceMillis
      ? warning(
          "spool",
          `${waiting}; the oldest waits since ${Instant.toIso(Instant.fromMillis(found.oldest))}`,
          "Run `SpoolDelivery.deliverAll`"
        )
      : ok("spool", waiting)
  ]
  const isForeign = found.database !== undefined && (known === undefined || !isOf(known, found.database))
  if (isForeign && found.inboxFiles + found.openSegments + found.readyBatches > 0) {
    findings.push(
      wrong(
        "spool",
        `what waits in ${printable(path)} belongs to database ${found.database}, and is not delivered to this one`,
        `${claimHint(found.database!)}. Otherwise use another USAGE_HOME`
      )
    )
  }
  if (found.broken > 0) {
    findings.push(
      wrong(
        "spool",
        `${found.broken} things that could not be read are kept in ${path}/broken`,
        "See `DeadLetters.list` for what they are; mend and drop them again, or remove them"
      )
    )
  }
  return findings
}
