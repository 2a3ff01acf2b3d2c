/**
 * XLSX: a summary, and the rows on a sheet, or on several if one cannot hold them.
 *
 * `exceljs` makes the workbook: its parts, styles, columns, and the sheets' frames. The rows are hand-written into the stream of
 * the sheet, with a tenth of the work and with back-pressure: exceljs itself never waits. That relies on members that are not
 * public (`stream.pipes`, `_writableState`, `zip`) and exceljs is not maintained, so it is pinned to one version; a test fills a
 * slow sink.
 */
import type { Font, PageSetup, stream, Style, Worksheet } from "exceljs"
import { Writable } from "node:stream"
import { toText } from "../domain/Decimal.ts"
import * as Instant from "../domain/Instant.ts"
import { formulaGuard } from "./Guard.ts"
import type { Column, Writer } from "../files/Column.ts"
import type { Sink } from "../files/Sink.ts"
import type { TableFormat, Table } from "./Table.ts"
import { cutText, rangeOf, rowOf } from "./XlsxCells.ts"

/** Rows of a sheet, the header among them. */
const sheetRows = 1_048_576

/** Numbers repeat a lot: the first level is nearly as small as the sixth, in a third of the time. */
const compressionLevel = 1

/** What is used of exceljs and is not in its types: streams of sheets, with those that they are piped to. */
interface Internals {
  readonly stream: {
    readonly write: (data: Buffer) => unknown
    readonly pipes: ReadonlyArray<Pipe>
  }
}
interface Pipe {
  readonly _writableState: { readonly length: number; readonly highWaterMark: number }
  readonly once: (event: "drain", listener: () => void) => unknown
}
interface Styles {
  readonly styles: { readonly addStyleModel: (model: Partial<Style>) => number }
}

const widths: Record<Column["kind"], number> = {
  text: 24,
  number: 18,
  integer: 12,
  time: 25,
  label: 20,
  json: 60
}

/** How a sheet is printed. */
const onePageWide: Partial<PageSetup> = { orientation: "landscape", fitToPage: true, fitToWidth: 1, fitToHeight: 0 }

/** Without a name some programs take a font of their own for what is bold. */
const plain: Partial<Font> = { name: "Calibri", family: 2, size: 11 }
const bold: Partial<Font> = { ...plain, bold: true }
const heading: Partial<Style> = {
  font: bold,
  fill: { type: "pattern", pattern: "solid", fgColor: { argb: "FFE8EDF4" } },
  border: { bottom: { style: "thin", color: { argb: "FF8EA4C0" } } }
}
const headingRight: Partial<Style> = { ...heading, alignment: { horizontal: "right" } }
const bar: Partial<Style> = { alignment: { indent: 1 }, font: { ...plain, color: { argb: "FF3B6FB6" } } }

interface ArchiveEnd {
  readonly target: Writable
  readonly fail: (cause: unknown) => void
  /** Resolves when `start` says so; rejects when the archive has failed. One at a time. */
  readonly wait: (start: (done: () => void) => void) => Promise<void>
}

/** The end of the archive: passes data to the sink, and reports its failure. */
const archiveEnd = (sink: Sink): ArchiveEnd => {
  let failure: { readonly cause: unknown } | undefined
  let reject: (cause: unknown) => void = () => {}
  const fail = (cause: unknown) => {
    failure ??= { cause }
    reject(cause)
  }
  const target = new Writable({
    highWaterMark: 65_536,
    write: (chunk: Buffer, _encoding, done) => void sink.write(chunk).then(() => done(), done)
  })
  target.on("error", fail)
  const wait: ArchiveEnd["wait"] = (start) =>
    new Promise((resolve, rejected) => {
      if (failure !== undefined) return rejected(failure.cause)
      reject = rejected
      start(resolve)
    })
  return { target, fail, wait }
}

/** `rows`: how many a sheet has at most. */
export const xlsxOf =
  (rows: number): TableFormat =>
  async (table, sink) => {
    const { default: exceljs } = await import("exceljs")
    const end = archiveEnd(sink)
    const workbook = new exceljs.stream.xlsx.WorkbookWriter({
      stream: end.target,
      useStyles: true,
      useSharedStrings: false,
      zip: { zlib: { level: compressionLevel } }
    })
    ;(workbook as unknown as { readonly zip: NodeJS.EventEmitter }).zip.on("error", end.fail)
    const timeStyle = (numFmt: string) =>
      (workbook as unknown as Styles).styles.addStyleModel({ numFmt, alignment: { horizontal: "left" } })
    const styles = {
      seconds: timeStyle("yyyy\\-mm\\-dd hh:mm:ss"),
      fraction: timeStyle("yyyy\\-mm\\-dd hh:mm:ss.000")
    }
    // The archive has its parts in the order in which they were begun.
    writeSummary(workbook.addWorksheet("Summary", { pageSetup: onePageWide }), table)
    return writerOf(workbook, table, rowOf(table.columns, styles), rows, end)
  }

export const xlsx = xlsxOf(sheetRows)

const writerOf = (
  workbook: stream.xlsx.WorkbookWriter,
  { columns, of }: Table,
  xmlOf: ReturnType<typeof rowOf>,
  limit: number,
  end: ArchiveEnd
): Writer => {
  let sheets = 0
  let sheet: Worksheet
  let next = 0
  const begin = () => {
    sheets++
    const name = of === "records" ? "Usage" : `Usage ${of}`
    sheet = workbook.addWorksheet(sheets === 1 ? name : `${name} ${sheets}`, {
      views: [{ state: "frozen", ySplit: 1 }],
      pageSetup: onePageWide
    })
    sheet.columns = columns.map(({ kind, name }) => ({ header: name, key: name, width: widths[kind] }))
    const header = sheet.getRow(1)
    // Above numbers, which are at the right.
    const isNumber = (at: number) => columns[at - 1]?.kind === "number" || columns[at - 1]?.kind === "integer"
    header.eachCell((cell, at) => (cell.style = isNumber(at) ? headingRight : heading))
    header.commit()
    next = 2
  }
  const finish = () => {
    sheet.autoFilter = rangeOf(columns.length, next - 1)
    ;(sheet as Worksheet & { readonly commit: () => void }).commit()
  }
  begin()
  // The stream copies what it is given, so this buffer is reused.
  const block = Buffer.allocUnsafeSlow(blockBytes)
  let filled = 0
  const flush = async () => {
    const { pipes, write } = streamOf(sheet)
    write(block.subarray(0, filled))
    filled = 0
    const [pipe] = pipes
    const isFull = () => pipe !== undefined && pipe._writableState.length > pipe._writableState.highWaterMark
    // `drain` comes when all of it is taken, and only where there was too much.
    while (isFull()) await end.wait((done) => void pipe!.once("drain", done))
  }
  return {
    rows: async (page) => {
      for (const cells of page) {
        if (next > limit) {
          await flush()
          finish()
          begin()
        }
        const xml = xmlOf(cells, next)
        next++
        // A UTF-16 unit is at most three bytes.
        if (filled + 3 * xml.length > block.length) await flush()
        if (3 * xml.length > block.length) streamOf(sheet).write(Buffer.from(xml))
        else filled += block.write(xml, filled)
      }
    },
    end: async () => {
      await flush()
      finish()
      await end.wait((done) => void workbook.commit().then(done, end.fail))
    }
  }
}

/** What is made before it is waited for. */
const blockBytes = 65_536

const streamOf = (sheet: Worksheet): Internals["stream"] => {
  const { stream } = sheet as unknown as Internals
  return { write: (data) => stream.write(data), pipes: stream.pipes }
}

const barWidth = 24

/** Thousands apart, and no more decimals than there are. */
const numberFormat = (value: number): string => (Number.isInteger(value) ? "#,##0" : "#,##0.00##########")

const writeSummary = (sheet: Worksheet, table: Table): void => {
  const { customer, events, exportedAt, of, totalCost, totals, window } = table
  sheet.columns = [16, 18, 22, 18, 14, 30].map((width) => ({ width }))
  const add = (cells: ReadonlyArray<string | number>, style: Partial<Style> = {}) => {
    const row = sheet.addRow([...cells])
    row.eachCell((cell) => {
      const { value } = cell
      cell.style = typeof value === "number" ? { ...style, numFmt: numberFormat(value) } : style
    })
    return row
  }
  add(["Usage", of], { font: bold })
  add(["Customer", customer === undefined ? "all" : cutText(formulaGuard(customer))])
  add(["Period", `${window.label.start} to ${window.label.end} (${window.tz})`])
  add(["Exported", Instant.toIso(exportedAt)])
  add([])
  const header = add(["Service", "Unit", "Quantity", "Cost", "Events", "Cost compared"], heading)
  for (const column of [3, 4, 5]) header.getCell(column).style = headingRight
  header.getCell(6).style = { ...heading, alignment: { indent: 1 } }
  const largest = totals.reduce((most, { cost }) => Math.max(most, Number(toText(cost))), 0)
  for (const { cost, events, quantity, service, unit } of totals) {
    const part = largest === 0 ? 0 : Number(toText(cost)) / largest
    const row = add([
      service,
      cutText(formulaGuard(unit)),
      Number(toText(quantity)),
      Number(toText(cost)),
      Number(events),
      "█".repeat(Math.round(part * barWidth))
    ])
    row.getCell(6).style = bar
  }
  add(["Total", "", "", Number(toText(totalCost)), Number(events)], { font: bold })
  add([])
  add(["A spreadsheet keeps 15 digits of a number and 32,767 characters of a cell; CSV and JSON have all."])
  ;(sheet as Worksheet & { readonly commit: () => void }).commit()
}
