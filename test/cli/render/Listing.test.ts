import { assert, describe, it } from "@effect/vitest"
import { render } from "../../../src/cli/render/Formats.ts"
import * as Listing from "../../../src/cli/render/Listing.ts"
import { tableQuantity } from "../../../src/cli/render/Numbers.ts"
import * as Decimal from "../../../src/domain/Decimal.ts"
import * as Instant from "../../../src/domain/Instant.ts"

interface Use {
  readonly who: string | undefined
  readonly used: Decimal.Decimal
  readonly events: bigint
  readonly since: Instant.Instant | undefined
  readonly note: string | undefined
}

const { cell, column, field, time } = Listing

const listing = Listing.make<Use>("uses", [
  column("customer_id", ({ who }) => who, { absent: "(none)" }),
  column("total_quantity", ({ used }) => used, { key: "quantity", show: tableQuantity }),
  column("events", ({ events }) => events),
  time("since", ({ since }) => since),
  cell("kind", () => "sum"),
  field("note", ({ note }) => note)
])

const rows: ReadonlyArray<Use> = [
  {
    who: "=acme\u001b",
    used: Decimal.fromDatabase("12345678901234567890.123456"),
    events: 3n,
    since: Instant.fromMillis(0),
    note: undefined
  },
  { who: undefined, used: Decimal.one, events: 0n, since: undefined, note: "late" }
]

const document = Listing.document(listing, rows, { head: { unit: "h" }, tail: { total: 2 } })

describe("a listing", () => {
  it("is JSON with its own names, every digit, null for what is absent, and no member that is undefined", () => {
    assert.strictEqual(
      render(document, { format: "json" }).replace(/\s+/g, " "),
      '{ "schema": 1, "unit": "h", "uses": [ ' +
        '{ "customer_id": "=acme\\u001b", "quantity": 12345678901234567890.123456, "events": 3, "since": "1970-01-01T00:00:00Z" }, ' +
        '{ "customer_id": null, "quantity": 1, "events": 0, "since": null, "note": "late" } ], "total": 2 }'
    )
  })

  it("is CSV with every digit, nothing for what is absent, and no formula", () => {
    assert.deepStrictEqual(render(document, { format: "csv" }).split("\n"), [
      "customer_id,total_quantity,events,since,kind",
      "'=acme\u001b,12345678901234567890.123456,3,1970-01-01T00:00:00Z,sum",
      ",1,0,,sum"
    ])
  })

  it("is a table with rounded figures, unless they are to be exact, and no control characters", () => {
    const cellsOf = (exact: boolean) =>
      render(document, { format: "table", exact })
        .split("\n")
        .map((line) => line.split("|").map((text) => text.trim()))
    assert.deepStrictEqual(cellsOf(false)[0], ["customer_id", "total_quantity", "events", "since", "kind"])
    assert.deepStrictEqual(cellsOf(false)[2]?.slice(0, 3), ["=acme\\u001b", "12345678901234567890.12", "3"])
    assert.deepStrictEqual(cellsOf(false)[3], ["(none)", "1", "0", "", "sum"])
    assert.strictEqual(cellsOf(true)[2]?.[1], "12345678901234567890.123456")
  })

  it("of one row without a name is the document itself", () => {
    const one = Listing.make<Use>(undefined, [column("events", ({ events }) => events)])
    assert.strictEqual(
      render(Listing.document(one, rows.slice(0, 1), { head: { a: 1 } }), { format: "json" }).replace(/\s+/g, " "),
      '{ "schema": 1, "a": 1, "events": 3 }'
    )
  })
})
