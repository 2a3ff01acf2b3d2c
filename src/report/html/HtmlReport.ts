/**
 * A report as one HTML page to open, to send and to print: totals and their change from the period before, charts, peaks,
 * and tables of every figure. The page needs no network, and has its data inside as JSON.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Analytics, AnalyticsError, type Peak } from "../Analytics.ts"
import type { Database } from "../../database/Database.ts"
import * as Instant from "../../domain/Instant.ts"
import { ServiceError } from "../../domain/ServiceError.ts"
import * as Window from "../../domain/Window.ts"
import { unitOf } from "./Contents.ts"
import { page } from "./Page.ts"
import { Reporter, ReporterError, type ReportQuery, type ResolvedQuery } from "../Reporter.ts"
import * as ChartLibrary from "../ChartLibrary.ts"
import * as Optional from "../../system/Optional.ts"

/** @since 0.1.0 */
export class HtmlReportError extends ServiceError<HtmlReportError>()("HtmlReportError", [
  ReporterError,
  AnalyticsError
]) {}

/** @since 0.1.0 */
export class HtmlReport extends Context.Service<
  HtmlReport,
  {
    /**
     * The page, as text of an HTML file in UTF-8. Compares with `Window.previous`. Windows of more than 400 days are drawn
     * by month. Its parts are read one after the other: what is recorded meanwhile may be in some and not in others.
     */
    readonly render: (query: ReportQuery) => Effect.Effect<string, HtmlReportError>
  }
>()("effect-usage/HtmlReport") {
  /** HTML reports of a database. */
  static readonly layer: Layer.Layer<HtmlReport, never, Database> = Layer.suspend(() =>
    Layer.provide(Layer.effect(HtmlReport, make), [Reporter.layer, Analytics.layer])
  )
}

/** Busiest hours of a service. */
const peakCount = 10
/** Questions to the database at a time. */
const concurrency = 4

const make = Effect.gen(function* () {
  const reporter = yield* Reporter
  const analytics = yield* Analytics

  const peaksOf = (query: ResolvedQuery, service: string) =>
    Effect.map(
      analytics.peaks({ window: query.window, customer: query.customer, service, unit: "hour", limit: peakCount }),
      (peaks): readonly [string, ReadonlyArray<Peak>] => [service, peaks]
    )

  const read = Effect.fnUntraced(function* (asked: ReportQuery) {
    const query = { ...asked, window: yield* Window.fromInput(asked.window) }
    const unit = unitOf(query.window)
    const [report, before, series] = yield* Effect.all(
      [
        reporter.usage(query),
        reporter.usage({ ...query, window: Window.previous(query.window) }),
        reporter.series(query, unit)
      ],
      { concurrency }
    )
    const peaks = yield* Effect.forEach(report.services, ({ service }) => peaksOf(query, service), { concurrency })
    return { report, before, unit, series, peaks: new Map(peaks) }
  }, Effect.mapError(HtmlReportError.from))

  const library = Effect.mapError(
    Optional.loaded("chart.js", "an HTML report", ChartLibrary.read),
    HtmlReportError.from
  )

  const render = Effect.fn("HtmlReport.render")(function* (query: ReportQuery) {
    const script = yield* library
    const now = Instant.fromMillis(yield* Clock.currentTimeMillis)
    const found = yield* read(query)
    return page({ ...found, only: query.service, now }, script)
  })

  return HtmlReport.of({ render })
})
