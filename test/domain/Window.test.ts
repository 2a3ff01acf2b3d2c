import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import * as Window from "../../src/domain/Window.ts"
import { accepted, refused } from "../support/results.ts"

const now = Date.UTC(2026, 0, 30, 16, 45, 23, 500)

const resolve = (options: Omit<Parameters<typeof Window.resolve>[0], "now">) =>
  accepted(Window.resolve({ now, ...options }))

/** `start/end` in UTC, to the microsecond; the end is not part of it. */
const span = (options: Omit<Parameters<typeof Window.resolve>[0], "now">): string => {
  const { end, start } = resolve(options)
  return `${iso(start)}/${iso(end)}`
}

const iso = (micros: number): string => {
  const [date, time] = new Date(Math.floor(micros / 1000)).toISOString().slice(0, 23).split("T")
  const fraction = `${time!.slice(9)}${`${micros % 1000}`.padStart(3, "0")}`.replace(/0+$/, "")
  const clock = `${time!.slice(0, 8)}${fraction === "" ? "" : `.${fraction}`}`
  return clock === "00:00:00" ? date! : `${date}T${clock.replace(/:00$/, "")}`
}

const label = (options: Omit<Parameters<typeof Window.resolve>[0], "now">): string => {
  const { start, end } = resolve(options).label
  return `${start} to ${end}`
}

describe("Window.fromInput", () => {
  it.effect("a query takes what people write, at the time of its clock, and a window as it is", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(now)
      const today = yield* Window.fromInput("today")
      assert.deepStrictEqual(today, resolve({ period: "today" }))
      const there = { from: "2026-01", to: "2026-01-15", tz: "Asia/Kolkata" }
      assert.deepStrictEqual(yield* Window.fromInput(there), resolve(there))
      assert.deepStrictEqual(yield* Window.fromInput({}), resolve({ period: "this-month" }))
      yield* TestClock.adjust("2 days")
      assert.strictEqual(yield* Window.fromInput(today), today)
      const error = yield* Effect.flip(Window.fromInput("tomorow"))
      assert.strictEqual(error.field, "period")
    })
  )
})

describe("Window.resolve in UTC", () => {
  it.each<readonly [string, string]>([
    ["2026-01", "2026-01-01/2026-02-01"],
    ["2025-12", "2025-12-01/2026-01-01"],
    ["2026-01-31", "2026-01-31/2026-02-01"],
    ["2024-02-29", "2024-02-29/2024-03-01"],
    ["2026-01-31 23:59", "2026-01-31T23:59/2026-02-01"],
    ["2026-01-31T23:59:59", "2026-01-31T23:59:59/2026-02-01"],
    ["2026-01-31 23:59:59.5", "2026-01-31T23:59:59.5/2026-01-31T23:59:59.500001"],
    ["2026-01-31 23:59:59.999999", "2026-01-31T23:59:59.999999/2026-02-01"],
    ["today", "2026-01-30/2026-01-31"],
    ["yesterday", "2026-01-29/2026-01-30"],
    ["this-month", "2026-01-01/2026-02-01"],
    ["last-month", "2025-12-01/2026-01-01"],
    ["now", "2026-01-30T16:45:23.5/2026-01-30T16:45:23.500001"],
    ["2000-01-01", "2000-01-01/2000-01-02"],
    ["2099-12", "2099-12-01/2100-01-01"]
  ])("the period %s", (period, expected) => {
    assert.strictEqual(span({ period }), expected)
  })

  it.each<readonly [string, string, string]>([
    // Every way to write the end of January is the same end.
    ["2026-01", "2026-01", "2026-01-01/2026-02-01"],
    ["2026-01-01", "2026-01-31", "2026-01-01/2026-02-01"],
    ["2026-01-01", "2026-01-31 23:59", "2026-01-01/2026-02-01"],
    ["2026-01-01 00:00", "2026-01-31 23:59:59", "2026-01-01/2026-02-01"],
    ["2026-01-01T00:00:00Z", "2026-01-31T23:59:59.999999Z", "2026-01-01/2026-02-01"],
    ["2026-01-15", "2026-01-15", "2026-01-15/2026-01-16"],
    ["2026-01-15 10:00", "2026-01-15 10:00", "2026-01-15T10:00/2026-01-15T10:01"],
    ["last-month", "yesterday", "2025-12-01/2026-01-30"],
    ["2026-01-30", "now", "2026-01-30/2026-01-30T16:45:23.500001"],
    ["2026-01-01T00:00+05:30", "2026-01-01T00:00Z", "2025-12-31T18:30/2026-01-01T00:01"]
  ])("from %s to %s", (from, to, expected) => {
    assert.strictEqual(span({ from, to }), expected)
  })

  it("has a default for each end that is missing", () => {
    assert.strictEqual(span({}), "2026-01-01/2026-02-01")
    assert.strictEqual(span({ from: "", to: "", tz: "" }), "2026-01-01/2026-02-01")
    assert.strictEqual(span({ from: "2026-01-10" }), "2026-01-10/2026-01-30T16:45:23.500001")
    assert.strictEqual(span({ to: "2026-01-10" }), "2026-01-01/2026-01-11")
  })

  it("shows the ends as a reader would write them", () => {
    assert.strictEqual(label({ period: "2026-01" }), "2026-01-01 to 2026-01-31")
    assert.strictEqual(label({ period: "2026-01-31" }), "2026-01-31 to 2026-01-31")
    assert.strictEqual(
      label({ from: "2026-01-01", to: "2026-01-31 11:59" }),
      "2026-01-01 00:00:00 to 2026-01-31 11:59:59"
    )
    assert.strictEqual(label({ period: "2026-01", tz: "America/New_York" }), "2026-01-01 to 2026-01-31")
    assert.strictEqual(label({ period: "2018-11-04", tz: "America/Sao_Paulo" }), "2018-11-04 to 2018-11-04")
  })

  it.each<readonly [Omit<Parameters<typeof Window.resolve>[0], "now">, string, RegExp]>([
    [{ period: "2026-02-30" }, "period", /its month does not have/],
    [{ period: "1999-12" }, "period", /accepted years/],
    [{ period: "2100-01" }, "period", /accepted years/],
    [{ period: "tomorrow" }, "period", /is not a time/],
    [{ period: "" }, "period", /is not a time/],
    [{ from: "9999-01-01" }, "from", /accepted years/],
    [{ from: "x\u0000".repeat(1000) }, "from", /is not a time/],
    [{ to: "2016-12-31 23:59:60" }, "to", /leap second/],
    [{ from: "2026-02", to: "2026-01" }, "to", /not after the start/],
    [{ from: "2026-01-31 00:00:01", to: "2026-01-31 00:00:00" }, "to", /not after the start/],
    [{ tz: "Mars/Olympus" }, "tz", /not a time zone/],
    [{ tz: "'; drop table x; --" }, "tz", /not a time zone/],
    // PostgreSQL reads the sign of such a zone the other way round.
    [{ tz: "+05:30" }, "tz", /not a time zone/],
    [{ tz: "-08:00" }, "tz", /not a time zone/]
  ])("refuses %j", (options, field, problem) => {
    const error = refused(Window.resolve({ now, ...options }))
    assert.strictEqual(error.field, field)
    assert.match(error.problem, problem)
  })
})

describe("Window.resolve where clocks change", () => {
  it.each<readonly [string, string, string]>([
    ["Europe/Berlin", "2026-03-29", "2026-03-28T23:00/2026-03-29T22:00"],
    ["Europe/Berlin", "2026-10-25", "2026-10-24T22:00/2026-10-25T23:00"],
    ["Europe/Berlin", "2026-03", "2026-02-28T23:00/2026-03-31T22:00"],
    ["America/New_York", "2026-11-01", "2026-11-01T04:00/2026-11-02T05:00"],
    ["Asia/Kolkata", "2026-01-31", "2026-01-30T18:30/2026-01-31T18:30"],
    ["Asia/Kathmandu", "2026-01-31", "2026-01-30T18:15/2026-01-31T18:15"],
    // Half an hour of summer time.
    ["Australia/Lord_Howe", "2026-04-05", "2026-04-04T13:00/2026-04-05T13:30"],
    ["Australia/Lord_Howe", "2026-10-04", "2026-10-03T13:30/2026-10-04T13:00"],
    // Days that begin at one o'clock, because their midnight is skipped.
    ["America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00/2018-11-05T02:00"],
    ["America/Sao_Paulo", "2018-11-03", "2018-11-03T03:00/2018-11-04T03:00"],
    ["Asia/Beirut", "2026-03-29", "2026-03-28T22:00/2026-03-29T21:00"],
    // A day whose last hour, and one whose first hour, comes twice.
    ["America/Sao_Paulo", "2018-02-17", "2018-02-17T02:00/2018-02-18T03:00"],
    ["America/Havana", "2026-11-01", "2026-11-01T04:00/2026-11-02T05:00"],
    // The day that Samoa skipped is between these two.
    ["Pacific/Apia", "2011-12-29", "2011-12-29T10:00/2011-12-30T10:00"],
    ["Pacific/Apia", "2011-12-31", "2011-12-30T10:00/2011-12-31T10:00"],
    ["Pacific/Apia", "2011-12", "2011-12-01T10:00/2011-12-31T10:00"]
  ])("%s: %s", (tz, period, expected) => {
    assert.strictEqual(span({ period, tz }), expected)
  })

  it("moves a time in the gap forward, and takes the first of two", () => {
    const berlin = { tz: "Europe/Berlin" }
    assert.strictEqual(span({ period: "2026-03-29 02:30", ...berlin }), "2026-03-29T01:30/2026-03-29T01:31")
    assert.strictEqual(span({ period: "2026-10-25 02:30", ...berlin }), "2026-10-25T00:30/2026-10-25T00:31")
    assert.strictEqual(
      span({ from: "2026-10-25T02:30+01:00", to: "2026-10-25 03:00", ...berlin }),
      "2026-10-25T01:30/2026-10-25T02:01"
    )
  })

  it("reads words on the clock of the zone", () => {
    const options = { now: Date.UTC(2026, 0, 31, 20), tz: "Asia/Tokyo" }
    const of = (period: string) => {
      const { end, start } = accepted(Window.resolve({ ...options, period }))
      return `${iso(start)}/${iso(end)}`
    }
    assert.strictEqual(of("today"), "2026-01-31T15:00/2026-02-01T15:00")
    assert.strictEqual(of("yesterday"), "2026-01-30T15:00/2026-01-31T15:00")
    assert.strictEqual(of("this-month"), "2026-01-31T15:00/2026-02-28T15:00")
    assert.strictEqual(of("last-month"), "2025-12-31T15:00/2026-01-31T15:00")
  })

  it("keeps the 24 hours of a day that is written with an offset", () => {
    assert.strictEqual(span({ period: "2026-01-31+05:30" }), "2026-01-30T18:30/2026-01-31T18:30")
    assert.strictEqual(span({ period: "2026-03-29+01:00", tz: "Europe/Berlin" }), "2026-03-28T23:00/2026-03-29T23:00")
  })

  it("accepts the first and the last day of the range in every zone, and no day that a zone skipped", () => {
    for (const tz of ["Asia/Tokyo", "Pacific/Kiritimati", "Pacific/Pago_Pago", "UTC"]) {
      for (const period of ["2000-01-01", "2000-01", "2099-12-31", "2099-12"]) {
        const { end, start } = resolve({ period, tz })
        assert.isAbove(end, start)
      }
    }
    assert.match(
      refused(Window.resolve({ now, period: "2011-12-30", tz: "Pacific/Apia" })).problem,
      /a day that Pacific\/Apia does not have/
    )
  })

  const zones = [
    "UTC",
    "Europe/Berlin",
    "Europe/Dublin",
    "Europe/Lisbon",
    "America/New_York",
    "America/St_Johns",
    "America/Sao_Paulo",
    "America/Havana",
    "America/Santiago",
    "America/Asuncion",
    "Africa/Casablanca",
    "Africa/Cairo",
    "Asia/Beirut",
    "Asia/Gaza",
    "Asia/Tehran",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Asia/Pyongyang",
    "Australia/Adelaide",
    "Australia/Lord_Howe",
    "Pacific/Chatham",
    "Pacific/Kiritimati",
    "Pacific/Pago_Pago"
  ]
  const calendars = new Map(
    zones.map((timeZone) => [
      timeZone,
      new Intl.DateTimeFormat("en-CA", { timeZone, year: "numeric", month: "2-digit", day: "2-digit" })
    ])
  )

  // Against the calendar of the zone, which is asked the other way round: which day is it at this instant?
  it.prop("days follow each other without gap or overlap in every zone", [Schema.Int, Schema.Int], ([which, when]) => {
    const tz = zones[Math.abs(which) % zones.length]!
    const calendar = calendars.get(tz)!
    // The days around the clock changes of 2001 to 2035 are as likely as the others.
    const day = new Date(Date.UTC(2001, 0, 1) + (Math.abs(when) % 12_700) * 86_400_000)
    const text = day.toISOString().slice(0, 10)
    const next = new Date(day.getTime() + 86_400_000).toISOString().slice(0, 10)
    const { end, start } = resolve({ period: text, tz })
    assert.strictEqual(calendar.format(start / 1000), text)
    assert.notStrictEqual(calendar.format(start / 1000 - 1), text)
    assert.strictEqual(calendar.format(end / 1000 - 1), text)
    assert.notStrictEqual(calendar.format(end / 1000), text)
    assert.strictEqual(resolve({ period: next, tz }).start, end)
  })

  it("has every day of a leap year and the next in every zone", () => {
    for (const tz of zones) {
      let end: number | undefined
      for (let day = Date.UTC(2016, 0, 1); day < Date.UTC(2018, 0, 1); day += 86_400_000) {
        const window = resolve({ period: new Date(day).toISOString().slice(0, 10), tz })
        if (end !== undefined) assert.strictEqual(window.start, end, `${tz} ${new Date(day).toISOString()}`)
        assert.isAbove(window.end, window.start)
        end = window.end
      }
    }
  })
})

describe("Window.previous", () => {
  it.each<readonly [Omit<Parameters<typeof Window.resolve>[0], "now">, string]>([
    [{ period: "2026-03" }, "2026-02-01 to 2026-02-28"],
    [{ period: "2026-01" }, "2025-12-01 to 2025-12-31"],
    [{ period: "2026-01-01" }, "2025-12-31 to 2025-12-31"],
    [{ from: "2026-01-10", to: "2026-01-14" }, "2026-01-05 to 2026-01-09"],
    [{ from: "2026-04", to: "2026-06" }, "2026-01-01 to 2026-03-31"],
    [{ from: "2024-01", to: "2024-12" }, "2023-01-01 to 2023-12-31"],
    [{ from: "2026-01-10 08:00", to: "2026-01-10 09:59" }, "2026-01-10 06:00:00 to 2026-01-10 07:59:59"],
    // The clock changes on the 29th of March, and on the 25th of October.
    [{ period: "2026-04", tz: "Europe/Berlin" }, "2026-03-01 to 2026-03-31"],
    [{ period: "2026-03-29", tz: "Europe/Berlin" }, "2026-03-28 to 2026-03-28"],
    [{ period: "2026-03-30", tz: "Europe/Berlin" }, "2026-03-29 to 2026-03-29"],
    [{ from: "2026-10-20", to: "2026-10-26", tz: "Europe/Berlin" }, "2026-10-13 to 2026-10-19"],
    [{ period: "2018-11-04", tz: "America/Sao_Paulo" }, "2018-11-03 to 2018-11-03"],
    [{ period: "2011-12-31", tz: "Pacific/Apia" }, "2011-12-29 to 2011-12-29"],
    // A month of UTC is none in Berlin.
    [
      { from: "2026-01-01T00:00Z", to: "2026-01-31T23:59Z", tz: "Europe/Berlin" },
      "2025-12-01 01:00:00 to 2026-01-01 00:59:59"
    ],
    [{ period: "2000-01" }, "1999-12-01 to 1999-12-31"]
  ])("of %j is %s", (options, expected) => {
    const window = resolve(options)
    const previous = Window.previous(window)
    assert.strictEqual(`${previous.label.start} to ${previous.label.end}`, expected)
    assert.strictEqual(previous.end, window.start)
    assert.strictEqual(previous.tz, window.tz)
  })

  it.prop("of what is no whole day or month is just as long", [Schema.Int, Schema.Int], ([at, length]) => {
    const start = (Date.UTC(2026, 0, 1, 0, 30) + (Math.abs(at) % 300) * 86_400_000) * 1000
    const end = start + 1 + (Math.abs(length) % 86_400_000_000)
    const window = { ...resolve({ period: "2026-01", tz: "Asia/Kolkata" }), start, end } as Window.Window
    const previous = Window.previous(window)
    assert.deepStrictEqual([previous.end, previous.end - previous.start], [window.start, end - start])
  })
})
