/**
 * Checks that what this package promises holds on a live database and its spool, and says what does not and how to mend it.
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
import { ServiceError } from "../domain/ServiceError.ts"
import { Spool, SpoolError } from "../spool/Spool.ts"
import { ArchiveStore } from "../archive/ArchiveStore.ts"
import type { Finding } from "./Findings.ts"
import * as Findings from "./Findings.ts"
import * as LookPlan from "./LookPlan.ts"
import { CheckStore } from "./CheckStore.ts"
import { DeadLetterStore } from "../ledger/DeadLetterStore.ts"
import { DoctorStore } from "./DoctorStore.ts"
import { IdentityStore } from "../database/IdentityStore.ts"
import { PartitionStore } from "../ledger/PartitionStore.ts"
import { type RollupDifference, RollupStore } from "../rollup/RollupStore.ts"

export type { Finding } from "./Findings.ts"

/** @since 0.1.0 */
export class DoctorError extends ServiceError<DoctorError>()("DoctorError", [DatabaseError, SpoolError]) {}

/**
 * - `full`: look at everything, whatever was found clean before
 * - `remember`, true: what is found clean need not be looked at again by the next look
 * - `onProgress`: called before each span of days, with its first day and how many are done
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

  /** Rollups that differ from the records: not all of them where there are many. */
  const differences = Effect.fnUntraced(function* ({ months }: LookPlan.Look, tell: ExamineOptions["onProgress"]) {
    const found: Array<RollupDifference> = []
    const limit = Findings.namedDifferences + 1
    const of = months.reduce((sum, { spans }) => sum + spans.length, 0)
    let done = 0
    for (const { month, spans } of months) {
      for (const span of spans) {
        if (tell !== undefined) yield* tell(Instant.toIso(span.start).slice(0, 10), done++, of)
        found.push(...(yield* rollups.dayDifferences(span, limit)))
      }
      found.push(...(yield* rollups.monthDifferences(month, limit)))
      found.push(...(yield* rollups.archivedDifferences(month, limit)))
      if (found.length >= limit) break
    }
    return found
  })

  const examine = Effect.fn("Doctor.examine")(function* (options: ExamineOptions = {}) {
    yield* Effect.provideService(Migrations.check, Database, database)
    const known = yield* identity.known
    const settings = yield* store.settings
    const here = yield* Clock.currentTimeMillis
    const look = yield* LookPlan.plan(checks, rollups, options.full === true)
    const ofLedger = Findings.ledger(yield* store.mismatches(Findings.namedBatches + 1, look.since), look.since)
    const ofRollups = Findings.rollups(yield* differences(look, options.onProgress), look.since)
    const ofKeys = Findings.keys(look.keys ? yield* store.orphanedKeys : undefined)
    if (options.remember !== false && [ofLedger, ofRollups, ofKeys].every(({ status }) => status === "ok")) {
      // A standby, or a role that only reads, looks at everything again.
      yield* Effect.ignore(checks.put(look.found))
    }
    return [
      Findings.which(database, known),
      ...Findings.server(database.engine, settings, here),
      ofLedger,
      ofRollups,
      Findings.setAside((yield* rollups.listSetAside(1))[0]),
      ofKeys,
      Findings.erasures(yield* store.openErasures),
      ...Findings.archives(yield* files.look(yield* archives.list), known),
      Findings.partitions(yield* partitions.list, yield* Clock.currentTimeMillis),
      Findings.deadLetters(yield* letters.count),
      ...Findings.spool(spool.directory.path, yield* spool.status, known, yield* Clock.currentTimeMillis)
    ]
  }, Effect.mapError(DoctorError.from))

  return Doctor.of({ examine })
})
