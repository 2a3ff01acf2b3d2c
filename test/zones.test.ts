/**
 * Hours, days and months where a zone's clock changes off the quarter of an hour, and in zones of which this process knows more than
 * the server does, or that it means something else by: compared with what `Intl` says of every record.
 */
import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import { Aggregator } from "../src/rollup/Aggregator.ts"
import { Archiver } from "../src/retention/Archiver.ts"
import { PeriodArchived } from "../src/archive/PeriodArchived.ts"
import * as Window from "../src/domain/Window.ts"
import { Exporter } from "../src/export/Exporter.ts"
import { Recorder } from "../src/record/Recorder.ts"
import { Reporter } from "../src/report/Reporter.ts"
import { directory } from "./support/archives.ts"
import { at } from "./support/clock.ts"
import { eachEngine } from "./support/engines.ts"
import { exportText } from "./support/exports.ts"
import * as Oracle from "./support/oracle.ts"

const minute = 60_000_000

/** A zone, and a day around which something is odd. */
const cases: ReadonlyArray<readonly [tz: string, day: string, why: string]> = [
  ["America/St_Johns", "2006-10-29", "at 00:01 the clock goes back to 23:01 of the day before"],
  ["Asia/Gaza", "2015-03-28", "at 00:01 the clock goes on to 01:01"],
  ["Australia/Lord_Howe", "2026-04-05", "half an hour happens twice"],
  ["Pacific/Apia", "2011-12-31", "the day before is none"],
  ["CET", "2026-07-01", "a zone with summer time, and an abbreviation without"],
  ["America/Edmonton", "2026-11-15", "newer than the zones of some servers"],
  ["Africa/Casablanca", "2026-10-31", "newer than the zones of some servers"]
]

/** Every seven minutes of three days, and the moments about the middle. */
const momentsOf = (day: string): ReadonlyArray<number> => {
  const start = (Date.parse(`${day}T00:00:00Z`) - 36 * 3_600_000) * 1000
  return Array.from({ length: 617 }, (_, index) => start + index * 7 * minute)
}

const toIso = (micros: number) => new Date(micros / 1000).toISOString()

/** The day or month of each record: the latest that the clock has shown until then. */
const shownBy = (moments: ReadonlyArray<number>, tz: string, length: number): ReadonlyArray<string> => {
  let latest = ""
  let minuteAt = moments[0]! - 1440 * minute
  return moments.map((moment) => {
    for (; minuteAt <= moment; minuteAt += minute) {
      const shown = Oracle.wallClock(minuteAt, tz).slice(0, length)
      if (shown > latest) latest = shown
    }
    return latest
  })
}

const countsOf = (labels: ReadonlyArray<string>): Record<string, number> => {
  const counts: Record<string, number> = {}
  for (const label of labels) counts[label] = (counts[label] ?? 0) + 1
  return counts
}

const windowOf = (tz: string, from: string, to: string) => Result.getOrThrow(Window.resolve({ from, to, tz, now: 0 }))

eachEngine("zones", (engine) => {
  const services = Layer.mergeAll(Recorder.layer(), Aggregator.layer, Reporter.layer, Exporter.layer, Archiver.layer)
  layer(Layer.provideMerge(services, engine.layer), { excludeTestServices: true })((it) => {
    for (const [index, [tz, day, why]] of cases.entries()) {
      it.effect(`${tz}, ${day}: ${why}`, () =>
        Effect.gen(function* () {
          const moments = momentsOf(day)
          const customer = `c${index}`
          const record = (some: ReadonlyArray<number>) =>
            Effect.flatMap(Recorder, (recorder) =>
              recorder.recordAll(
                some.map((moment) => ({ customer, service: "api", quantity: 1, recordedAt: toIso(moment) }))
              )
            )
          // Some of it in the rollups, some not.
          yield* record(moments.filter((_, place) => place % 2 === 0))
          yield* (yield* Aggregator).rollUp
          yield* record(moments.filter((_, place) => place % 2 === 1))
          const reporter = yield* Reporter
          const window = {
            ...windowOf(tz, day, day),
            start: (moments[0]! - minute) as Window.Window["start"],
            end: (moments.at(-1)! + 1) as Window.Window["end"]
          }
          const expected = {
            hour: countsOf(moments.map((moment) => Oracle.labelOf(moment, "hour", tz))),
            day: countsOf(shownBy(moments, tz, 10)),
            month: countsOf(shownBy(moments, tz, 7))
          }
          for (const unit of ["hour", "day", "month"] as const) {
            const rows = yield* reporter.series({ window, customer }, unit)
            const found: Record<string, number> = {}
            for (const { events, label } of rows) found[label] = (found[label] ?? 0) + Number(events)
            assert.deepStrictEqual(found, expected[unit], unit)
          }
          // A report of a day says what its row says.
          for (const [label, events] of Object.entries(expected.day).slice(1, -1)) {
            const { services: used } = yield* reporter.usage({ window: windowOf(tz, label, label), customer })
            assert.strictEqual(Number(used[0]?.events), events, label)
          }
          for (const [of, unit] of [
            ["hourly", "hour"],
            ["daily", "day"]
          ] as const) {
            const text = yield* exportText({ window, customer, of, format: "csv" })
            const found: Record<string, number> = {}
            for (const line of text.trim().split("\n").slice(1)) {
              const [, label, events] = line.split(",")
              found[label!] = (found[label!] ?? 0) + Number(events)
            }
            assert.deepStrictEqual(found, expected[unit], of)
          }
        })
      )
    }

    it.effect("where an hour begins within a quarter of one that is archived, nothing is missed in silence", () =>
      Effect.gen(function* () {
        const folder = yield* directory
        yield* (yield* Aggregator).rollUp
        yield* (yield* Archiver).archive({ days: 30, directory: folder })
        const reporter = yield* Reporter
        const ask = (tz: string) =>
          reporter.series({ window: windowOf(tz, "2006-10-27", "2006-10-31"), customer: "c0" }, "hour")
        const error = yield* Effect.flip(ask("America/St_Johns"))
        assert.instanceOf(error.reason, PeriodArchived)
        assert.isAbove((yield* ask("America/Halifax")).length, 48)
      }).pipe(at("2026-12-20T00:00:00Z"))
    )
  })
})
