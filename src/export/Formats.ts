/** The formats by name. Those that need libraries are loaded when used. */
import * as Effect from "effect/Effect"
import type { NotInstalled } from "../domain/NotInstalled.ts"
import * as Optional from "../system/Optional.ts"
import { csv } from "./Csv.ts"
import type { ExportFormat } from "./FileName.ts"
import { json } from "./Json.ts"
import { ndjson } from "./Ndjson.ts"
import type { TableFormat } from "./Table.ts"

export const loadFormat = (format: ExportFormat): Effect.Effect<TableFormat, NotInstalled> => {
  switch (format) {
    case "csv":
      return Effect.succeed(csv)
    case "json":
      return Effect.succeed(json)
    case "ndjson":
      return Effect.succeed(ndjson)
    case "xlsx":
      return Effect.andThen(
        Optional.loaded("exceljs", "an XLSX export", () => import("exceljs")),
        Effect.promise(async () => (await import("./Xlsx.ts")).xlsx)
      )
    case "parquet":
      return Effect.andThen(
        Optional.loaded("hyparquet-writer", "a Parquet export", () => import("hyparquet-writer")),
        Effect.promise(async () => (await import("../files/Parquet.ts")).parquet)
      )
  }
}
