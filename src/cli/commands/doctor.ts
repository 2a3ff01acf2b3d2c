/** `usage doctor`: whether what is promised holds. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Command, Flag } from "effect/cli"
import { Doctor, type Finding } from "../../operate/Doctor.ts"
import { Findings } from "../Failures.ts"
import * as Flags from "../Flags.ts"
import * as Listing from "../render/Listing.ts"
import * as Progress from "../render/Progress.ts"
import * as Session from "../Session.ts"

const listing = Listing.make<Finding>("checks", [
  Listing.column("check", ({ check }) => check),
  Listing.column("status", ({ status }) => status),
  Listing.column("detail", ({ detail }) => detail),
  Listing.column("remedy", ({ remedy }) => remedy)
])

export const doctor = Command.make(
  "doctor",
  {
    full: Flag.Boolean("full").pipe(
      Flag.withDescription("Look at all records, not only at what changed since the last look that found nothing"),
      Flag.withDefault(false)
    ),
    format: Flags.format
  },
  Effect.fnUntraced(function* ({ format, full }) {
    const progress = (yield* Session.isWatched) ? Progress.makeSteps(process.stderr, "spans of days") : undefined
    const findings = yield* Effect.provide(
      Effect.flatMap(Doctor, (service) =>
        service.examine({
          full,
          onProgress: (day, done, of) => Effect.sync(() => progress?.show(done, of, day))
        })
      ),
      Layer.provide(Doctor.layer, Layer.merge(Session.layerArchives, Session.layerSpool))
    ).pipe(Effect.ensuring(Effect.sync(() => progress?.clear())))
    yield* Listing.print(listing, { format }, findings)
    const found = findings.filter(({ status }) => status !== "ok").length
    if (found > 0) return yield* new Findings({ summary: `${found} of ${findings.length} checks found something` })
  })
).pipe(
  Command.withDescription(
    "Check the invariants on the database and the spool, and say how to mend what is wrong. Exit code 3 on findings"
  )
)
