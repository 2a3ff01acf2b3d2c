/** `usage track database-query` */
import { Command } from "effect/cli"
import * as Tracking from "../../../domain/Tracking.ts"
import * as Flags from "../../shared/Flags.ts"
import * as Recording from "../../shared/Recording.ts"

export const databaseQuery = Command.make(
  "database-query",
  {
    type: Flags.argument("type", "Kind of query; default SELECT"),
    durationMs: Flags.argument("duration-ms", "Milliseconds it took; default 0"),
    ...Recording.flags
  },
  ({ durationMs, type, ...flags }) =>
    Recording.record(flags, (common) => Tracking.databaseQuery({ ...common, type, durationMs }))
).pipe(Command.withDescription("One database query"))
