/** `usage track …`: the six typed trackers. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { Argument, Command } from "effect/cli"
import type { UsageRecord } from "../../domain/UsageRecord.ts"
import { Recorder, type RecorderError } from "../../Recorder.ts"
import * as Flags from "../flags.ts"
import * as Session from "../Session.ts"

/** A command waits a little for a busy server, then says so: whoever scripts it has a better idea of what to do. */
export const layerRecorder = Layer.provide(Recorder.layer({ retryFor: "3 seconds", writers: 1 }), Session.layerDatabase)

const shared = { customer: Flags.customer, at: Flags.at }

interface Shared {
  readonly customer: Option.Option<string>
  readonly at: Option.Option<string>
}

/** Records for the customer of the flags, and tells a person what was recorded. */
export const recordWith = Effect.fnUntraced(function* (
  flags: Shared,
  record: (
    recorder: Recorder["Service"],
    common: { readonly customer: string; readonly recordedAt: string | undefined }
  ) => Effect.Effect<UsageRecord, RecorderError>
) {
  const customer = yield* Session.requireCustomer(flags.customer)
  const recorded = yield* Effect.provide(
    Effect.flatMap(Recorder, (recorder) => record(recorder, { customer, recordedAt: Flags.given(flags.at) })),
    layerRecorder
  )
  yield* Session.confirm(`recorded ${recorded.service} for ${recorded.customer}`)
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
    recordWith(input, (recorder, common) =>
      recorder.trackApiRequest({
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
    recordWith(input, (recorder, common) =>
      recorder.trackStorage({ ...common, bytes: input.bytes, hours: Flags.given(input.hours) })
    )
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
    recordWith(input, (recorder, common) =>
      recorder.trackBandwidth({
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
    recordWith(input, (recorder, common) =>
      recorder.trackCompute({ ...common, cpuSeconds: input.seconds, metadata: Flags.given(input.metadata) })
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
    recordWith(input, (recorder, common) =>
      recorder.trackDatabaseQuery({
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
    recordWith(input, (recorder, common) =>
      recorder.trackFunction({
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
