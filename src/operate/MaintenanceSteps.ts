/**
 * The steps of maintenance: what each does, and what it would do. Finding that out changes nothing.
 *
 * No step needs what another one has done, so one that fails does not keep the others from running.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { AlertDelivery } from "../alert/AlertDelivery.ts"
import { AlertMonitor } from "../alert/AlertMonitor.ts"
import { Database } from "../database/Database.ts"
import * as Instant from "../domain/Instant.ts"
import * as Month from "../domain/Month.ts"
import { PartitionStore } from "../ledger/PartitionStore.ts"
import type { ArchiveOptions } from "../retention/Archiver.ts"
import { Retention } from "../retention/Retention.ts"
import { Aggregator } from "../rollup/Aggregator.ts"
import { Spool } from "../spool/Spool.ts"
import { SpoolDelivery } from "../spool/SpoolDelivery.ts"
import { Doctor, type ExamineOptions } from "./Doctor.ts"
import { MaintenanceStore } from "./MaintenanceStore.ts"

/** The steps, in their order. @since 0.1.0 */
export const maintenanceSteps = [
  "spool",
  "roll-up",
  "partitions",
  "quotas",
  "deliveries",
  "records",
  "ledger",
  "dead-letters",
  "alerts",
  "vacuum",
  "doctor"
] as const
/** @since 0.1.0 */
export type MaintenanceStepName = (typeof maintenanceSteps)[number]

type Counts = Readonly<Record<string, number>>

/** What a step did, or would do. `status`: where it is not simply done, or planned. */
interface Outcome {
  readonly counts: Counts
  readonly detail: string
  readonly status?: "findings" | "skipped"
}

/** Where archives go, and how. */
export type Archives = Pick<ArchiveOptions, "directory" | "compression" | "format">

/** Called with a step's progress. */
type Tell = (detail: string) => Effect.Effect<void>

type Outcomes = Effect.Effect<Outcome, { readonly message: string; readonly isRetryable: boolean }>

/** `run` reports its progress where it may take long. */
interface Step {
  readonly plan: Outcomes
  readonly run: (tell: Tell) => Outcomes
}

/** `1 batch, 300 records`, or `nothing to do`. */
const counted = (counts: Counts): Outcome => {
  const parts = Object.entries(counts)
    .filter(([, count]) => count > 0)
    .map(([what, count]) => {
      const words = what.replaceAll("_", " ")
      return `${count} ${count === 1 ? words.replace(/(ch)es\b|s\b/, "$1") : words}`
    })
  return { counts, detail: parts.length === 0 ? "nothing to do" : parts.join(", ") }
}

const skipped = (detail: string): Outcome => ({ counts: {}, detail, status: "skipped" })

const sumOf = <Key extends string>(items: ReadonlyArray<Readonly<Record<Key, number>>>, key: Key): number =>
  items.reduce((sum, item) => sum + item[key], 0)

/** This month and the two after it. */
const ahead = Effect.map(Clock.currentTimeMillis, (now) => {
  const month = Month.of(Instant.fromMillis(now))
  return [month, Month.next(month), Month.next(Month.next(month))]
})

/** Deliveries that a plan looks for. */
const pendingDays = 30

/** Bringing what was recorded to where it belongs. */
const storing = Effect.gen(function* () {
  const aggregator = yield* Aggregator
  const partitions = yield* PartitionStore
  const spool = yield* Spool
  const delivery = yield* SpoolDelivery
  return {
    spool: {
      plan: Effect.map(spool.status, ({ inboxFiles, openSegments, readyBatches }) =>
        counted({ files: inboxFiles, open_segments: openSegments, batches: readyBatches })
      ),
      run: () =>
        Effect.map(delivery.deliverAll(), ({ batches, records, refused }) => counted({ batches, records, refused }))
    },
    "roll-up": {
      plan: Effect.map(aggregator.lag, ({ batches, records }) =>
        counted({ batches: Number(batches), records: Number(records) })
      ),
      run: () =>
        Effect.map(aggregator.rollUp, ({ batches, records, setAside }) =>
          counted({ batches, records, set_aside: setAside })
        )
    },
    partitions: {
      plan: Effect.map(Effect.all([partitions.list, ahead]), ([there, months]) =>
        counted({ partitions: months.filter((month) => !there.includes(month)).length })
      ),
      run: Effect.fnUntraced(function* () {
        const before = yield* partitions.list
        yield* partitions.ensure(yield* ahead)
        return counted({ partitions: (yield* partitions.list).length - before.length })
      })
    }
  }
})

/** Checking quotas and sending alerts. */
const alerting = Effect.gen(function* () {
  const monitor = yield* AlertMonitor
  const delivery = yield* AlertDelivery
  return {
    quotas: {
      plan: Effect.map(monitor.states(), (states) =>
        counted({ reached: states.filter(({ level }) => level !== undefined).length })
      ),
      run: () =>
        Effect.map(monitor.check(), ({ alerts, reached }) =>
          counted({ reached: reached.length, new_alerts: alerts.length })
        )
    },
    deliveries: {
      plan: Effect.map(delivery.list(pendingDays), (rows) =>
        counted({ to_send: rows.filter(({ state }) => state === "pending").length })
      ),
      run: () =>
        Effect.map(delivery.deliver, ({ failed, postponed, sent }): Outcome => ({
          ...counted({ sent, postponed, given_up: failed }),
          ...(failed > 0 ? { status: "findings" } : {})
        }))
    }
  }
})

/** Removing what is older than the retention rules say. */
const removing = Effect.fnUntraced(function* (archives: Archives) {
  const retention = yield* Retention
  const spool = yield* Spool
  // A batch that the spool may deliver yet must not leave the ledger.
  const unstored = Effect.map(spool.status, ({ oldest }) => oldest)
  return {
    records: {
      // What is not rolled up yet is not among them.
      plan: Effect.map(retention.due, (due) => {
        const toArchive = due.filter(({ action }) => action === "archive")
        return counted({
          months_to_archive: toArchive.length,
          records_to_archive: sumOf(toArchive, "records"),
          records_to_drop: sumOf(due, "records") - sumOf(toArchive, "records")
        })
      }),
      run: (tell: Tell) =>
        Effect.map(
          retention.removeRecords({
            ...archives,
            onMonth: (month, done, of) => tell(`${month}, ${done + 1} of ${of}`)
          }),
          ({ archived, dropped }) =>
            counted({
              months_archived: archived.length,
              records_archived: sumOf(archived, "records"),
              bytes: sumOf(archived, "bytes"),
              records_dropped: sumOf(dropped, "records")
            })
        )
    },
    ledger: {
      plan: Effect.map(Effect.flatMap(unstored, retention.dueOthers), ({ batches }) => counted({ batches })),
      run: () =>
        Effect.map(Effect.flatMap(unstored, retention.compact), ({ batches, keys }) => counted({ batches, keys }))
    },
    "dead-letters": {
      plan: Effect.map(retention.dueOthers(), ({ letters }) => counted({ to_drop: letters })),
      run: () => Effect.map(retention.dropLetters, (dropped) => counted({ dropped }))
    },
    alerts: {
      plan: Effect.map(retention.dueOthers(), ({ alerts }) => counted({ to_drop: alerts })),
      run: () => Effect.map(retention.dropAlerts, (dropped) => counted({ dropped }))
    }
  }
})

/** Making room in the database, and checking that all is well. */
const looking = Effect.gen(function* () {
  const { engine } = yield* Database
  const doctor = yield* Doctor
  const store = yield* MaintenanceStore
  const byItself = Effect.succeed(skipped("the server does it by itself"))
  const examine = (options: ExamineOptions) =>
    Effect.map(doctor.examine(options), (findings): Outcome => {
      const found = findings.filter(({ status }) => status !== "ok")
      const counts = { checks: findings.length, findings: found.length }
      return found.length === 0
        ? { counts, detail: "all is well" }
        : { counts, detail: found.map(({ check, detail }) => `${check}: ${detail}`).join("; "), status: "findings" }
    })
  return {
    vacuum: {
      plan: engine === "embedded" ? Effect.succeed(skipped("all tables")) : byItself,
      run: () => (engine === "embedded" ? Effect.map(store.vacuum, (tables) => counted({ tables })) : byItself)
    },
    doctor: {
      plan: examine({ remember: false }),
      run: (tell: Tell) => examine({ onProgress: (day, done, of) => tell(`${day}, ${done + 1} of ${of}`) })
    }
  }
})

/** All of them, on the services that do the work. */
export const make = (archives: Archives) =>
  Effect.map(
    Effect.all([storing, alerting, removing(archives), looking]),
    ([stored, alerted, removed, looked]): Readonly<Record<MaintenanceStepName, Step>> => ({
      ...stored,
      ...alerted,
      ...removed,
      ...looked
    })
  )
