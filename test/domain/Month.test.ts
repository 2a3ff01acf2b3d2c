import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Instant from "../../src/domain/Instant.ts"
import * as Month from "../../src/domain/Month.ts"

const instant = (text: string) => Result.getOrThrow(Instant.parse("recordedAt", text))

describe("months", () => {
  it("are those of UTC, and follow each other over the end of a year and over leap days", () => {
    assert.strictEqual(Month.of(instant("2026-02-01T00:30:00+01:00")), "2026-01")
    assert.strictEqual(Month.of(instant("2026-01-31T23:59:59.999999Z")), "2026-01")
    for (const [month, next] of [
      ["2025-12", "2026-01"],
      ["2024-02", "2024-03"]
    ]) {
      const found = Result.getOrThrow(Month.parse("month", month!))
      assert.strictEqual(Month.next(found), next)
      assert.deepStrictEqual(Month.span(found), { start: instant(`${month}-01`), end: instant(`${next}-01`) })
      assert.strictEqual(Month.firstDay(found), `${month}-01`)
    }
  })

  it("are written in one way", () => {
    for (const text of ["2026-01-01", "2026-13", "2026-00", "2026-1", "January", ""]) {
      const refused = Result.getOrThrow(Result.flip(Month.parse("month", text)))
      assert.deepStrictEqual([refused.field, refused.remedy], ["month", "Give a month such as 2026-01"])
    }
  })
})
