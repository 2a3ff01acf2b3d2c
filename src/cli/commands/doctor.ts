/** `usage doctor`: whether what is promised holds. */
import { Command } from "effect/cli"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Doctor, type Finding } from "../../operate/Doctor.ts"
import { Findings } from "../shared/Failures.ts"
import * as Flags from "../shared/Flags.ts"
import * as Listing from "../render/Listing.ts"
import * as Progress from "../render/Progress.ts"
import * as Session from "../shared/Session.ts"
import { inCommands } from "../shared/Words.ts"

const listing = Listing.make<Finding>("checks", [
  Listing.column("check", ({ check }) => check),
  Listing.column("status", ({ status }) => status),
  Listing.column("detail", ({ detail }) => detail),
  Listing.column("remedy", ({ remedy }) => inCommands(remedy))
])

export const doctor = Command.make(
  "doctor",
  {
    full: Flags.on("full", "Check all records, not only what has changed since the last check without findings"),
    format: Flags.format
  },
  Effect.fnUntraced(function* (input) {
    const service = yield* Doctor
    const findings = yield* Session.watched(
      (stream) => Progress.makeSteps(stream, "spans of days"),
      (progress) =>
        service.examine({
          full: input.full,
          onProgress: (day, done, of) => Effect.sync(() => progress?.show(done, of, day))
        })
    )
    yield* Listing.print(listing, input, findings)
    const found = findings.filter(({ status }) => status !== "ok").length
    if (found > 0) return yield* new Findings({ summary: `${found} of ${findings.length} checks found something` })
  })
).pipe(
  Command.provide(Layer.provide(Doctor.layer, Layer.merge(Session.layerArchives, Session.layerSpool))),
  Command.withDescription(
    "Check the invariants of the database and the spool, and say how to mend what is wrong. Exit code 3 on findings"
  )
)
