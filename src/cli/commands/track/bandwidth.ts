/** `usage track bandwidth` */
import { Command } from "effect/cli"
import * as Tracking from "../../../domain/Tracking.ts"
import * as Flags from "../../shared/Flags.ts"
import * as Recording from "../../shared/Recording.ts"

export const bandwidth = Command.make(
  "bandwidth",
  {
    bytes: Flags.required("bytes", "Bytes transferred"),
    direction: Flags.argument("direction", "egress or ingress; default egress"),
    ...Recording.flags
  },
  ({ bytes, direction, ...flags }) =>
    Recording.record(flags, (common) =>
      // What else is given is refused with the two that exist.
      Tracking.bandwidth({ ...common, bytes, direction: direction as "egress" | "ingress" | undefined })
    )
).pipe(Command.withDescription("Bytes transferred, billed in GB"))
