/** `usage batch insert` */
import { Argument, Command } from "effect/cli"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { UsageInput } from "../../../domain/UsageRecord.ts"
import * as Flags from "../../shared/Flags.ts"
import { recordAll } from "../../shared/Recording.ts"
import * as Session from "../../shared/Session.ts"
import * as Whose from "../../shared/Whose.ts"

export const insert = Command.make(
  "insert",
  {
    records: Argument.String("service:quantity:metadata").pipe(
      Argument.withDescription("Split at the first two colons; the metadata may be left out"),
      Argument.variadic({ min: 1 })
    ),
    customer: Whose.one,
    at: Flags.at
  },
  Effect.fnUntraced(function* ({ at, customer, records }) {
    const usages = records.map((text): UsageInput => {
      const [service = "", quantity = "", ...metadata] = text.split(":")
      return {
        customer,
        service,
        quantity,
        recordedAt: at,
        metadata: metadata.length === 0 ? undefined : metadata.join(":")
      }
    })
    const where = yield* recordAll(usages.map((usage) => Result.succeed(usage)))
    if (where === "stored") yield* Session.confirm(`recorded ${usages.length} records`)
  })
).pipe(
  Command.withDescription("Record several in one transaction: all or none"),
  Command.withExamples([
    { command: 'usage batch insert \'api:1:{"endpoint":"/users"}\' database:1', description: "Two records" }
  ])
)
