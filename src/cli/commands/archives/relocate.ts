/** `usage archives relocate` */
import { Command } from "effect/cli"
import * as Effect from "effect/Effect"
import { Archiver } from "../../../retention/Archiver.ts"
import * as Flags from "../../shared/Flags.ts"
import * as Layers from "../../shared/Layers.ts"
import * as Listing from "../../render/Listing.ts"
import * as Archives from "./Archives.ts"

const listing = Listing.make("archives", [Archives.month, Archives.state, Archives.file])

export const relocate = Command.make(
  "relocate",
  {
    from: Flags.required("from", "Where they were: a directory, s3://bucket/folder, or a file"),
    to: Flags.required("to", "Where they are"),
    format: Flags.format
  },
  Effect.fnUntraced(function* (input) {
    yield* Listing.print(listing, input, yield* (yield* Archiver).relocate(input.from, input.to))
  })
).pipe(
  Command.provide(Layers.archiver),
  Command.withDescription(
    "Say where you have moved archive files. They are read there first, and if one is not what it was, nothing changes. Not needed for files in the directory of an embedded database, which move with it"
  ),
  Command.withExamples([
    { command: "usage archives relocate /old/disk/billing /new/disk/billing", description: "Another disk" },
    { command: "usage archives relocate /var/billing s3://bucket/billing", description: "Copied to an object store" }
  ])
)
