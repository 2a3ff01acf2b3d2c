/** `usage retention list` */
import { Command } from "effect/cli"
import * as Effect from "effect/Effect"
import type { RetentionRule } from "../../../domain/RetentionRule.ts"
import { Retention } from "../../../retention/Retention.ts"
import * as Flags from "../../shared/Flags.ts"
import * as Layers from "../../shared/Layers.ts"
import * as Listing from "../../render/Listing.ts"

const { cell, column, field } = Listing

const listing = Listing.make<RetentionRule>("retention", [
  column("subject", ({ subject }) => subject),
  column("customer_id", ({ customer }) => customer),
  column("service", ({ service }) => service),
  cell("days", ({ days }) => days ?? "for ever"),
  field("days", ({ days }) => days ?? null),
  cell("then", ({ action, days }) => (days === undefined ? undefined : action)),
  field("action", ({ action }) => action)
])

export const list = Command.make(
  "list",
  { format: Flags.format },
  Effect.fnUntraced(function* (input) {
    yield* Listing.print(listing, input, yield* (yield* Retention).rules)
  })
).pipe(Command.provide(Layers.retention), Command.withDescription("All rules, and what applies without one"))
