/** `usage record`: usage of any service. */
import { Command } from "effect/cli"
import * as Result from "effect/Result"
import * as Flags from "../shared/Flags.ts"
import * as Recording from "../shared/Recording.ts"

export const record = Command.make(
  "record",
  {
    service: Flags.required("service", "The service's name"),
    quantity: Flags.required("quantity", "In the service's billing unit: 1.5 of compute is 1.5 CPU-hours"),
    metadata: Flags.argument("metadata-json", "A JSON object"),
    ...Recording.flags
  },
  ({ metadata, quantity, service, ...flags }) =>
    Recording.record(flags, (common) => Result.succeed({ ...common, service, quantity, metadata }))
).pipe(
  Command.withDescription("Record usage of any service. It is stored when the command returns"),
  Command.withExamples([
    { command: "usage record compute 1.5 --customer acme", description: "An hour and a half of CPU time" },
    { command: 'usage record api 1 \'{"endpoint":"/users"}\'', description: "For the customer in USAGE_CUSTOMER_ID" }
  ])
)
