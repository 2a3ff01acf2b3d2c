import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Analytics } from "../../../src/report/Analytics.ts"
import { Catalog } from "../../../src/catalog/Catalog.ts"
import * as Decimal from "../../../src/domain/Decimal.ts"
import { InvalidInput } from "../../../src/domain/InvalidInput.ts"
import * as Window from "../../../src/domain/Window.ts"
import { HtmlReport } from "../../../src/report/html/HtmlReport.ts"
import { Recorder } from "../../../src/record/Recorder.ts"
import { Reporter } from "../../../src/report/Reporter.ts"
import { eachEngine } from "../../support/engines.ts"
import { attributesOf, chartsOf, dataOf, elements, hashOf, markupOf } from "../../support/htmlPage.ts"
import { accepted } from "../../support/results.ts"

const hostile = "</script><img src=x onerror=alert(1)>"
const hostileUnit = `<!--<script>"'&\u2028\u2029\u202e`

/** Names of attributes that neither load anything nor run. */
const harmless = new Set(
  (
    "lang charset http-equiv name content class id hidden role tabindex scope colspan width height rx " +
    "aria-label aria-hidden"
  ).split(" ")
)

const windowOf = (options: Omit<Parameters<typeof Window.resolve>[0], "now">) =>
  accepted(Window.resolve({ now: Date.now(), ...options }))

const january = windowOf({ period: "2026-01" })

const render = Effect.fnUntraced(function* (options: {
  readonly customer?: string
  readonly service?: string
  readonly window?: Window.Window
}) {
  const pages = yield* HtmlReport
  return yield* pages.render({ window: january, ...options })
})

const use = Effect.fnUntraced(function* (customer: string, used: ReadonlyArray<readonly [string, string, string]>) {
  const recorder = yield* Recorder
  yield* recorder.recordAll(
    used.map(([service, quantity, recordedAt]) => ({ customer, service, quantity, recordedAt }))
  )
})

eachEngine("HtmlReport", (engine) => {
  const services = Layer.mergeAll(HtmlReport.layer, Reporter.layer, Analytics.layer, Recorder.layer(), Catalog.layer)
  layer(Layer.provideMerge(services, engine.layer), { excludeTestServices: true })((it) => {
    it.effect("has the figures of Reporter and of Analytics, to the last digit, and zero for the days between", () =>
      Effect.gen(function* () {
        const customer = "exact"
        yield* use(customer, [
          ["api", "9007199254740993", "2026-01-05T10:30:00Z"],
          ["api", "1", "2026-01-05T10:45:00Z"],
          ["api", "7", "2026-01-31T23:59:59Z"],
          ["api", "12", "2025-12-31T23:59:59Z"],
          ["bandwidth", "0.000000001", "2026-01-07"],
          ["compute", "0.1", "2026-01-09"],
          ["storage", "3", "2025-12-02"]
        ])
        const reporter = yield* Reporter
        const analytics = yield* Analytics
        const html = yield* render({ customer })
        const data = dataOf(html)
        const found = yield* reporter.usage({ window: january, customer })
        const before = yield* reporter.usage({ window: Window.previous(january), customer })
        assert.deepStrictEqual(
          [data.customer_id, data.period, data.period_before, data.total_cost, data.total_cost_before],
          [
            customer,
            { start: "2026-01-01", end: "2026-01-31", tz: "UTC" },
            { start: "2025-12-01", end: "2025-12-31" },
            Decimal.toText(found.totalCost),
            Decimal.toText(before.totalCost)
          ]
        )
        assert.deepStrictEqual(
          data.services.map(({ cost, events, quantity, service }) => [service, quantity, cost, events]),
          [
            ...found.services.map((usage) => [
              usage.service,
              Decimal.toText(usage.quantity),
              Decimal.toText(usage.cost),
              `${usage.events}`
            ]),
            ["storage", "0", "0", "0"]
          ]
        )
        assert.deepStrictEqual(
          data.services.map(({ quantity_before }) => quantity_before),
          ["12", "0", "0", "3"]
        )
        const days = Array.from({ length: 31 }, (_, index) => `2026-01-${`${index + 1}`.padStart(2, "0")}`)
        const series = yield* reporter.series({ window: january, customer }, "day")
        assert.deepStrictEqual(data.labels, days)
        for (const [index, { service }] of found.services.entries()) {
          const of = (day: string) => series.find((span) => span.service === service && span.label === day)
          const [cost, usage] = [data.cost[index]!, data.usage[index]!]
          assert.deepStrictEqual([cost.name, usage.name], [service, service])
          assert.deepStrictEqual(
            usage.values,
            days.map((day) => Decimal.toText(of(day)?.quantity ?? Decimal.zero))
          )
          assert.deepStrictEqual(
            cost.values,
            days.map((day) => Decimal.toText(of(day)?.cost ?? Decimal.zero))
          )
          const peaks = yield* analytics.peaks({ window: january, customer, service, unit: "hour", limit: 10 })
          assert.deepStrictEqual(
            data.services[index]!.peaks,
            peaks.map((peak) => ({
              hour: peak.label,
              quantity: Decimal.toText(peak.quantity),
              events: `${peak.events}`
            }))
          )
        }
        // A double would have made 9007199254741000 of it.
        assert.include(html, "9,007,199,254,741,001")
        assert.include(html, "−100%")
        const charts = chartsOf(html)
        assert.deepStrictEqual(
          charts.map(({ id }) => id),
          ["cost", "usage-0", "usage-1", "usage-2"]
        )
        assert.deepStrictEqual(
          [...charts[2]!.config.data.datasets[0]!.data],
          days.map((day) => (day === "2026-01-07" ? 0.000000001 : 0))
        )
      })
    )

    it.effect("cannot be made to run or to load anything", () =>
      Effect.gen(function* () {
        const catalog = yield* Catalog
        yield* catalog.addService({ name: "odd", unit: hostileUnit, unitCost: "1" })
        yield* use(hostile, [["odd", "1", "2026-01-05"]])
        const html = yield* render({ customer: hostile, service: "odd" })
        assert.strictEqual(dataOf(html).customer_id, hostile)
        assert.strictEqual(dataOf(html).services[0]!.unit, hostileUnit)
        const [data, library, script] = elements(html, "script")
        const [style] = elements(html, "style")
        assert.lengthOf(html.match(/<script/g)!, 3)
        assert.notMatch(data!.text, /[<>\u2028\u2029]/)
        assert.notMatch(library!.text + script!.text, /<!--|<script|sourceMappingURL/i)
        const written = markupOf(html)
        assert.notInclude(written, "<!--")
        assert.deepStrictEqual(
          [...attributesOf(written)].filter((name) => !harmless.has(name)),
          []
        )
        assert.include(written, "<bdi>&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;</bdi>")
        assert.notMatch(written + data!.text + script!.text + style!.text, /https?:|\/\/[a-z]|url\(|@import/i)
        assert.strictEqual(
          /http-equiv="Content-Security-Policy" content="([^"]*)"/.exec(html)?.[1],
          `default-src 'none'; script-src ${hashOf(library!.text)} ${hashOf(script!.text)}; style-src ${hashOf(style!.text)}; base-uri 'none'; form-action 'none'`
        )
        assert.lengthOf(chartsOf(html), 2)
      })
    )

    it.effect("says that a period runs, that nothing was used, and what is not known", () =>
      Effect.gen(function* () {
        const month = windowOf({ period: "this-month", tz: "Europe/Berlin" })
        const running = yield* render({ customer: "running", window: month })
        assert.include(running, "This period is still running.")
        assert.include(running, "There is no usage in this period, and none in the period before.")
        assert.deepStrictEqual(chartsOf(running), [])
        yield* use("gone", [["api", "1", "2025-12-05"]])
        const gone = yield* render({ customer: "gone" })
        assert.include(gone, "There is no usage in this period.")
        assert.include(gone, "−100%")
        assert.notInclude(gone, "This period")
        assert.notInclude(gone, "<canvas")
        const error = yield* Effect.flip(render({ service: "teleport" }))
        assert.instanceOf(error.reason, InvalidInput)
        assert.isFalse(error.isRetryable)
      })
    )

    it.effect("draws long windows by month, and more services than there are colours", () =>
      Effect.gen(function* () {
        const catalog = yield* Catalog
        const names = Array.from({ length: 10 }, (_, index) => `s${index}`)
        yield* Effect.forEach(names, (name, index) => catalog.addService({ name, unit: "units", unitCost: index + 1 }))
        yield* use(
          "large",
          names.map((name) => [name, "1", "2026-01-05"])
        )
        const html = yield* render({ customer: "large", window: windowOf({ from: "2025-01", to: "2026-12" }) })
        const { cost, labels, usage } = dataOf(html)
        assert.deepStrictEqual([labels.length, labels[12]], [24, "2026-01"])
        assert.lengthOf(usage, 10)
        // The two cheapest have no colour of their own.
        assert.deepStrictEqual(
          cost.map(({ name, values }) => [name, values[12]]),
          [...names.slice(2).map((name, index) => [name, `${index + 3}`]), ["all others", "3"]]
        )
      })
    )
  })
})
