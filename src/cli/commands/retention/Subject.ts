/** What a retention rule is about. */
import { Flag, Param } from "effect/cli"
import { type RetentionSubject, subjects } from "../../../domain/RetentionRule.ts"
import * as Flags from "../../shared/Flags.ts"

export const flags = {
  subject: Flag.Literals("of", subjects).pipe(
    Flag.withDescription("What the rule is about: records, keys (and the ledger), dead-letters, alerts"),
    Flag.withDefault("records" as RetentionSubject)
  ),
  service: Flags.service,
  customer: Flags.text("customer", "id", "Only this customer's records").pipe(Param.withAlias("c"))
}
