/** `usage customer …`: who is billed. */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Argument, Command, Flag } from "effect/cli"
import { existsSync } from "node:fs"
import type { Customer } from "../../catalog/Catalog.ts"
import { excerpt, InvalidInput } from "../../domain/InvalidInput.ts"
import { Eraser } from "../../retention/Eraser.ts"
import * as Settings from "../../system/Settings.ts"
import { writeNew } from "../../files/Files.ts"
import { Findings } from "../Failures.ts"
import * as Flags from "../Flags.ts"
import * as Json from "../render/Json.ts"
import * as Listing from "../render/Listing.ts"
import * as Progress from "../render/Progress.ts"
import * as Session from "../Session.ts"
import { printable } from "../../domain/Shown.ts"

const listing = Listing.make<Customer>("customers", [
  Listing.column("customer_id", ({ id }) => id),
  Listing.column("name", ({ name }) => name),
  Listing.time("created_at", ({ createdAt }) => createdAt)
])

const id = Argument.String("id").pipe(Argument.withDescription("The customer's id, 1 to 255 characters"))

const add = Command.make(
  "add",
  {
    id,
    name: Flag.String("name").pipe(
      Flag.withDescription("The customer's name, for reports"),
      Flag.withMetavar("<text>"),
      Flag.optional
    )
  },
  Effect.fnUntraced(function* (input) {
    const customer = yield* Session.withCatalog((catalog) =>
      catalog.putCustomer({ id: input.id, name: Flags.given(input.name) })
    )
    yield* Session.confirm(`customer ${customer} is there`)
  })
).pipe(
  Command.withDescription("Add or rename a customer. Not needed before recording: an unknown customer is added then")
)

const list = Command.make(
  "list",
  { format: Flags.format },
  Effect.fnUntraced(function* ({ format }) {
    yield* Listing.print(listing, { format }, yield* Session.withCatalog((catalog) => catalog.customers))
  })
).pipe(Command.withDescription("All customers"))

const show = Command.make(
  "show",
  { id, format: Flags.format },
  Effect.fnUntraced(function* (input) {
    const customers = yield* Session.withCatalog((catalog) => catalog.customers)
    const found = customers.filter((customer) => customer.id === input.id)
    if (found.length === 0) {
      return yield* new InvalidInput({
        field: "customer",
        problem: `there is no customer ${excerpt(input.id)}`,
        remedy: "See `usage customer list`; ids keep their case"
      })
    }
    yield* Listing.print(listing, input, found)
  })
).pipe(Command.withDescription("One customer"))

const current = Command.make(
  "current",
  { customer: Flags.customer },
  Effect.fnUntraced(function* (input) {
    yield* Console.log(yield* Session.requireCustomer(input.customer))
  })
).pipe(Command.withDescription("The customer that commands are about when they name none: USAGE_CUSTOMER_ID"))

const erase = Command.make(
  "erase",
  {
    id,
    confirm: Flag.String("confirm").pipe(
      Flag.withDescription("The same id once more: this cannot be undone"),
      Flag.withMetavar("<id>"),
      Flag.optional
    ),
    pseudonymise: Flag.Boolean("pseudonymise").pipe(
      Flag.withDescription("Keep the usage under a random name, without its metadata, so that totals stay"),
      Flag.withDefault(false)
    ),
    certificate: Flag.String("certificate").pipe(
      Flag.withDescription("A new file for the certificate, JSON; absent, it is printed"),
      Flag.withMetavar("<file>"),
      Flag.optional
    )
  },
  Effect.fnUntraced(function* (input) {
    if (Flags.given(input.confirm) !== input.id) {
      return yield* new InvalidInput({
        field: "confirm",
        problem: "it is not the customer's id",
        remedy: "Give --confirm with the same id: what is erased cannot be brought back"
      })
    }
    const file = Flags.given(input.certificate)
    if (file !== undefined && existsSync(file)) {
      return yield* new InvalidInput({
        field: "certificate",
        problem: `${excerpt(file)} is there already`,
        remedy: "Give a new file's name"
      })
    }
    const directory = yield* Settings.archiveDirectory
    const progress = (yield* Session.isWatched) ? Progress.makeNotes(process.stderr) : undefined
    const certificate = yield* Effect.provide(
      Effect.flatMap(Eraser, (eraser) =>
        eraser.erase(input.id, {
          pseudonymise: input.pseudonymise,
          directories: [directory],
          onStep: (step) => Effect.sync(() => progress?.show(step))
        })
      ),
      Layer.provide(Eraser.layer, Layer.merge(Session.layerArchives, Session.layerSpool))
    ).pipe(Effect.ensuring(Effect.sync(() => progress?.clear())))
    const text = Json.render(certificate)
    if (file === undefined) yield* Console.log(text)
    else {
      yield* Effect.tryPromise({
        try: () => writeNew(file, `${text}\n`),
        catch: (cause) =>
          new InvalidInput({
            field: "certificate",
            problem: `it could not be written: ${cause instanceof Error ? cause.message : String(cause)}`,
            remedy: "The customer is erased; run it again to get the certificate"
          })
      })
      yield* Session.confirm(`the certificate is in ${printable(file)}`)
    }
    if (certificate.left.length > 0) {
      return yield* new Findings({
        summary: `something could not be reached: ${certificate.left.join("; ")}. Run it again after that`
      })
    }
  })
).pipe(
  Command.withDescription(
    "Erase a customer: usage, in the table, archives and spool, rollups, keys, alerts, quotas, prices, dead letters; with a certificate that does not say who it was. Run again, it finishes what was interrupted. Exit code 3 if something could not be reached"
  ),
  Command.withExamples([
    { command: "usage customer erase acme --confirm acme --certificate erased.json", description: "All of it" },
    { command: "usage customer erase acme --confirm acme --pseudonymise", description: "Totals stay" }
  ])
)

export const customer = Command.make("customer").pipe(
  Command.withDescription("Who is billed"),
  Command.withSubcommands([add, list, show, current, erase])
)
