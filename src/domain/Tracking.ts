/**
 * The input of the six typed trackers, and the usage they make of it. Each knows its service's units and writes the metadata
 * that reports group by.
 */
import * as BigDecimal from "effect/BigDecimal"
import * as Result from "effect/Result"
import * as Decimal from "./Decimal.ts"
import { excerpt, InvalidInput } from "./InvalidInput.ts"
import type { InstantInput } from "./Instant.ts"
import type { UsageInput } from "./UsageRecord.ts"

/** What all trackers take. @since 0.1.0 */
export interface TrackedUsage {
  /** Whose usage. */
  readonly customer: string
  /** When it was used; now, if absent. */
  readonly recordedAt?: InstantInput | undefined
  /** The caller's own name for this usage: a second record with the same key is not stored. */
  readonly idempotencyKey?: string | undefined
}

/** One request to an API. @since 0.1.0 */
export interface ApiRequest extends TrackedUsage {
  readonly endpoint: string
  /** `GET` */
  readonly method?: string | undefined
  /** HTTP status, `200` */
  readonly status?: number | undefined
}

/** Bytes that were stored for some hours: `bytes × hours` byte-hours. @since 0.1.0 */
export interface StorageUse extends TrackedUsage {
  readonly bytes: Decimal.DecimalInput
  /** `1` */
  readonly hours?: Decimal.DecimalInput | undefined
}

/** Bytes transferred. @since 0.1.0 */
export interface BandwidthUse extends TrackedUsage {
  readonly bytes: Decimal.DecimalInput
  /** `egress` */
  readonly direction?: "egress" | "ingress" | undefined
}

/** CPU time, in seconds. @since 0.1.0 */
export interface ComputeUse extends TrackedUsage {
  readonly cpuSeconds: Decimal.DecimalInput
  readonly metadata?: UsageInput["metadata"]
}

/** One database query. @since 0.1.0 */
export interface DatabaseQuery extends TrackedUsage {
  /** `SELECT` */
  readonly type?: string | undefined
  /** `0` */
  readonly durationMs?: Decimal.DecimalInput | undefined
}

/** One invocation of a function. @since 0.1.0 */
export interface FunctionInvocation extends TrackedUsage {
  readonly name: string
  /** `0` */
  readonly durationMs?: Decimal.DecimalInput | undefined
  /** `128` */
  readonly memoryMb?: Decimal.DecimalInput | undefined
}

type Usage = Result.Result<UsageInput, InvalidInput>

const digits = (field: string, input: unknown): Result.Result<string, InvalidInput> =>
  Result.map(Decimal.parse(field, input, Decimal.amountBounds), Decimal.toText)

/** Accepts any text, except one that PostgreSQL could not read back from JSON. */
const label = (field: string, input: unknown): Result.Result<string, InvalidInput> => {
  const refuse = (problem: string) =>
    Result.fail(new InvalidInput({ field, problem, remedy: "Give a text of 1 to 4096 characters" }))
  if (typeof input !== "string") return refuse(`${excerpt(input)} is not text`)
  if (input === "") return refuse("is empty")
  if (input.length > 4096) return refuse(`has ${input.length} characters`)
  if (input.includes("\0")) return refuse("contains the character U+0000")
  return input.isWellFormed() ? Result.succeed(JSON.stringify(input)) : refuse("is not well-formed Unicode")
}

const usage = (input: TrackedUsage, service: string, amount: string, metadata: UsageInput["metadata"]): UsageInput => ({
  customer: input.customer,
  service,
  amount,
  recordedAt: input.recordedAt,
  idempotencyKey: input.idempotencyKey,
  metadata
})

export const apiRequest = (input: ApiRequest): Usage =>
  Result.gen(function* () {
    const endpoint = yield* label("endpoint", input.endpoint)
    const method = yield* label("method", input.method ?? "GET")
    const status = input.status ?? 200
    if (!Number.isInteger(status) || status < 100 || status > 599) {
      return yield* Result.fail(
        new InvalidInput({
          field: "status",
          problem: `${excerpt(status)} is not an HTTP status`,
          remedy: "Give a whole number from 100 to 599"
        })
      )
    }
    return usage(input, "api", "1", `{"endpoint":${endpoint},"method":${method},"status":${status}}`)
  })

export const storage = (input: StorageUse): Usage =>
  Result.gen(function* () {
    const bytes = yield* Decimal.parse("bytes", input.bytes, Decimal.amountBounds)
    const hours = yield* Decimal.parse("hours", input.hours ?? 1, Decimal.amountBounds)
    const metadata = `{"bytes":${Decimal.toText(bytes)},"hours":${Decimal.toText(hours)}}`
    return usage(input, "storage", Decimal.toText(BigDecimal.multiply(bytes, hours)), metadata)
  })

export const bandwidth = (input: BandwidthUse): Usage =>
  Result.gen(function* () {
    const bytes = yield* digits("bytes", input.bytes)
    const direction: string = input.direction ?? "egress"
    if (direction !== "egress" && direction !== "ingress") {
      return yield* Result.fail(
        new InvalidInput({
          field: "direction",
          problem: `${excerpt(direction)} is not a direction`,
          remedy: "Give egress or ingress"
        })
      )
    }
    return usage(input, "bandwidth", bytes, `{"bytes":${bytes},"direction":"${direction}"}`)
  })

export const compute = (input: ComputeUse): Usage =>
  Result.map(digits("cpuSeconds", input.cpuSeconds), (seconds) => usage(input, "compute", seconds, input.metadata))

export const databaseQuery = (input: DatabaseQuery): Usage =>
  Result.gen(function* () {
    const type = yield* label("type", input.type ?? "SELECT")
    const duration = yield* digits("durationMs", input.durationMs ?? 0)
    return usage(input, "database", "1", `{"type":${type},"duration_ms":${duration}}`)
  })

export const functionInvocation = (input: FunctionInvocation): Usage =>
  Result.gen(function* () {
    const name = yield* label("name", input.name)
    const duration = yield* digits("durationMs", input.durationMs ?? 0)
    const memory = yield* digits("memoryMb", input.memoryMb ?? 128)
    return usage(input, "functions", "1", `{"function":${name},"duration_ms":${duration},"memory_mb":${memory}}`)
  })

/** Input may come from plain JavaScript: what is not an object, or throws when it is read, is refused like the rest. */
export const guarded = <A>(toUsage: (input: A) => Usage, input: A): Usage => {
  try {
    if (typeof input === "object" && input !== null) return toUsage(input)
  } catch {
    // Said below.
  }
  return Result.fail(
    new InvalidInput({
      field: "usage",
      problem: "is not an object with plain values",
      remedy: 'Give an object such as { customer: "acme", … }'
    })
  )
}
