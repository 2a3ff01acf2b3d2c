/** `usage track storage` */
import { Command } from "effect/cli"
import * as Tracking from "../../../domain/Tracking.ts"
import * as Flags from "../../shared/Flags.ts"
import * as Recording from "../../shared/Recording.ts"

export const storage = Command.make(
  "storage",
  {
    bytes: Flags.required("bytes", "Bytes stored"),
    hours: Flags.argument("hours", "For how many hours; default 1"),
    ...Recording.flags
  },
  ({ bytes, hours, ...flags }) => Recording.record(flags, (common) => Tracking.storage({ ...common, bytes, hours }))
).pipe(
  Command.withDescription("Bytes stored over time, billed in GB-hours"),
  Command.withExamples([{ command: "usage track storage 5368709120 24", description: "5 GB for a day" }])
)
