/** Checks callers' input against the catalog's services, and turns it into records. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Schedule from "effect/Schedule"
import type { Catalog, CatalogStore } from "../catalog/CatalogStore.ts"
import type { DatabaseError } from "../database/DatabaseError.ts"
import { persistently } from "../database/Retry.ts"
import { InvalidInput } from "../domain/InvalidInput.ts"
import * as Service from "../domain/Service.ts"
import { make, type UsageInput, type UsageRecord } from "../domain/UsageRecord.ts"

/** An unknown service makes us reload the catalog, but no more often than this: bad input must not become load. */
const reloadEveryMillis = 1_000

export interface Intake {
  readonly check: (input: UsageInput) => Effect.Effect<UsageRecord, InvalidInput | DatabaseError>
  /** All or nothing: fails with the first refusal, whose field names the place. */
  readonly checkAll: (
    inputs: ReadonlyArray<UsageInput>
  ) => Effect.Effect<ReadonlyArray<UsageRecord>, InvalidInput | DatabaseError>
  /** Each by itself. */
  readonly checkEach: (
    inputs: ReadonlyArray<UsageInput>
  ) => Effect.Effect<ReadonlyArray<Result.Result<UsageRecord, InvalidInput>>, DatabaseError>
}

/** `retry`: how to retry loading the catalog while the database is unreachable. */
export const makeIntake = (catalogs: CatalogStore["Service"], retry?: Schedule.Schedule<unknown>): Intake => {
  let reloadedAt = -Infinity

  const reload = retry === undefined ? catalogs.reload : persistently(retry)(catalogs.reload)
  const current = Effect.catchIf(
    catalogs.current,
    (error) => retry !== undefined && error.isRetryable,
    () => reload
  )

  const checkWith = (catalog: Catalog, input: UsageInput, now: number): Result.Result<UsageRecord, InvalidInput> => {
    if (typeof input !== "object" || input === null) return Result.fail(notAnObject)
    try {
      return checkObject(catalog, input, now)
    } catch {
      // A getter or proxy in the caller's input threw.
      return Result.fail(unreadable)
    }
  }

  const checkObject = (catalog: Catalog, input: UsageInput, now: number): Result.Result<UsageRecord, InvalidInput> => {
    const service = typeof input.service === "string" ? catalog.services.get(input.service) : undefined
    if (service !== undefined) return make(input, service, now)
    return Result.flatMap(Service.parseName(input.service), (name) =>
      Result.fail(Service.unknown(name, catalog.services.keys()))
    )
  }

  const isUnknown = (catalog: Catalog, input: UsageInput): boolean => {
    try {
      return typeof input?.service === "string" && !catalog.services.has(input.service)
    } catch {
      return false
    }
  }

  /** The catalog to check these inputs with. Reloaded if a service is unknown: another process may have added it. */
  const catalogFor = Effect.fnUntraced(function* (inputs: ReadonlyArray<UsageInput>, now: number) {
    const catalog = yield* current
    if (!inputs.some((input) => isUnknown(catalog, input)) || Math.abs(now - reloadedAt) < reloadEveryMillis)
      return catalog
    reloadedAt = now
    return yield* reload
  })

  const checkEach = Effect.fnUntraced(function* (inputs: ReadonlyArray<UsageInput>) {
    const now = yield* Clock.currentTimeMillis
    const catalog = yield* catalogFor(inputs, now)
    return inputs.map((input) => checkWith(catalog, input, now))
  })

  return {
    check: Effect.fnUntraced(function* (input: UsageInput) {
      const [result] = yield* checkEach([input])
      return yield* Effect.fromResult(result!)
    }),
    checkAll: Effect.fnUntraced(function* (inputs: ReadonlyArray<UsageInput>) {
      if (!Array.isArray(inputs)) return yield* notAnArray
      const records: Array<UsageRecord> = []
      for (const [index, result] of (yield* checkEach(inputs)).entries()) {
        if (Result.isFailure(result)) return yield* result.failure.at(`records[${index}]`)
        records.push(result.success)
      }
      return records
    }),
    checkEach
  }
}

const notAnArray = new InvalidInput({
  field: "records",
  problem: "is not an array",
  remedy: "Give [{ customer, service, quantity }, …]"
})

const unreadable = new InvalidInput({
  field: "record",
  problem: "has a property that throws when it is read",
  remedy: "Give plain values"
})

const notAnObject = new InvalidInput({
  field: "record",
  problem: "is not an object",
  remedy: "Give { customer, service, quantity }"
})
