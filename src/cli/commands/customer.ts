/** `usage customer …`: who is billed. */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import { Argument, Command, Flag } from "effect/cli"
import type { Customer } from "../../Catalog.ts"
import * as Instant from "../../domain/Instant.ts"
import { InvalidInput } from "../../domain/InvalidInput.ts"
import * as Flags from "../flags.ts"
import { printTable } from "../output.ts"
import * as Json from "../render/json.ts"
import * as Session from "../Session.ts"

const asJson = (customer: Customer) => ({
  customer_id: customer.id,
  name: customer.name ?? null,
  created_at: Instant.toIso(customer.createdAt)
})

const print = Effect.fnUntraced(function* (format: Flags.Format, customers: ReadonlyArray<Customer>) {
  if (format === "json") {
    return yield* Console.log(Json.render({ schema: 1, customers: customers.map(asJson) }))
  }
  yield* printTable(format, {
    columns: ["customer_id", "name", "created_at"],
    rows: customers.map((customer) => [customer.id, customer.name ?? "", Instant.toIso(customer.createdAt)])
  })
})

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
    yield* print(format, yield* Session.withCatalog((catalog) => catalog.customers))
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
        problem: `there is no customer ${JSON.stringify(input.id)}`,
        remedy: "See `usage customer list`; ids keep their case"
      })
    }
    yield* print(input.format, found)
  })
).pipe(Command.withDescription("One customer"))

const current = Command.make(
  "current",
  { customer: Flags.customer },
  Effect.fnUntraced(function* (input) {
    yield* Console.log(yield* Session.requireCustomer(input.customer))
  })
).pipe(Command.withDescription("The customer that commands are about when they name none: USAGE_CUSTOMER_ID"))

export const customer = Command.make("customer").pipe(
  Command.withDescription("Who is billed"),
  Command.withSubcommands([add, list, show, current])
)
