/** Bad input, and odd input that is none: each is refused with the field's name, or stored as it is. */
import type { UsageInput } from "../../src/domain/UsageRecord.ts"

export type Given = { readonly [key in keyof UsageInput]?: unknown }

export interface Refusable {
  readonly what: string
  readonly usage: Given
  readonly field: string
}

const cyclic: Record<string, unknown> = {}
cyclic["self"] = cyclic
let nested: Record<string, unknown> = {}
for (let i = 0; i < 10_000; i++) nested = { nested }
const throwing = () => {
  throw new Error("from the caller's own code")
}
const backslash = "\\"

export const refusable: ReadonlyArray<Refusable> = [
  { what: "U+0000 in the customer", usage: { customer: "a\u0000b" }, field: "customer" },
  { what: "a tab in the customer", usage: { customer: "a\tb" }, field: "customer" },
  { what: "CR LF in the customer", usage: { customer: "a\r\nb" }, field: "customer" },
  { what: "half a surrogate pair in the customer", usage: { customer: "a\ud800" }, field: "customer" },
  { what: "300 characters", usage: { customer: "x".repeat(300) }, field: "customer" },
  { what: "no customer", usage: { customer: undefined }, field: "customer" },
  { what: "an empty customer", usage: { customer: "" }, field: "customer" },
  { what: "an object for a customer", usage: { customer: {} }, field: "customer" },
  { what: "an unknown service", usage: { service: "teleport" }, field: "service" },
  { what: "SQL for a service", usage: { service: "api'; drop table billing_usage_records; --" }, field: "service" },
  { what: "the prototype for a service", usage: { service: "__proto__" }, field: "service" },
  { what: "constructor for a service", usage: { service: "constructor" }, field: "service" },
  { what: "no service", usage: { service: undefined }, field: "service" },
  { what: "NaN", usage: { quantity: NaN }, field: "quantity" },
  { what: "Infinity", usage: { quantity: Infinity }, field: "quantity" },
  { what: "-Infinity", usage: { quantity: -Infinity }, field: "quantity" },
  { what: "a negative quantity", usage: { quantity: -1 }, field: "quantity" },
  { what: "1e308", usage: { quantity: 1e308 }, field: "quantity" },
  { what: "1e-400 as text", usage: { quantity: "1e-400" }, field: "quantity" },
  { what: "1e999999999", usage: { quantity: "1e999999999" }, field: "quantity" },
  { what: "a giant bigint", usage: { quantity: 1n << 1_000_000n }, field: "quantity" },
  { what: "40 digits", usage: { quantity: "1234567890123456789012345678901234567890" }, field: "quantity" },
  { what: "text for a quantity", usage: { quantity: "many" }, field: "quantity" },
  { what: "no quantity", usage: { quantity: undefined }, field: "quantity" },
  { what: "a quantity and an amount", usage: { amount: 1 }, field: "quantity" },
  { what: "a negative amount", usage: { quantity: undefined, amount: "-1" }, field: "amount" },
  { what: "a unit cost that the table refuses", usage: { unitCost: 1e12 }, field: "unitCost" },
  { what: "a negative unit cost", usage: { unitCost: -0.01 }, field: "unitCost" },
  { what: "the year 1", usage: { recordedAt: "0001-01-01" }, field: "recordedAt" },
  { what: "the year 9999", usage: { recordedAt: "9999-12-31" }, field: "recordedAt" },
  { what: "the year 294277", usage: { recordedAt: "294277-01-01" }, field: "recordedAt" },
  {
    what: "the last moment before the range",
    usage: { recordedAt: "1999-12-31T23:59:59.999999Z" },
    field: "recordedAt"
  },
  { what: "the first moment after the range", usage: { recordedAt: "2100-01-01T00:00:00Z" }, field: "recordedAt" },
  { what: "30 February", usage: { recordedAt: "2026-02-30" }, field: "recordedAt" },
  { what: "a leap second", usage: { recordedAt: "2016-12-31T23:59:60Z" }, field: "recordedAt" },
  { what: "an invalid Date", usage: { recordedAt: new Date(NaN) }, field: "recordedAt" },
  { what: "a cycle", usage: { metadata: cyclic }, field: "metadata" },
  { what: "10,000 levels", usage: { metadata: nested }, field: "metadata" },
  {
    what: "10,000 levels as text",
    usage: { metadata: `{"a":${"[".repeat(10_000)}${"]".repeat(10_000)}}` },
    field: "metadata"
  },
  { what: "a bigint in metadata", usage: { metadata: { a: 1n } }, field: "metadata" },
  { what: "a toJSON that throws", usage: { metadata: { toJSON: throwing } }, field: "metadata" },
  {
    what: "a getter that throws",
    usage: { metadata: Object.defineProperty({}, "a", { get: throwing, enumerable: true }) },
    field: "metadata"
  },
  { what: "U+0000 in metadata", usage: { metadata: { a: "\u0000" } }, field: "metadata" },
  { what: "an escaped U+0000", usage: { metadata: `{"a":"${backslash}u0000"}` }, field: "metadata" },
  {
    what: "an escaped U+0000 that a later key hides",
    usage: { metadata: `{"a":"${backslash}u0000","a":1}` },
    field: "metadata"
  },
  { what: "an escaped half of a surrogate pair", usage: { metadata: `{"a":"${backslash}ud800"}` }, field: "metadata" },
  { what: "a megabyte", usage: { metadata: { a: "x".repeat(1_000_000) } }, field: "metadata" },
  { what: "an array of metadata", usage: { metadata: [1] }, field: "metadata" },
  { what: "broken JSON", usage: { metadata: "{" }, field: "metadata" },
  {
    what: "a property of the record that throws",
    usage: Object.defineProperty({}, "customer", { get: throwing, enumerable: false }),
    field: "record"
  }
]

/** What is stored must be this, and what is not named as it was given. */
export interface Storable {
  readonly what: string
  readonly usage: Given
  readonly stored: {
    readonly amount?: string
    readonly customer?: string
    readonly metadata?: string
    readonly unitCost?: string
  }
}

const keys = Object.fromEntries(Array.from({ length: 5_000 }, (_, i) => [`k${i}`, i]))

export const storable: ReadonlyArray<Storable> = [
  { what: "-0", usage: { quantity: -0 }, stored: { amount: "0" } },
  { what: "0.1 + 0.2", usage: { quantity: 0.1 + 0.2 }, stored: { amount: "0.30000000000000004" } },
  { what: "2^53 + 1 as text", usage: { quantity: "9007199254740993" }, stored: { amount: "9007199254740993" } },
  { what: "2^53 + 1 as a bigint", usage: { quantity: 9007199254740993n }, stored: { amount: "9007199254740993" } },
  {
    what: "the largest amount",
    usage: { quantity: `${"9".repeat(24)}.${"9".repeat(18)}` },
    stored: { amount: `${"9".repeat(24)}.${"9".repeat(18)}` }
  },
  {
    what: "the largest unit cost",
    usage: { unitCost: `${"9".repeat(12)}.${"9".repeat(18)}` },
    stored: { unitCost: `${"9".repeat(12)}.${"9".repeat(18)}` }
  },
  { what: "the smallest amount", usage: { quantity: "1e-18" }, stored: { amount: `0.${"0".repeat(17)}1` } },
  { what: "a backslash", usage: { metadata: { a: "\\" } }, stored: { metadata: '{"a":"\\\\"}' } },
  { what: "\\N and \\.", usage: { metadata: '{"\\\\N":"\\\\."}' }, stored: { metadata: '{"\\\\N":"\\\\."}' } },
  {
    what: "tab, CR and LF in metadata",
    usage: { metadata: '{\t"a"\r\n:\n1}' },
    stored: { metadata: '{\t"a"\r\n:\n1}' }
  },
  { what: "quotes and commas", usage: { metadata: { a: '","' } }, stored: { metadata: '{"a":"\\",\\""}' } },
  { what: "a right-to-left override", usage: { metadata: { a: "\u202e" } }, stored: { metadata: '{"a":"\u202e"}' } },
  { what: "keys that come twice", usage: { metadata: '{"a":1,"a":2}' }, stored: { metadata: '{"a":1,"a":2}' } },
  { what: "__proto__", usage: { metadata: '{"__proto__":{"x":1}}' }, stored: { metadata: '{"__proto__":{"x":1}}' } },
  {
    what: "constructor.prototype",
    usage: { metadata: { constructor: { prototype: 1 } } },
    stored: { metadata: '{"constructor":{"prototype":1}}' }
  },
  {
    what: "a formula",
    usage: { metadata: { a: "=cmd|'/c calc'!A1" } },
    stored: { metadata: `{"a":"=cmd|'/c calc'!A1"}` }
  },
  { what: "many keys", usage: { metadata: keys }, stored: { metadata: JSON.stringify(keys) } },
  {
    what: "as much metadata as is accepted",
    usage: { metadata: `{"a":"${"é".repeat(65_528)}"}` },
    stored: { metadata: `{"a":"${"é".repeat(65_528)}"}` }
  },
  {
    what: "SQL",
    usage: { metadata: { a: "'; drop table billing_usage_records; --" } },
    stored: { metadata: `{"a":"'; drop table billing_usage_records; --"}` }
  },
  { what: "a time in a gap of summer time", usage: { recordedAt: "2026-03-29T02:30:00" }, stored: {} },
  { what: "the first moment of the range", usage: { recordedAt: "2000-01-01" }, stored: {} },
  { what: "the last moment of the range", usage: { recordedAt: "2099-12-31T23:59:59.999999Z" }, stored: {} }
]
