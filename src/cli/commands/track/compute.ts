/** `usage track compute` */
import { Command } from "effect/cli"
import * as Tracking from "../../../domain/Tracking.ts"
import * as Flags from "../../shared/Flags.ts"
import * as Recording from "../../shared/Recording.ts"

export const compute = Command.make(
  "compute",
  {
    cpuSeconds: Flags.required("cpu-seconds", "CPU time in seconds"),
    metadata: Flags.argument("metadata-json", 'A JSON object: {"instance":"t3.medium"}'),
    ...Recording.flags
  },
  ({ cpuSeconds, metadata, ...flags }) =>
    Recording.record(flags, (common) => Tracking.compute({ ...common, cpuSeconds, metadata }))
).pipe(Command.withDescription("CPU time, billed in CPU-hours"))
