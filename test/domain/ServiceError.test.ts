/** Every error that a service fails with, and every reason that it can have: one level, caught by `Effect.catchReason`. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Types from "effect/Types"
import * as Api from "../../src/index.ts"

type Classes = {
  [
    Name in keyof typeof Api as (typeof Api)[Name] extends { readonly fields: { readonly reason: unknown } }
      ? Name
      : never
  ]: (typeof Api)[Name]
}
type AnyError = Types.Simplify<Classes>[keyof Classes]["Type"]
type AnyReason = AnyError["reason"]

/** All that is exported and has a reason: also what would not be made by `ServiceError`. */
const classes = Object.values(Api).filter(
  (exported): exported is Classes[keyof Classes] =>
    typeof exported === "function" && "fields" in exported && "reason" in exported.fields
)

const database = { detail: "the server's words", code: "57P01", cause: new Error("the driver's words") }

/** One of each: a reason that is new does not compile before it is here. */
const samples: { readonly [Tag in AnyReason["_tag"]]: Extract<AnyReason, { readonly _tag: Tag }> } = {
  ArchiveBroken: new Api.ArchiveBroken({ file: "a.csv", problem: "bytes: 1 instead of 2" }),
  ArchiveFileError: new Api.ArchiveFileError({ file: "a.csv", problem: "it is gone", cause: new Error("ENOENT") }),
  Busy: new Api.Busy(database),
  ChannelError: new Api.ChannelError({ channel: "mail", problem: "no answer", isRetryable: true }),
  Closed: new Api.Closed(),
  Denied: new Api.Denied(database),
  InTransaction: new Api.InTransaction(),
  InUse: new Api.InUse({ directory: "/data", owner: "process 1", problem: "it does not answer" }),
  InvalidInput: new Api.InvalidInput({ field: "amount", problem: "-1 is negative", remedy: "Give 0 or more" }),
  KeyConflict: new Api.KeyConflict({ customer: "acme", key: "k" }),
  MaintenanceRunning: new Api.MaintenanceRunning({ owner: "process 1", since: "2026-01-01T00:00:00Z" }),
  NotInTransaction: new Api.NotInTransaction(),
  NotInstalled: new Api.NotInstalled({ package: "chart.js", purpose: "an HTML report" }),
  NotMigrated: new Api.NotMigrated(database),
  PeriodArchived: new Api.PeriodArchived({ months: ["2026-01"], files: ["a.csv"] }),
  PeriodRemoved: new Api.PeriodRemoved({ months: ["2026-01"] }),
  QueueFull: new Api.QueueFull({ capacity: 1 }),
  QuotaExceeded: new Api.QuotaExceeded({
    customer: "acme",
    service: "api",
    limit: "5",
    used: "5",
    unit: "requests",
    resetsAt: 0
  }),
  Refused: new Api.Refused({ ...database, where: "line 1", constraint: "" }),
  RollupsDiffer: new Api.RollupsDiffer({ month: "2026-01", customer: "acme", service: "api", said: "1", found: "2" }),
  SpoolFull: new Api.SpoolFull({ path: "/spool", maxBytes: 1 }),
  SpoolOfAnother: new Api.SpoolOfAnother({ path: "/spool", owner: "a", database: "b" }),
  SpoolUnusable: new Api.SpoolUnusable({
    path: "/spool",
    step: "sealing a segment",
    detail: "denied",
    code: "EACCES",
    cause: new Error("denied")
  }),
  TooNew: new Api.TooNew({ found: "0009_b", known: "0007_checks", breaking: "0008_a" }),
  Unexpected: new Api.Unexpected(database),
  Unreachable: new Api.Unreachable(database),
  UnreadableSource: new Api.UnreadableSource({ name: "a.csv", detail: "it is gone", cause: new Error("ENOENT") }),
  Unsuitable: new Api.Unsuitable({ detail: "SQL_ASCII", remedy: "Make one of UTF8" }),
  Unwritable: new Api.Unwritable({ file: "a.csv", code: "ENOSPC", cause: new Error("no space left") })
}

describe("the errors of services", () => {
  it("are all here", () => {
    const names = Object.keys(Api).filter((name) => name.endsWith("Error"))
    // A failure of one channel is a reason, and the client's error has a code instead.
    const others = ["ChannelError", "ArchiveFileError", "UsageError"]
    assert.sameMembers(
      classes.map(({ identifier }) => identifier),
      names.filter((name) => !others.includes(name))
    )
  })

  for (const Class of classes) {
    const leaves: ReadonlyArray<{ readonly identifier: string; readonly fields: object }> = Class.reasons
    const reasons = leaves.map(({ identifier }) => samples[identifier as AnyReason["_tag"]])

    it(`${Class.identifier}: no reason has a reason`, () => {
      assert.isNotEmpty(reasons)
      assert.strictEqual(new Set(leaves).size, leaves.length)
      for (const { fields, identifier } of leaves) assert.notProperty(fields, "reason", identifier)
    })

    it.effect(`${Class.identifier}: each reason is caught`, () =>
      Effect.forEach(reasons, (reason) =>
        Effect.gen(function* () {
          const error: AnyError = new (Class as new (props: object) => AnyError)({ reason })
          assert.deepStrictEqual([error.message, error.isRetryable], [reason.message, reason.isRetryable])
          const failing: Effect.Effect<never, AnyError> = Effect.fail(error)
          const caught = Effect.catchReason(failing, error._tag, reason._tag, (found, whole) =>
            Effect.succeed([found, whole])
          )
          assert.deepStrictEqual(yield* caught, [reason, error])
        })
      )
    )

    it(`${Class.identifier}: each reason survives a journey as JSON`, () => {
      const codec: Schema.Codec<AnyError, unknown> = Class
      for (const reason of reasons) {
        const error: AnyError = new (Class as new (props: object) => AnyError)({ reason })
        const json = JSON.stringify(Schema.encodeSync(codec)(error))
        const arrived = Schema.decodeUnknownSync(codec)(JSON.parse(json))
        assert.strictEqual<unknown>(arrived.constructor, Class)
        assert.strictEqual(arrived.reason.constructor, reason.constructor)
        assert.deepStrictEqual([arrived.message, arrived.isRetryable], [error.message, error.isRetryable])
        assert.strictEqual(JSON.stringify(Schema.encodeSync(codec)(arrived)), json)
      }
    })
  }
})
