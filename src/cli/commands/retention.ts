/** `usage retention …`: how long what is kept. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Argument, Command, Flag } from "effect/cli"
import { excerpt, InvalidInput } from "../../domain/InvalidInput.ts"
import { type RetentionRule, type RetentionSubject, subjects } from "../../domain/RetentionRule.ts"
import { Retention } from "../../retention/Retention.ts"
import * as Flags from "../Flags.ts"
import * as Listing from "../render/Listing.ts"
import * as Session from "../Session.ts"

const { cell, column, field } = Listing

const use = <A, E, R>(run: (retention: Retention["Service"]) => Effect.Effect<A, E, R>) =>
  Effect.provide(Effect.flatMap(Retention, run), Layer.provide(Retention.layerConfig, Session.layerDatabase))

const subjectFlag = Flag.Literals("of", subjects).pipe(
  Flag.withDescription("What the rule is about: records, keys (and the ledger), dead-letters, alerts"),
  Flag.withDefault("records" as RetentionSubject)
)
const customerFlag = Flag.String("customer").pipe(
  Flag.withAlias("c"),
  Flag.withDescription("Only this customer's records"),
  Flag.withMetavar("<id>"),
  Flag.optional
)

const whose = ({ customer, service, subject }: RetentionRule) =>
  [customer, service].filter((part) => part !== undefined).join(", ") || (subject === "records" ? "all" : "")
const span = (days: number | undefined) => (days === undefined ? "for ever" : `${days} days`)

const readDays = (text: string): Effect.Effect<number | "forever", InvalidInput> =>
  text === "forever" || /^\d{1,6}$/.test(text)
    ? Effect.succeed(text === "forever" ? text : Number(text))
    : Effect.fail(
        new InvalidInput({
          field: "days",
          problem: `${excerpt(text)} is not a number of days`,
          remedy: "Give a whole number from 1 to 36500, or forever"
        })
      )

const set = Command.make(
  "set",
  {
    days: Argument.String("days").pipe(Argument.withDescription("Whole days, or forever")),
    subject: subjectFlag,
    service: Flags.service,
    customer: customerFlag,
    drop: Flag.Boolean("drop").pipe(
      Flag.withDescription("Remove the records for good, rather than into archives"),
      Flag.withDefault(false)
    )
  },
  Effect.fnUntraced(function* (input) {
    const days = yield* readDays(input.days)
    const rule = yield* use((retention) =>
      retention.set({
        subject: input.subject,
        customer: Flags.given(input.customer),
        service: Flags.given(input.service),
        days,
        action: input.drop || input.subject !== "records" ? "drop" : "archive"
      })
    )
    const of = rule.subject === "records" ? `records of ${whose(rule)}` : rule.subject
    const then = rule.days === undefined ? "" : rule.action === "archive" ? ", then archived" : ", then dropped"
    yield* Session.confirm(`${of}: kept ${span(rule.days)}${then}`)
  })
).pipe(
  Command.withDescription(
    "Say how long something is kept. Records leave by whole months, which have been over for so many days; of several rules the most specific counts"
  ),
  Command.withExamples([
    { command: "usage retention set 90", description: "Records go into archives after 90 days" },
    { command: "usage retention set 30 --service functions --drop", description: "Nobody needs those in detail" },
    { command: "usage retention set forever --customer acme", description: "A dispute" },
    { command: "usage retention set 200 --of dead-letters", description: "Refused usage that nobody mended" }
  ])
)

const listing = Listing.make<RetentionRule>("retention", [
  column("subject", ({ subject }) => subject),
  column("customer_id", ({ customer }) => customer),
  column("service", ({ service }) => service),
  cell("days", ({ days }) => days ?? "for ever"),
  field("days", ({ days }) => days ?? null),
  cell("then", ({ action, days }) => (days === undefined ? undefined : action)),
  field("action", ({ action }) => action)
])

const list = Command.make(
  "list",
  { format: Flags.format },
  Effect.fnUntraced(function* ({ format }) {
    const rules = yield* use((retention) => retention.rules)
    yield* Listing.print(listing, { format }, rules)
  })
).pipe(Command.withDescription("All rules, and what holds without one"))

const remove = Command.make(
  "remove",
  { subject: subjectFlag, service: Flags.service, customer: customerFlag },
  Effect.fnUntraced(function* (input) {
    yield* use((retention) =>
      retention.remove({
        subject: input.subject,
        customer: Flags.given(input.customer),
        service: Flags.given(input.service)
      })
    )
    yield* Session.confirm("the rule is removed")
  })
).pipe(Command.withDescription("Remove a rule; what is less specific holds again"))

export const retention = Command.make("retention").pipe(
  Command.withDescription("How long records, keys, dead letters and alerts are kept; `usage maintain` sees to it"),
  Command.withSubcommands([set, list, remove])
)
