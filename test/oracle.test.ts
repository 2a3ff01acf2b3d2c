/**
 * Random histories, and everything that reports say of them compared with an independent exact computation, to the last
 * digit. `ORACLE_SEEDS` says how many histories (`npm run test:faults`: 200), `TEST_SEED` where they begin.
 */
import { afterAll, assert, layer } from "@effect/vitest"
import * as BigDecimal from "effect/BigDecimal"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { randomUUID } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Aggregator } from "../src/rollup/Aggregator.ts"
import { Analytics } from "../src/report/Analytics.ts"
import { Catalog } from "../src/catalog/Catalog.ts"
import { Database } from "../src/database/Database.ts"
import * as Decimal from "../src/domain/Decimal.ts"
import type { Instant } from "../src/domain/Instant.ts"
import type { Window } from "../src/domain/Window.ts"
import { Eraser } from "../src/retention/Eraser.ts"
import { Recorder } from "../src/record/Recorder.ts"
import { Reporter, type ReportQuery } from "../src/report/Reporter.ts"
import { Retention } from "../src/retention/Retention.ts"
import { Spool } from "../src/spool/Spool.ts"
import { at } from "./support/clock.ts"
import { eachEngine } from "./support/engines.ts"
import * as Oracle from "./support/oracle.ts"
import { type Random, random, runSeed } from "./support/random.ts"

const archives = join(tmpdir(), `effect-usage-oracle-${randomUUID()}`)
const histories = Number(process.env["ORACLE_SEEDS"] ?? 3)

// Clock changes by an hour, by half an hour, at midnight; halves and quarters of hours; far ahead and far behind.
const zones = [
  "UTC",
  "Asia/Kolkata",
  "Asia/Kathmandu",
  "America/New_York",
  "America/Santiago",
  "Australia/Lord_Howe",
  "Europe/London",
  "Pacific/Kiritimati",
  "Pacific/Marquesas"
]
const services: Readonly<Record<string, Oracle.ServiceFact>> = {
  api: { size: 1n, unit: "requests" },
  storage: { size: 1_073_741_824n, unit: "GB-hours" },
  bandwidth: { size: 1_073_741_824n, unit: "GB" },
  compute: { size: 3600n, unit: "CPU-hours" },
  sevens: { size: 7n, unit: "weeks" }
}
const serviceNames = Object.keys(services)
const customers = ["a", "b", "Ü'x"]
const defaults: ReadonlyArray<Oracle.PriceFact> = [
  { service: "api", unitCost: "0.0001" },
  { service: "storage", unitCost: "0.001" },
  { service: "bandwidth", unitCost: "0.05" },
  { service: "compute", unitCost: "0.05" },
  { service: "sevens", unitCost: "1.1" }
].map((price) => ({ ...price, customer: undefined, from: -Infinity }))

// The last days of March and of October are in it, and the ends of three months.
const firstDay = Date.UTC(2026, 2, 20) * 1000
const day = 86_400_000_000
const moments = [0, 1, -1, 899_999_999, 900_000_000, 1_800_000_000, 66_600_000_000, 65_700_000_000]

/** Hours that happen twice: in London, New York, Lord Howe (half an hour) and Santiago. */
const twice = [
  "2026-10-25T00:30:00Z",
  "2026-10-25T01:30:00Z",
  "2026-11-01T05:15:00Z",
  "2026-11-01T06:15:00Z",
  "2026-04-04T14:40:00Z",
  "2026-04-04T15:10:00Z",
  "2026-04-05T02:30:00Z",
  "2026-04-05T03:30:00Z"
].map((text) => Date.parse(text) * 1000)

const zonesOfTwice = ["Europe/London", "America/New_York", "Australia/Lord_Howe", "America/Santiago"]

const time = ({ chance, int, pick }: Random): number => {
  if (chance(0.15)) return pick(twice)
  const start = firstDay + pick([int(30), 7 + int(5), 195 + int(40)]) * day
  return chance(0.5) ? start + pick(moments) : start + int(86_400) * 1_000_000 + int(1_000_000)
}

const amount = ({ int, pick }: Random): string =>
  pick([
    () => "1",
    () => "0",
    () => `${int(1_000_000)}`,
    () => `${int(1_000)}.${`${int(1_000_000)}`.padStart(6, "0")}`,
    () => `0.${"0".repeat(int(12))}${1 + int(99_999)}`,
    () => `${1 + int(900_000)}${"0".repeat(int(12))}`,
    () => "0.000000000000000001",
    () => "999999999999999999999999.999999999999999999"
  ])()

const toIso = (micros: number): string =>
  `${new Date(Math.floor(micros / 1000)).toISOString().slice(0, 19)}.${`${((micros % 1_000_000) + 1_000_000) % 1_000_000}`.padStart(6, "0")}Z`

/** Makes a history in the database and gives what was recorded. */
const live = Effect.fnUntraced(function* (dice: Random) {
  const { chance, int, pick } = dice
  const recorder = yield* Recorder
  const aggregator = yield* Aggregator
  const catalog = yield* Catalog
  const prices = [...defaults]
  const facts: Array<Oracle.Fact> = []
  const keyed: Array<{ readonly input: Parameters<typeof recorder.record>[0] }> = []
  for (let step = 0; step < 14; step++) {
    if (chance(0.3)) {
      const others = prices.slice(defaults.length)
      // A price may be set again: what is recorded from then on has the new one.
      const again = others.length > 0 && chance(0.3) ? pick(others) : undefined
      const price: Oracle.PriceFact = {
        service: again?.service ?? pick(serviceNames),
        customer: again === undefined ? (chance(0.5) ? pick(customers) : undefined) : again.customer,
        from: again?.from ?? time(dice),
        unitCost: `${int(3)}.${`${1 + int(999_999)}`.padStart(pick([6, 18]), "0")}`
      }
      prices.push(price)
      yield* catalog.setPrice({ ...price, from: toIso(price.from) })
    }
    // Much of one customer's in a quarter of an hour.
    const burst = chance(0.25) ? { at: time(dice), customer: pick(customers), service: pick(serviceNames) } : undefined
    const inputs = Array.from({ length: pick([1, 2, 9, 30]) }, (_, i) => {
      // A record at the very moment from which a price holds has that price; one microsecond before, another.
      const at =
        burst === undefined
          ? chance(0.1)
            ? Math.max(firstDay, pick(prices).from - pick([0, 0, 1]))
            : time(dice)
          : burst.at + int(400) * 1_000_000
      const metadata = pick<Record<string, unknown>>([
        {},
        { endpoint: pick(["/a", "/b"]), status: pick([200, 404]) },
        { endpoint: null, nested: { a: 1 } }
      ])
      const input = {
        customer: burst?.customer ?? pick(customers),
        service: burst?.service ?? pick(serviceNames),
        amount: amount(dice),
        recordedAt: toIso(at),
        metadata,
        // It may come with a cost of its own.
        ...(chance(0.1) && { unitCost: `${int(3)}.0${1 + int(9)}` }),
        ...(chance(0.2) && { idempotencyKey: `${step}-${i}` })
      }
      facts.push({
        customer: input.customer,
        service: input.service,
        amount: Oracle.units(input.amount),
        unitCost: Oracle.units(input.unitCost ?? Oracle.priceAt(prices, input.service, input.customer, at)),
        at,
        metadata
      })
      if (input.idempotencyKey !== undefined) keyed.push({ input })
      return input
    })
    // What was delivered before is delivered again, and must not count.
    const again = keyed.length > 0 && chance(0.4) ? [pick(keyed).input] : []
    yield* recorder.recordAll([...inputs, ...again])
    if (chance(0.4)) yield* aggregator.rollUp
    // A batch that the rollups could not take is counted as it was before.
    if (chance(0.1)) yield* setAside
    // Made anew in between, they are what they were: what is not rolled up stays for later.
    if (chance(0.04)) assert.deepStrictEqual((yield* aggregator.rebuild()).differences, [])
  }
  return facts
})

/** Sets the newest batch aside, if it is not rolled up. */
const setAside = Effect.gen(function* () {
  const { name, sql } = yield* Database
  yield* sql.unsafe(
    `update ${name("billing_usage_batches")} set set_aside = 'by the oracle'
      where rolled_at is null and batch_id = (select max(batch_id) from ${name("billing_usage_batches")})`
  )
})

const windowOf = ({ chance, int, pick }: Random, facts: ReadonlyArray<Oracle.Fact>): Window => {
  const bound = () => {
    // At a record: one begins with it, one ends before it.
    if (chance(0.4)) return (pick(facts).at + pick([0, 0, 1])) as Instant
    const at = firstDay - 2 * day + int(260) * day
    return (chance(0.5) ? at + pick([0, 900_000_000, 66_600_000_000]) : at + int(86_400_000) * 1_000) as Instant
  }
  const [one, other] = [bound(), bound()]
  const start = Math.min(one, other) as Instant
  const later = Math.max(one, other, start + 1)
  const end = (chance(0.15) ? start + 1 + int(40) * 60_000_000 : later) as Instant
  return { start, end, tz: pick(zones), label: { start: "", end: "" } }
}

/** A few hours about an hour that happens twice, in a zone where it does. */
const aroundTwice = ({ int, pick }: Random): Window => {
  const [moment, tz] = pick(twice.map((at, index) => [at, zonesOfTwice[index >> 1]!] as const))
  const start = (moment - (60 + int(120)) * 60_000_000) as Instant
  return { start, end: (moment + (60 + int(120)) * 60_000_000) as Instant, tz, label: { start: "", end: "" } }
}

const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

const text = Decimal.toText
const maybe = (value: Decimal.Decimal | undefined) => (value === undefined ? undefined : text(value))

/** As it is read from rollups alone. */
const aligned = (window: Window): Window => {
  const start = (Math.floor(window.start / 900_000_000) * 900_000_000) as Instant
  const end = Math.max(start + 900_000_000, Math.ceil(window.end / 900_000_000) * 900_000_000) as Instant
  return { ...window, start, end }
}

/** `details`: also what needs the records themselves. */
const compare = Effect.fnUntraced(function* (facts: ReadonlyArray<Oracle.Fact>, dice: Random, details = true) {
  const { chance, pick } = dice
  const reporter = yield* Reporter
  const analytics = yield* Analytics
  const isAimed = chance(0.3)
  const drawn = isAimed ? aroundTwice(dice) : windowOf(dice, facts)
  const window = details ? drawn : aligned(drawn)
  const customer = chance(0.5) ? pick(customers) : undefined
  const service = chance(0.4) ? pick(serviceNames) : undefined
  const inWindow = facts.filter((fact) => fact.at >= window.start && fact.at < window.end)
  const chosen = inWindow.filter(
    (fact) =>
      (customer === undefined || fact.customer === customer) && (service === undefined || fact.service === service)
  )
  const byService = Oracle.groupBy(chosen, (fact) => fact.service)
  const query = { window, customer, service }

  const report = yield* reporter.usage(query)
  assert.deepStrictEqual(
    report.services.map(({ cost, events, quantity, service: name, unit }) => ({
      name,
      unit,
      events: Number(events),
      quantity: text(quantity),
      cost: text(cost)
    })),
    serviceNames.flatMap((name) => {
      const found = byService.get(name)
      if (found === undefined) return []
      const { cost, events, quantity } = Oracle.sumOf(found, services[name]!)
      return [{ name, unit: services[name]!.unit, events, quantity, cost }]
    })
  )

  const costOf = (found: ReadonlyArray<Oracle.Fact>): bigint =>
    [...Oracle.groupBy(found, (fact) => fact.service)].reduce(
      (sum, [name, ofService]) => sum + Oracle.units(Oracle.sumOf(ofService, services[name]!).cost),
      0n
    )
  assert.strictEqual(text(report.totalCost), Oracle.quotient(costOf(chosen), 10n ** 36n))

  const unit = isAimed ? "hour" : pick(["hour", "day", "month"] as const)
  const series = yield* reporter.series(query, unit)
  const groups = Oracle.groupBy(chosen, (fact) => `${Oracle.spanKey(fact.at, unit, window.tz)} ${fact.service}`)
  const seen = series.map((span) => {
    const key = unit === "hour" ? `${span.start}` : span.label
    return [
      `${key} ${span.service}`,
      {
        events: Number(span.events),
        quantity: text(span.quantity),
        cost: text(span.cost),
        average: text(span.average),
        least: text(span.min),
        most: text(span.max),
        first: span.first as number,
        last: span.last as number
      }
    ] as const
  })
  const place = (name: string) => serviceNames.indexOf(name)
  const expectedSpans = [...groups]
    .sort(
      ([, [a]], [, [b]]) =>
        compareText(Oracle.spanOrder(a!.at, unit, window.tz), Oracle.spanOrder(b!.at, unit, window.tz)) ||
        place(a!.service) - place(b!.service)
    )
    .map(([key, found]) => [key, Oracle.sumOf(found, services[found[0]!.service]!)])
  assert.deepStrictEqual<ReadonlyArray<unknown>>(seen, expectedSpans)

  const mostCustomers = pick([1, 2, 10])
  const ranked = yield* reporter.customers({ window, service }, mostCustomers)
  const byCustomer = [
    ...Oracle.groupBy(
      inWindow.filter((fact) => service === undefined || fact.service === service),
      (fact) => fact.customer
    )
  ].map(([id, found]) => ({
    id,
    found,
    cost: costOf(found),
    amount: found.reduce((sum, fact) => sum + fact.amount, 0n)
  }))
  const rank = (one: (typeof byCustomer)[number]) => (service === undefined ? one.cost : one.amount)
  byCustomer.sort(
    (a, b) =>
      Number(rank(b) > rank(a)) - Number(rank(b) < rank(a)) ||
      b.found.length - a.found.length ||
      Buffer.compare(Buffer.from(a.id), Buffer.from(b.id))
  )
  assert.deepStrictEqual(
    ranked.map((one) => [one.customer as string, Number(one.events), text(one.cost), maybe(one.quantity)]),
    byCustomer
      .slice(0, mostCustomers)
      .map(({ cost, found, id }) => [
        id,
        found.length,
        Oracle.quotient(cost, 10n ** 36n),
        service === undefined ? undefined : Oracle.sumOf(found, services[service]!).quantity
      ])
  )

  if (details) yield* compareGroups(query, chosen, dice)

  const of = service ?? pick(serviceNames)
  const distributed = inWindow.filter(
    (fact) => fact.service === of && (customer === undefined || fact.customer === customer)
  )
  if (details) yield* compareStatistics({ window, customer, service: of }, distributed)

  const peakUnit = isAimed ? "hour" : pick(["hour", "day"] as const)
  const peaks = yield* analytics.peaks({ window, customer, service: of, unit: peakUnit, limit: 3 })
  const spans = [...Oracle.groupBy(distributed, (fact) => Oracle.spanKey(fact.at, peakUnit, window.tz))]
    .map(([, found]) => ({ found, total: found.reduce((total, fact) => total + fact.amount, 0n) }))
    .sort((a, b) => (a.total > b.total ? -1 : a.total < b.total ? 1 : b.found[0]!.at - a.found[0]!.at))
  assert.deepStrictEqual(
    peaks.map((peak) => [text(peak.quantity), Number(peak.events), peak.label]),
    spans
      .slice(0, 3)
      .map(({ found }) => [
        Oracle.sumOf(found, services[of]!).quantity,
        found.length,
        Oracle.labelOf(found[0]!.at, peakUnit, window.tz)
      ])
  )
})

const compareGroups = Effect.fnUntraced(function* (
  query: Pick<ReportQuery, "customer" | "service" | "window">,
  chosen: ReadonlyArray<Oracle.Fact>,
  { pick }: Random
) {
  const reporter = yield* Reporter
  const keys = pick([["endpoint"], ["endpoint", "status"], ["missing"]])
  const mostGroups = pick([1, 2, 100])
  const groupsFound = yield* reporter.groups(query, keys, mostGroups)
  const valueOf = (fact: Oracle.Fact, key: string) => {
    const value = fact.metadata[key]
    return value === undefined || value === null ? null : `${value as string}`
  }
  const expectedGroups = serviceNames.flatMap((name) => {
    const ofService = chosen.filter((fact) => fact.service === name)
    const valued = [...Oracle.groupBy(ofService, (fact) => JSON.stringify(keys.map((key) => valueOf(fact, key))))]
      .map(([values, found]) => ({ values: JSON.parse(values) as ReadonlyArray<string | null>, found }))
      .sort((a, b) => Oracle.bySize(a.found, b.found) || Oracle.byValues(a.values, b.values))
    const row = (values: ReadonlyArray<string | null>, rest: boolean, found: ReadonlyArray<Oracle.Fact>) => {
      const { cost, events, quantity } = Oracle.sumOf(found, services[name]!)
      return [name, values, rest, events, quantity, cost]
    }
    const others = valued.slice(mostGroups).flatMap(({ found }) => found)
    return [
      ...valued.slice(0, mostGroups).map(({ found, values }) => row(values, false, found)),
      ...(others.length === 0 ? [] : [row([], true, others)])
    ]
  })
  assert.deepStrictEqual<ReadonlyArray<unknown>>(
    groupsFound.map((group) => [
      group.service,
      group.values,
      group.rest,
      Number(group.events),
      text(group.quantity),
      text(group.cost)
    ]),
    expectedGroups
  )
})

const compareStatistics = Effect.fnUntraced(function* (
  query: { readonly window: Window; readonly customer: string | undefined; readonly service: string },
  distributed: ReadonlyArray<Oracle.Fact>
) {
  const analytics = yield* Analytics
  const of = query.service
  const exact = yield* analytics.statistics(query)
  const sum = distributed.length === 0 ? undefined : Oracle.sumOf(distributed, services[of]!)
  const percentile = (fraction: number) =>
    sum === undefined ? undefined : Oracle.percentile(distributed, fraction, services[of]!)
  assert.deepStrictEqual(
    [Number(exact.events), text(exact.total), maybe(exact.average), maybe(exact.min), maybe(exact.max)],
    [sum?.events ?? 0, sum?.quantity ?? "0", sum?.average, sum?.least, sum?.most]
  )
  assert.deepStrictEqual(
    [maybe(exact.median), maybe(exact.p95), maybe(exact.p99)],
    [percentile(0.5), percentile(0.95), percentile(0.99)]
  )
  const near = yield* analytics.statistics({ ...query, approximate: true })
  for (const which of ["median", "p95", "p99"] as const) {
    const [guess, truth] = [maybe(near[which]), maybe(exact[which])].map(Number)
    if (near[which] !== undefined) {
      assert.isTrue(BigDecimal.between(near[which], { minimum: exact.min!, maximum: exact.max! }), which)
    }
    if (exact.events > 0n && !(Math.abs(guess! - truth!) <= Math.abs(truth!) * 0.010001 + 1e-29)) {
      assert.fail(`${which}: ${guess} instead of ${truth}`)
    }
  }
})

const compareTrends = Effect.fnUntraced(function* (facts: ReadonlyArray<Oracle.Fact>, dice: Random) {
  const { chance, int, pick } = dice
  const analytics = yield* Analytics
  const now = firstDay + int(40) * day + int(86_400) * 1_000_000
  const tz = pick(zones)
  const days = 1 + int(12)
  const customer = chance(0.5) ? pick(customers) : undefined
  const service = chance(0.3) ? pick(serviceNames) : undefined
  const trend = yield* at(Math.floor(now / 1000))(analytics.trends({ customer, service, days, tz }))
  // Dates of a calendar, whatever the clock does: from today backwards.
  const today = Oracle.wallClock(now, tz).slice(0, 10)
  const dates = Array.from({ length: days + 1 }, (_, back) =>
    new Date(Date.parse(`${today}T00:00:00Z`) - back * 86_400_000).toISOString().slice(0, 10)
  )
  const totals = new Map<string, bigint>()
  const used = new Set(service === undefined ? [] : [service])
  for (const fact of facts) {
    if (customer !== undefined && fact.customer !== customer) continue
    if (service !== undefined && fact.service !== service) continue
    const date = Oracle.spanKey(fact.at, "day", tz)
    if (!dates.includes(date)) continue
    used.add(fact.service)
    const key = `${date} ${fact.service}`
    totals.set(key, (totals.get(key) ?? 0n) + fact.amount)
  }
  const expected = dates.slice(0, -1).flatMap((date, back) =>
    serviceNames
      .filter((name) => used.has(name))
      .map((name) => {
        const total = totals.get(`${date} ${name}`) ?? 0n
        const previous = totals.get(`${dates[back + 1]!} ${name}`) ?? 0n
        const per = 10n ** 36n * services[name]!.size
        return [
          date,
          name,
          Oracle.quotient(total, per),
          Oracle.quotient(previous, per),
          previous === 0n ? undefined : Oracle.quotient((total - previous) * 100n, previous, 2)
        ]
      })
  )
  assert.deepStrictEqual(
    trend.map((one) => [one.date, one.service, text(one.total), text(one.previous), maybe(one.percentChange)]),
    expected
  )
})

/** The table that users may query has the days that the rollups have. */
const compareSummary = Effect.fnUntraced(function* (facts: ReadonlyArray<Oracle.Fact>) {
  const { name, sql } = yield* Database
  yield* sql.unsafe(`update ${name("billing_usage_batches")} set set_aside = null`)
  yield* Effect.flatMap(Aggregator, (aggregator) => aggregator.rollUp)
  const rows = yield* sql.unsafe<Record<string, string>>(
    `select customer_id, service_name, usage_date::text as usage_date, event_count::text as event_count,
        total_quantity::text as total_quantity, total_cost::text as total_cost,
        (extract(epoch from first_event) * 1000000)::bigint::text as first_event,
        (extract(epoch from last_event) * 1000000)::bigint::text as last_event
      from ${name("billing_usage_daily_summary")}`
  )
  const days = Oracle.groupBy(facts, (fact) =>
    JSON.stringify([fact.customer, fact.service, Oracle.spanKey(fact.at, "day", "UTC")])
  )
  assert.deepStrictEqual(
    Object.fromEntries(
      rows.map((row) => [
        JSON.stringify([row["customer_id"], row["service_name"], row["usage_date"]]),
        [row["event_count"], row["total_quantity"], row["total_cost"], row["first_event"], row["last_event"]]
      ])
    ),
    Object.fromEntries(
      [...days].map(([key, found]) => {
        const { cost, events, first, last, quantity } = Oracle.sumOf(found, services[found[0]!.service]!)
        return [key, [`${events}`, quantity, cost, `${first}`, `${last}`]]
      })
    )
  )
})

/** Erases one of the customers, and gives what is left. */
const eraseSomebody = Effect.fnUntraced(function* (facts: ReadonlyArray<Oracle.Fact>, { pick }: Random) {
  const customer = pick(customers)
  const left = facts.filter((fact) => fact.customer !== customer)
  if (left.length === 0) return facts
  yield* (yield* Eraser).erase(customer)
  return left
})

/** By random rules, a year later: some records are dropped, some archived, some kept. */
const removeSome = Effect.fnUntraced(function* ({ chance, pick }: Random) {
  const { name, sql } = yield* Database
  yield* sql.unsafe(`delete from ${name("billing_retention")}`)
  const retention = yield* Retention
  for (let rule = 0; rule < 3; rule++) {
    yield* retention.set({
      customer: chance(0.5) ? pick(customers) : undefined,
      service: chance(0.5) ? pick(serviceNames) : undefined,
      days: pick([30, 60, "forever"] as const),
      action: pick(["archive", "drop"] as const)
    })
  }
  const later = at(Date.UTC(2027, 5, 1))
  yield* later(retention.removeRecords({ directory: `${archives}/${randomUUID()}` }))
  assert.deepStrictEqual(yield* later(retention.due), [])
})

const empty = Effect.gen(function* () {
  const { name, sql } = yield* Database
  const tables = [
    "billing_usage_records",
    "billing_usage_batches",
    "billing_usage_keys",
    "billing_usage_quarters",
    "billing_usage_days",
    "billing_usage_months",
    "billing_usage_sketches",
    "billing_usage_month_sketches",
    "billing_archives",
    "billing_archive_totals",
    "billing_removed_totals"
  ]
  yield* sql.unsafe(`truncate ${tables.map(name).join(", ")}`)
  yield* sql.unsafe(`delete from ${name("billing_prices")} where effective_from > '-infinity'`)
  yield* sql.unsafe(`update ${name("billing_catalog")} set version = version + 1`)
})

eachEngine("oracle", (engine) => {
  const directory = mkdtempSync(join(tmpdir(), "effect-usage-oracle-"))
  afterAll(() => {
    for (const path of [directory, archives]) rmSync(path, { recursive: true, force: true })
  })
  const layers = Layer.mergeAll(
    Recorder.layer(),
    Aggregator.layer,
    Reporter.layer,
    Analytics.layer,
    Catalog.layer,
    Layer.orDie(Retention.layer()),
    Layer.provide(Eraser.layer, Layer.orDie(Spool.layer({ directory })))
  )
  layer(Layer.provideMerge(layers, engine.layer), { excludeTestServices: true })((it) => {
    const first = runSeed()
    it.effect(
      `agrees on ${histories} histories, to the last digit (seeds from ${first})`,
      () =>
        Effect.gen(function* () {
          const catalog = yield* Catalog
          yield* catalog.addService({ name: "sevens", unit: "weeks", baseUnit: "days", unitSize: 7, unitCost: "1.1" })
          for (let seed = first; seed < first + histories; seed++) {
            const dice = random(seed)
            yield* Effect.gen(function* () {
              yield* empty
              const facts = yield* live(dice)
              for (let question = 0; question < 6; question++) yield* compare(facts, dice)
              for (let question = 0; question < 3; question++) yield* compareTrends(facts, dice)
              // Also while some batches are not in the rollups.
              const left = yield* eraseSomebody(facts, dice)
              for (let question = 0; question < 2; question++) yield* compare(left, dice)
              yield* compareSummary(left)
              for (let question = 0; question < 3; question++) yield* compare(left, dice)
              yield* removeSome(dice)
              for (let question = 0; question < 2; question++) yield* compare(left, dice, false)
              yield* compareSummary(left)
              const { differences } = yield* (yield* Aggregator).rebuild()
              assert.deepStrictEqual(differences, [])
            }).pipe(Effect.onError(() => Effect.sync(() => process.stderr.write(`TEST_SEED=${seed} shows it\n`))))
          }
        }),
      histories * 20_000
    )
  })
})
