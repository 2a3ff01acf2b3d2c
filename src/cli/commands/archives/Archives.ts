/** Archives in lists. */
import type { Archive } from "../../../archive/Archive.ts"
import * as Flags from "../../shared/Flags.ts"
import { type Column, column } from "../../render/Listing.ts"

export const month: Column<Archive> = column("month", (archive) => archive.month)
export const state: Column<Archive> = column("state", (archive) => archive.state)
export const file: Column<Archive> = column("file", (archive) => archive.file)

const monthHelp = "The archive's month: 2026-01"
export const anyMonth = Flags.argument("month", monthHelp)
export const oneMonth = Flags.required("month", monthHelp)
