/** `usage track function` */
import { Command } from "effect/cli"
import * as Tracking from "../../../domain/Tracking.ts"
import * as Flags from "../../shared/Flags.ts"
import * as Recording from "../../shared/Recording.ts"

export const functionCall = Command.make(
  "function",
  {
    name: Flags.required("name", "The function's name"),
    durationMs: Flags.argument("duration-ms", "Milliseconds it ran; default 0"),
    memoryMb: Flags.argument("memory-mb", "Memory in MB; default 128"),
    ...Recording.flags
  },
  ({ durationMs, memoryMb, name, ...flags }) =>
    Recording.record(flags, (common) => Tracking.functionInvocation({ ...common, name, durationMs, memoryMb }))
).pipe(Command.withDescription("One invocation of a function"))
