/** Where archives go, and as what. */
import { Flag } from "effect/cli"
import * as Flags from "./Flags.ts"

export const flags = {
  directory: Flags.text(
    "dir",
    "directory",
    "Where the files go (or USAGE_ARCHIVE_DIR), also s3://bucket/folder; default $USAGE_HOME/archives"
  ),
  fileFormat: Flag.Literals("file-format", ["csv", "parquet"]).pipe(
    Flag.withDescription("Of files that are named automatically"),
    Flag.withDefault("csv")
  ),
  compression: Flag.Literals("compression", ["gzip", "zstd", "none"]).pipe(
    Flag.withDescription("Of CSV files that are named automatically"),
    Flag.withDefault("gzip")
  )
}
