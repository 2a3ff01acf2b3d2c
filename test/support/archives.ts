/** What tests of archives, retention and erasure look at. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Database } from "../../src/database/Database.ts"
import * as Decimal from "../../src/domain/Decimal.ts"
import type { Instant } from "../../src/domain/Instant.ts"
import type { Window } from "../../src/domain/Window.ts"
import { Reporter } from "../../src/report/Reporter.ts"
import { DoctorStore } from "../../src/operate/DoctorStore.ts"
import { RollupStore } from "../../src/rollup/RollupStore.ts"

export const window = (start: string, end: string): Window => ({
  start: (Date.parse(start) * 1000) as Instant,
  end: (Date.parse(end) * 1000) as Instant,
  tz: "UTC",
  label: { start: "", end: "" }
})
export const year = window("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z")

/** A file's name without the part that is its own. */
export const plainName = (file: string): string => file.replace(/-[0-9a-f]{12}(?=\.)/, "")

/** The file in a directory of that plain name. */
export const fileIn = (path: string, plain: string): string =>
  join(path, readdirSync(path).find((name) => plainName(name) === plain) ?? `no ${plain}`)

/** A directory of its own, gone when the scope closes. */
export const directory = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-usage-retention-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

/** What reports say of a year by hour, day and month, to the last digit. */
export const figures = Effect.fnUntraced(function* (customer?: string) {
  const reporter = yield* Reporter
  const spans = yield* Effect.forEach(["hour", "day", "month"] as const, (unit) =>
    reporter.series({ window: year, customer }, unit)
  )
  return spans.flatMap((rows) =>
    rows.map(
      ({ cost, events, label, quantity, service }) =>
        `${label} ${service} ${events} ${Decimal.toText(quantity)} ${Decimal.toText(cost)}`
    )
  )
})

/** Rollups, records, archives, what was removed, and the ledger agree. */
export const assertSound = Effect.gen(function* () {
  const rollups = yield* RollupStore
  const { end, start } = year
  assert.deepStrictEqual(yield* rollups.dayDifferences({ start, end }, 9), [])
  assert.deepStrictEqual(yield* rollups.archivedDifferences({ start, end }, 9), [])
  assert.deepStrictEqual(yield* rollups.monthDifferences({ start, end }, 9), [])
  const doctor = yield* DoctorStore
  assert.deepStrictEqual(yield* doctor.mismatches(9), [])
  assert.strictEqual(yield* doctor.orphanedKeys, 0n)
})

/** Removes all usage, and what goes with it. */
export const empty = Effect.gen(function* () {
  const { name, sql } = yield* Database
  const tables = ["records", "batches", "keys", "quarters", "days", "months", "sketches", "month_sketches"]
  const others = [
    "archives",
    "archive_totals",
    "removed_totals",
    "retention",
    "dead_letters",
    "erasures",
    "archive_files"
  ]
  yield* sql.unsafe(
    `truncate ${[...tables.map((table) => name(`billing_usage_${table}`)), ...others.map((table) => name(`billing_${table}`))].join(", ")}`
  )
})
