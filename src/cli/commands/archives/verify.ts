/** `usage archives verify` */
import { Command } from "effect/cli"
import * as Effect from "effect/Effect"
import { Archiver, type Verification } from "../../../retention/Archiver.ts"
import { Findings } from "../../shared/Failures.ts"
import * as Flags from "../../shared/Flags.ts"
import * as Layers from "../../shared/Layers.ts"
import * as Listing from "../../render/Listing.ts"
import * as Archives from "./Archives.ts"

const { column } = Listing

const listing = Listing.make<Verification>("archives", [
  column("month", ({ archive }) => archive.month),
  column("file", ({ archive }) => archive.file),
  column("status", ({ problem }) => (problem === undefined ? "ok" : "broken")),
  column("problem", ({ problem }) => problem)
])

export const verify = Command.make(
  "verify",
  { month: Archives.anyMonth, format: Flags.format },
  Effect.fnUntraced(function* (input) {
    const found = yield* (yield* Archiver).verify(input.month)
    yield* Listing.print(listing, input, found)
    const broken = found.filter(({ problem }) => problem !== undefined).length
    if (broken > 0) return yield* new Findings({ summary: `${broken} of ${found.length} archives do not verify` })
  })
).pipe(
  Command.provide(Layers.archiver),
  Command.withDescription("Read archives and compare them with what is known of them. Exit code 3 if one differs")
)
