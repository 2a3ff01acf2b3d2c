/** What tests of exports ask for: text of an export, a directory, lines of a stream. */
import * as Effect from "effect/Effect"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { PassThrough, Writable } from "node:stream"
import * as Window from "../../src/domain/Window.ts"
import { Exporter, type ExportQuery } from "../../src/export/Exporter.ts"
import * as Decimal from "../../src/domain/Decimal.ts"
import * as Columns from "../../src/export/Columns.ts"
import { csv } from "../../src/export/Csv.ts"
import { Sink } from "../../src/files/Sink.ts"
import { Database } from "../../src/database/Database.ts"
import { exportsOn } from "../../src/export/ExportStore.ts"
import { accepted } from "./results.ts"

export const windowOf = (period: string) => accepted(Window.resolve({ period, now: Date.now() }))
const january = windowOf("2026-01")

/** The bytes of an export of January, or another window. */
export const exportBytes = Effect.fnUntraced(function* (query: Partial<ExportQuery> = {}) {
  const chunks: Array<Buffer> = []
  const stream = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      chunks.push(Buffer.from(chunk))
      done()
    }
  })
  yield* Effect.flatMap(Exporter, (exporter) => exporter.export({ window: january, ...query }, { stream }))
  return Buffer.concat(chunks)
})

export const exportText = (query: Partial<ExportQuery> = {}) =>
  Effect.map(exportBytes(query), (bytes) => bytes.toString("utf8"))

/** CSV of all records of a window, made here whatever the engine. */
export const exportedByPages = Effect.fnUntraced(function* (window: Window.Window) {
  const { name, snapshot } = yield* Database
  const stream = new PassThrough()
  const sink = new Sink(stream, undefined, true)
  const columns = Columns.ofRecords({ of: "records", format: "csv", withIds: false, byCustomer: true })
  const records = yield* snapshot((taken) =>
    Effect.gen(function* () {
      const reader = exportsOn(name, taken)
      const writer = yield* Effect.promise(() =>
        csv(
          {
            of: "records",
            columns: Columns.columnsOf({ of: "records", format: "csv", withIds: false, byCustomer: true }),
            customer: undefined,
            window,
            exportedAt: window.start,
            totals: [],
            events: 0n,
            totalCost: Decimal.zero
          },
          sink
        )
      )
      let text = ""
      const next = yield* reader.records(window, { customer: undefined, service: undefined }, columns)
      for (let page = yield* next; page !== undefined; page = yield* next) {
        const cells = page
        void writer.rows(cells)
        text += stream.read().toString()
      }
      return text
    })
  )
  return { records }
})

export const temporaryDirectory = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-usage-export-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

/** Reads a stream piece by piece; `rest` reads until somebody else is done. */
export const firstLines = (stream: PassThrough) => {
  let text = ""
  const next = async () => {
    for (let piece: Buffer | null = stream.read(); ; piece = stream.read()) {
      if (piece !== null) return void (text += piece.toString("latin1"))
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }
  return {
    next,
    rest: async (done: () => boolean) => {
      for (;;) {
        const piece: Buffer | null = stream.read()
        if (piece !== null) text += piece.toString("latin1")
        else if (done()) break
        else await new Promise((resolve) => setTimeout(resolve, 1))
      }
      return text.split("\n")
    }
  }
}
