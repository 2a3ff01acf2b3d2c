import { assert, describe, it, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { randomUUID } from "node:crypto"
import { Database } from "../../src/database/Database.ts"
import type { CustomerId } from "../../src/domain/CustomerId.ts"
import type { Instant } from "../../src/domain/Instant.ts"
import type { ServiceName } from "../../src/domain/Service.ts"
import type { UsageRecord } from "../../src/domain/UsageRecord.ts"
import { numeric } from "../../src/ledger/CopyBinary.ts"
import { UsageStore } from "../../src/ledger/UsageStore.ts"
import { eachEngine } from "../support/engines.ts"

const amounts = [
  "0",
  "1",
  "9999",
  "10000",
  "10001",
  "99990000",
  "99999999",
  "100000000",
  "123456789012345678901234",
  "0.000000000000000001",
  "0.0001",
  "0.00012",
  "0.5",
  "12345.6789",
  "10000.0001",
  "999999999999999999999999.999999999999999999",
  "20000000000000000000"
]

const texts = [
  '{"endpoint":"/users/17"}',
  '{"tab":"\\t","back":"\\\\","quote":"\\"","line":"\\n"}',
  '{"name":"Žluťoučký kůň","emoji":"🐎"}',
  "{}",
  `{"long":"${"ž".repeat(20_000)}"}`,
  null
]

const customers = ["acme", "a\\b", "Žluťoučký kůň 🐎", "x".repeat(255), "ü".repeat(255), "Nobody"]

const january = Date.UTC(2026, 0, 1) * 1000

const records = Array.from({ length: 1_200 }, (_, i): UsageRecord => ({
  customer: customers[i % customers.length]! as CustomerId,
  service: "api" as ServiceName,
  amount: amounts[i % amounts.length]!,
  unitCost: ["0", "0.0001", "0.000000000000000001", "999999999999.5", "3"][i % 5],
  recordedAt: (i % 7 === 0 ? Date.UTC(2000, 0, 1) * 1000 + i : january + i * 1_234_567_891) as Instant,
  metadata: texts[i % texts.length]!
}))

eachEngine("CopyBinary", (engine) => {
  layer(Layer.provideMerge(UsageStore.layer, engine.layer), { excludeTestServices: true })((it) => {
    it.effect("stores every value as it is", () =>
      Effect.gen(function* () {
        const store = yield* UsageStore
        const { name, sql } = yield* Database
        yield* store.append({ key: randomUUID(), source: "test", records })
        const rows = yield* sql.unsafe(
          `select customer_id as customer, service_name as service, amount::text, unit_cost::text as "unitCost",
            (extract(epoch from recorded_at) * 1000000)::bigint::text as "recordedAt", metadata::text
          from ${name("billing_usage_records")} order by position`
        )
        assert.deepStrictEqual(
          rows,
          records.map((record) => ({ ...record, recordedAt: `${record.recordedAt}` }))
        )
      })
    )
  })
})

describe("numeric", () => {
  it("has groups of four digits, and neither zeros before nor behind them", () => {
    assert.strictEqual(numeric("-1").toString("hex"), "00000000c0000000")
    assert.strictEqual(numeric("0").toString("hex"), "0000000000000000")
    assert.strictEqual(numeric("10000").toString("hex"), "00010001000000000001")
    assert.strictEqual(numeric("0.0001").toString("hex"), "0001ffff000000040001")
    assert.strictEqual(numeric("12345.6789").toString("hex"), "0003000100000004000109291a85")
  })
})
