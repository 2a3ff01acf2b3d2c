/** The export of 1M records as a workbook, from the database, against exceljs' streaming writer with the rows in memory. */
import ExcelJS from "exceljs"
import { statSync } from "node:fs"
import { join } from "node:path"
import { peakMemoryOf } from "./built.ts"
import * as ExportCsv from "./export-csv.ts"
import { type Benchmark, type Contest, interleave, median, rate, speedRatios, startProcess } from "./harness.ts"
import { connect, copyFile } from "./peers.ts"
import { makeInputs, makeRow, writeRows } from "./workload.ts"

type Options =
  | (ExportCsv.Options & { readonly peer?: false })
  | { readonly peer: true; readonly file: string; readonly count: number }

export const contest = (options: Options): Promise<Contest> =>
  options.peer === true ? Promise.resolve(exceljs(options)) : ExportCsv.contest(options)

type Cells = readonly [Date, string, number, number, number, string]

const exceljs = ({ count, file }: { readonly file: string; readonly count: number }): Contest => {
  const inputs = makeInputs(count)
  const rows = Array.from({ length: count }, (_, i): Cells => {
    const [, service, amount, unitCost, , metadata] = makeRow(inputs[i % inputs.length]!, 1, i)
    const quantity = Number(amount) / (service === "api" ? 1 : 2 ** 30)
    return [
      new Date(Number(inputs[i % inputs.length]!.recordedAt)),
      service,
      quantity,
      Number(unitCost),
      quantity * Number(unitCost),
      metadata
    ]
  })
  return {
    run: async () => {
      const start = performance.now()
      const workbook = new ExcelJS.stream.xlsx.WorkbookWriter({ filename: file, useStyles: true })
      const sheet = workbook.addWorksheet("Usage", { views: [{ state: "frozen", ySplit: 1 }] })
      sheet.columns = ["timestamp", "service", "quantity", "unit_cost", "total_cost", "metadata"].map(
        (header, index) => ({
          header,
          width: 20,
          ...(index === 0 ? { style: { numFmt: "yyyy-mm-dd hh:mm:ss" } } : {})
        })
      )
      for (const cells of rows) sheet.addRow(cells).commit()
      await workbook.commit()
      return { millis: performance.now() - start, figures: { bytes: statSync(file).size } }
    },
    close: () => Promise.resolve()
  }
}

export const benchmark: Benchmark = {
  name: "export-xlsx",
  run: async (setting) => {
    const count = setting.size(1_000_000)
    const text = join(setting.directory, "export.txt")
    await writeRows(text, count, 5_000)
    await setting.reset()
    const client = await connect(setting.server)
    await copyFile(client, text).run()
    await client.query("analyze billing_usage_records")
    await client.end()
    const mine = startProcess("export-xlsx", {
      url: setting.server.url(),
      file: join(setting.directory, "ours.xlsx"),
      count,
      format: "xlsx"
    } satisfies Options)
    const theirs = startProcess("export-xlsx", {
      peer: true,
      file: join(setting.directory, "exceljs.xlsx"),
      count
    } satisfies Options)
    const contestants = [mine.contestant("ours"), theirs.contestant("exceljs")] as const
    try {
      const results = await interleave(setting, "export-xlsx", contestants, async () => {})
      const [ours, peer] = contestants.map(({ name }) => results.get(name)!)
      const file = join(setting.directory, "ours.xlsx")
      const peakMemory = peakMemoryOf(
        setting.server.url(),
        "export",
        "xlsx",
        file,
        "2026-01",
        "--all-customers",
        "--force"
      )
      const sizes = [ours!, peer!].map((runs) => median(runs.map(({ figures }) => figures!["bytes"]!)) / 1e6)
      return [
        {
          benchmark: "export-xlsx",
          case: `${sizes.map((size) => size.toFixed(0)).join(" against ")} MB, exceljs (${(theirs.peakMemory() / 1e6).toFixed(0)} MB of memory)`,
          ours: rate(ours!, count),
          peer: rate(peer!, count),
          ratios: speedRatios(ours!, peer!),
          aim: "≥ 1.0, ≤ 220 MB",
          peakMemory
        }
      ]
    } finally {
      await Promise.all([mine.close(), theirs.close()])
      await setting.reset()
    }
  }
}
