/** `usage archives list` */
import { Command } from "effect/cli"
import * as Effect from "effect/Effect"
import type { Archive } from "../../../archive/Archive.ts"
import { Archiver } from "../../../retention/Archiver.ts"
import * as Flags from "../../shared/Flags.ts"
import * as Layers from "../../shared/Layers.ts"
import * as Listing from "../../render/Listing.ts"
import * as Archives from "./Archives.ts"

const { column } = Listing

const listing = Listing.make<Archive>("archives", [
  Archives.month,
  column("generation", ({ generation }) => generation),
  Archives.state,
  column("records", ({ records }) => records),
  column("bytes", ({ bytes }) => bytes),
  column("first", ({ first }) => first),
  column("last", ({ last }) => last),
  Archives.file,
  column("sha256", ({ sha256 }) => sha256),
  column("database", ({ owner }) => owner)
])

export const list = Command.make(
  "list",
  { format: Flags.format },
  Effect.fnUntraced(function* (input) {
    yield* Listing.print(listing, input, yield* (yield* Archiver).list)
  })
).pipe(
  Command.provide(Layers.archiver),
  Command.withDescription("All archives: which month, in which file, and whether its records are removed or restored")
)
