import { assert, describe, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Schema from "effect/Schema"
import * as Instant from "../../src/domain/Instant.ts"
import { accepted, refused } from "../support/results.ts"

const read = (input: unknown): string => Instant.toIso(accepted(Instant.parse("recordedAt", input)))

describe("Instant.parse", () => {
  it.each<readonly [unknown, string]>([
    ["2026-01-30T16:45:23.5Z", "2026-01-30T16:45:23.5Z"],
    ["2026-01-30 16:45:23.123456", "2026-01-30T16:45:23.123456Z"],
    // PostgreSQL has microseconds; nothing is rounded up into the next second.
    ["2026-01-30 16:45:59.9999999", "2026-01-30T16:45:59.999999Z"],
    ["2026-01-30 16:45:23,25", "2026-01-30T16:45:23.25Z"],
    ["2026-01-30T16:45", "2026-01-30T16:45:00Z"],
    ["2026-01-30", "2026-01-30T00:00:00Z"],
    ["2026-01", "2026-01-01T00:00:00Z"],
    ["2026-01-30 16:45:23+01:00", "2026-01-30T15:45:23Z"],
    ["2026-01-30 16:45:23 +0530", "2026-01-30T11:15:23Z"],
    ["2026-01-30T16:45:23-08", "2026-01-31T00:45:23Z"],
    ["2026-01-30T16:45:23z", "2026-01-30T16:45:23Z"],
    ["2024-02-29", "2024-02-29T00:00:00Z"],
    ["2000-02-29", "2000-02-29T00:00:00Z"],
    ["2000-01-01T00:00:00Z", "2000-01-01T00:00:00Z"],
    ["2000-01-01T01:00:00+01:00", "2000-01-01T00:00:00Z"],
    ["2099-12-31T23:59:59.999999Z", "2099-12-31T23:59:59.999999Z"],
    [new Date("2026-01-30T16:45:23.5Z"), "2026-01-30T16:45:23.5Z"],
    [Date.UTC(2026, 0, 30), "2026-01-30T00:00:00Z"],
    [Date.UTC(2026, 0, 30) + 0.25, "2026-01-30T00:00:00.00025Z"],
    [DateTime.makeUnsafe("2026-01-30T16:45:23.5Z"), "2026-01-30T16:45:23.5Z"],
    [DateTime.makeZonedUnsafe("2026-01-30T16:45:23Z", { timeZone: "Asia/Kolkata" }), "2026-01-30T16:45:23Z"]
  ])("reads %s", (input, iso) => {
    assert.strictEqual(read(input), iso)
  })

  it.each<readonly [unknown, RegExp]>([
    ["0001-01-01", /outside the accepted years/],
    ["9999-12-31", /outside the accepted years/],
    ["294277-01-01", /is not a time/],
    ["+294277-01-01", /is not a time/],
    ["1999-12-31T23:59:59.999999Z", /outside the accepted years/],
    ["2100-01-01T00:00:00Z", /outside the accepted years/],
    ["2000-01-01T00:00:00+00:01", /outside the accepted years/],
    ["2099-12-31T23:59:59-00:01", /outside the accepted years/],
    [Date.UTC(2000, 0, 1) - 0.001, /outside the accepted years/],
    [Date.UTC(2100, 0, 1), /outside the accepted years/],
    [new Date(8.64e15), /outside the accepted years/],
    [DateTime.makeUnsafe(8.64e15), /outside the accepted years/],
    [Number.MAX_VALUE, /outside the accepted years/],
    [-1, /outside the accepted years/],
    ["2026-02-30", /day that its month does not have/],
    ["2026-02-29", /day that its month does not have/],
    ["2100-02-29", /day that its month does not have/],
    ["1900-02-29", /day that its month does not have/],
    ["2026-04-31", /day that its month does not have/],
    ["2026-01-00", /day that its month does not have/],
    ["2026-13-01", /no month 13/],
    ["2026-00-01", /no month 0/],
    ["2026-01-30T24:00:00", /not a time of day/],
    ["2026-01-30T23:60", /not a time of day/],
    ["2026-01-30T23:59:61", /not a time of day/],
    ["2016-12-31T23:59:60Z", /leap second/],
    ["2026-01-30T16:45:23+16:00", /no such offset/],
    ["2026-01-30T16:45:23+05:99", /no such offset/],
    ["2026-01-30T16:45:23+5", /is not a time/],
    // Not January at an offset of minus half past five.
    ["2026-01-05:30", /is not a time/],
    ["2026-01+01:00", /is not a time/],
    ["2026-1-30", /is not a time/],
    ["2026-01-30T16", /is not a time/],
    ["2026-01-30\n", /is not a time/],
    ["2026-01-30\u0000", /is not a time/],
    [`2026-01-30${" ".repeat(1_000_000)}`, /is not a time/],
    ["30.01.2026", /is not a time/],
    ["yesterday", /is not a time/],
    ["infinity", /is not a time/],
    ["", /is not a time/],
    [new Date(NaN), /not a valid date/],
    [NaN, /not a valid date/],
    [Infinity, /not a valid date/],
    [null, /is not a time/],
    [1_769_791_523_000n, /is not a time/],
    [{}, /is not a time/],
    [true, /is not a time/]
  ])("refuses %o", (input, problem) => {
    const error = refused(Instant.parse("recordedAt", input))
    assert.strictEqual(error.field, "recordedAt")
    assert.match(error.problem, problem)
  })

  it("says so when a number looks like seconds", () => {
    assert.match(refused(Instant.parse("recordedAt", 1_769_791_523)).remedy, /seconds since 1970/)
    assert.notMatch(refused(Instant.parse("recordedAt", 17)).remedy, /seconds since 1970/)
  })

  it.prop("reads what it writes, to the microsecond", [Schema.Int], ([seed]) => {
    const earliest = Date.UTC(2000, 0, 1) * 1000
    const span = (Date.UTC(2100, 0, 1) - Date.UTC(2000, 0, 1)) * 1000
    const micros = earliest + (Math.abs(seed * 7_919_993) % span)
    const iso = Instant.toIso(micros as Instant.Instant)
    assert.strictEqual(accepted(Instant.parse("recordedAt", iso)), micros)
    assert.strictEqual(Instant.toMillis(micros as Instant.Instant), Math.floor(micros / 1000))
  })
})
