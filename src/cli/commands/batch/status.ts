/** `usage batch status` */
import { Command } from "effect/cli"
import * as Effect from "effect/Effect"
import * as Instant from "../../../domain/Instant.ts"
import { Spool } from "../../../spool/Spool.ts"
import type { SpoolStatus } from "../../../spool/SpoolDirectory.ts"
import * as Flags from "../../shared/Flags.ts"
import * as Listing from "../../render/Listing.ts"
import * as Session from "../../shared/Session.ts"

const { column, time } = Listing

const listing = Listing.make<SpoolStatus>(undefined, [
  column("inbox_files", ({ inboxFiles }) => inboxFiles),
  column("open_segments", ({ openSegments }) => openSegments),
  column("ready_batches", ({ readyBatches }) => readyBatches),
  column("bytes", ({ bytes }) => bytes),
  time("oldest", ({ oldest }) => (oldest === undefined ? undefined : Instant.fromMillis(oldest))),
  column("broken", ({ broken }) => broken),
  column("database", ({ database }) => database)
])

export const status = Command.make(
  "status",
  { format: Flags.format },
  Effect.fnUntraced(function* (input) {
    yield* Listing.print(listing, input, [yield* (yield* Spool).status])
  })
).pipe(Command.provide(Session.layerSpool), Command.withDescription("What is waiting in the spool"))
