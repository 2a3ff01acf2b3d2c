import { assert, describe, it } from "@effect/vitest"
import { builtIns } from "../../src/domain/Service.ts"
import { make, type UsageInput, type UsageRecord } from "../../src/domain/UsageRecord.ts"
import * as Tracking from "../../src/domain/Tracking.ts"
import type * as Result from "effect/Result"
import type { InvalidInput } from "../../src/domain/InvalidInput.ts"
import { accepted, refused } from "../support/results.ts"

const recordOf = (usage: Result.Result<UsageInput, InvalidInput>): UsageRecord => {
  const input = accepted(usage)
  return accepted(make(input, builtIns[input.service as keyof typeof builtIns], Date.UTC(2026, 0, 30)))
}

describe("Tracking", () => {
  const customer = "acme"

  it.each<readonly [string, () => Result.Result<UsageInput, InvalidInput>, string, string, string | null]>([
    [
      "a request",
      () => Tracking.apiRequest({ customer, endpoint: "/users", method: "POST", status: 201 }),
      "api",
      "1",
      '{"endpoint":"/users","method":"POST","status":201}'
    ],
    [
      "a request with defaults",
      () => Tracking.apiRequest({ customer, endpoint: '/a"b\\c\n' }),
      "api",
      "1",
      '{"endpoint":"/a\\"b\\\\c\\n","method":"GET","status":200}'
    ],
    [
      "storage",
      () => Tracking.storage({ customer, bytes: 1_073_741_824, hours: "1.5" }),
      "storage",
      "1610612736",
      '{"bytes":1073741824,"hours":1.5}'
    ],
    [
      "storage for an hour",
      () => Tracking.storage({ customer, bytes: "10.5" }),
      "storage",
      "10.5",
      '{"bytes":10.5,"hours":1}'
    ],
    [
      "bandwidth",
      () => Tracking.bandwidth({ customer, bytes: 495_063_329n }),
      "bandwidth",
      "495063329",
      '{"bytes":495063329,"direction":"egress"}'
    ],
    [
      "ingress",
      () => Tracking.bandwidth({ customer, bytes: 1, direction: "ingress" }),
      "bandwidth",
      "1",
      '{"bytes":1,"direction":"ingress"}'
    ],
    [
      "compute",
      () => Tracking.compute({ customer, cpuSeconds: 10.25, metadata: { job: 7 } }),
      "compute",
      "10.25",
      '{"job":7}'
    ],
    ["compute without metadata", () => Tracking.compute({ customer, cpuSeconds: 10 }), "compute", "10", null],
    [
      "a query",
      () => Tracking.databaseQuery({ customer, type: "INSERT", durationMs: 1.5 }),
      "database",
      "1",
      '{"type":"INSERT","duration_ms":1.5}'
    ],
    [
      "a query with defaults",
      () => Tracking.databaseQuery({ customer }),
      "database",
      "1",
      '{"type":"SELECT","duration_ms":0}'
    ],
    [
      "a function",
      () => Tracking.functionInvocation({ customer, name: "resize", durationMs: "12.5", memoryMb: 512 }),
      "functions",
      "1",
      '{"function":"resize","duration_ms":12.5,"memory_mb":512}'
    ],
    [
      "a function with defaults",
      () => Tracking.functionInvocation({ customer, name: "😀" }),
      "functions",
      "1",
      '{"function":"😀","duration_ms":0,"memory_mb":128}'
    ]
  ])("%s", (_, usage, service, amount, metadata) => {
    const record = recordOf(usage())
    assert.deepStrictEqual(
      [record.customer, record.service, record.amount, record.metadata],
      [customer, service, amount, metadata]
    )
  })

  const any = (value: unknown) => value as never
  it.each<readonly [string, () => Result.Result<unknown, InvalidInput>, string]>([
    ["no endpoint", () => Tracking.apiRequest({ customer, endpoint: any(undefined) }), "endpoint"],
    ["an empty endpoint", () => Tracking.apiRequest({ customer, endpoint: "" }), "endpoint"],
    ["U+0000", () => Tracking.apiRequest({ customer, endpoint: "a\u0000" }), "endpoint"],
    ["half a surrogate pair", () => Tracking.apiRequest({ customer, endpoint: "\ud800" }), "endpoint"],
    ["a megabyte", () => Tracking.apiRequest({ customer, endpoint: "x".repeat(1_000_000) }), "endpoint"],
    ["a method that is no text", () => Tracking.apiRequest({ customer, endpoint: "/", method: any(1) }), "method"],
    ["status 99", () => Tracking.apiRequest({ customer, endpoint: "/", status: 99 }), "status"],
    ["status 200.5", () => Tracking.apiRequest({ customer, endpoint: "/", status: 200.5 }), "status"],
    ["status as text", () => Tracking.apiRequest({ customer, endpoint: "/", status: any("200") }), "status"],
    ["negative bytes", () => Tracking.storage({ customer, bytes: -1 }), "bytes"],
    ["no bytes", () => Tracking.storage({ customer, bytes: any(undefined) }), "bytes"],
    ["hours that are NaN", () => Tracking.storage({ customer, bytes: 1, hours: NaN }), "hours"],
    ["infinite bytes", () => Tracking.bandwidth({ customer, bytes: Infinity }), "bytes"],
    ["a direction", () => Tracking.bandwidth({ customer, bytes: 1, direction: any('up","x":"') }), "direction"],
    ["cpuSeconds", () => Tracking.compute({ customer, cpuSeconds: "1e999999999" }), "cpuSeconds"],
    ["a query's duration", () => Tracking.databaseQuery({ customer, durationMs: any({}) }), "durationMs"],
    ["a function's name", () => Tracking.functionInvocation({ customer, name: any(null) }), "name"],
    ["memory", () => Tracking.functionInvocation({ customer, name: "f", memoryMb: -0.5 }), "memoryMb"],
    ["no object", () => Tracking.guarded(Tracking.apiRequest, any(undefined)), "usage"],
    [
      "a getter that throws",
      () =>
        Tracking.guarded(Tracking.apiRequest, any(Object.defineProperty({}, "endpoint", { get: () => assert.fail() }))),
      "usage"
    ]
  ])("refuses %s", (_, usage, field) => {
    assert.strictEqual(refused(usage()).field, field)
  })
})
