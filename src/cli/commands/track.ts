/** `usage track …`: the six typed trackers. */
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Result from "effect/Result"
import { Argument, Command } from "effect/cli"
import type { InvalidInput } from "../../domain/InvalidInput.ts"
import type { UsageInput } from "../../domain/UsageRecord.ts"
import * as Tracking from "../../domain/Tracking.ts"
import * as Flags from "../Flags.ts"
import { recordAll } from "../Recording.ts"
import * as Session from "../Session.ts"

const shared = { customer: Flags.customer, at: Flags.at, key: Flags.key }

interface Shared {
  readonly customer: Option.Option<string>
  readonly at: Option.Option<string>
  readonly key: Option.Option<string>
}

interface Common {
  readonly customer: string
  readonly recordedAt: string | undefined
  readonly idempotencyKey: string | undefined
}

/** Records for the customer of the flags, and tells a person what was recorded. */
export const recordWith = Effect.fnUntraced(function* (
  flags: Shared,
  usage: (common: Common) => Result.Result<UsageInput, InvalidInput>
) {
  const customer = yield* Session.requireCustomer(flags.customer)
  const input = usage({ customer, recordedAt: Flags.given(flags.at), idempotencyKey: Flags.given(flags.key) })
  const where = yield* recordAll([input])
  if (where === "stored") yield* Session.confirm(`recorded for ${customer}`)
})

const optional = (name: string, description: string) =>
  Argument.String(name).pipe(Argument.withDescription(description), Argument.optional)

const number = (text: Option.Option<string>): number | undefined => {
  const value = Flags.given(text)
  return value === undefined ? undefined : Number(value)
}

const apiRequest = Command.make(
  "api-request",
  {
    ...shared,
    endpoint: Argument.String("endpoint").pipe(Argument.withDescription("Path or route, /api/users")),
    method: optional("method", "HTTP method, GET"),
    status: optional("status", "HTTP status, 200")
  },
  (input) =>
    recordWith(input, (common) =>
      Tracking.apiRequest({
        ...common,
        endpoint: input.endpoint,
        method: Flags.given(input.method),
        status: number(input.status)
      })
    )
).pipe(
  Command.withDescription("One request to an API"),
  Command.withExamples([
    { command: "usage track api-request /api/users GET 200 --customer acme", description: "A successful GET" }
  ])
)

const storage = Command.make(
  "storage",
  {
    ...shared,
    bytes: Argument.String("bytes").pipe(Argument.withDescription("Bytes stored")),
    hours: optional("hours", "For how many hours, 1")
  },
  (input) =>
    recordWith(input, (common) => Tracking.storage({ ...common, bytes: input.bytes, hours: Flags.given(input.hours) }))
).pipe(
  Command.withDescription("Bytes stored over time, billed in GB-hours"),
  Command.withExamples([{ command: "usage track storage 5368709120 24", description: "5 GB for a day" }])
)

const bandwidth = Command.make(
  "bandwidth",
  {
    ...shared,
    bytes: Argument.String("bytes").pipe(Argument.withDescription("Bytes transferred")),
    direction: optional("direction", "egress or ingress, egress")
  },
  (input) =>
    recordWith(input, (common) =>
      Tracking.bandwidth({
        ...common,
        bytes: input.bytes,
        // What else is given is refused with the two that exist.
        direction: Flags.given(input.direction) as "egress" | "ingress" | undefined
      })
    )
).pipe(Command.withDescription("Bytes transferred, billed in GB"))

const compute = Command.make(
  "compute",
  {
    ...shared,
    seconds: Argument.String("cpu-seconds").pipe(Argument.withDescription("CPU time in seconds")),
    metadata: optional("metadata-json", 'A JSON object, {"instance":"t3.medium"}')
  },
  (input) =>
    recordWith(input, (common) =>
      Tracking.compute({ ...common, cpuSeconds: input.seconds, metadata: Flags.given(input.metadata) })
    )
).pipe(Command.withDescription("CPU time, billed in CPU-hours"))

const databaseQuery = Command.make(
  "database-query",
  {
    ...shared,
    type: optional("type", "Kind of query, SELECT"),
    duration: optional("duration-ms", "Milliseconds it took, 0")
  },
  (input) =>
    recordWith(input, (common) =>
      Tracking.databaseQuery({
        ...common,
        type: Flags.given(input.type),
        durationMs: Flags.given(input.duration)
      })
    )
).pipe(Command.withDescription("One database query"))

const functionCall = Command.make(
  "function",
  {
    ...shared,
    name: Argument.String("name").pipe(Argument.withDescription("The function's name")),
    duration: optional("duration-ms", "Milliseconds it ran, 0"),
    memory: optional("memory-mb", "Memory in MB, 128")
  },
  (input) =>
    recordWith(input, (common) =>
      Tracking.functionInvocation({
        ...common,
        name: input.name,
        durationMs: Flags.given(input.duration),
        memoryMb: Flags.given(input.memory)
      })
    )
).pipe(Command.withDescription("One invocation of a function"))

export const track = Command.make("track").pipe(
  Command.withDescription("Record usage of one of the six services, with the units and metadata that belong to it"),
  Command.withSubcommands([apiRequest, storage, bandwidth, compute, databaseQuery, functionCall])
)
