/** `usage batch add` */
import { Command } from "effect/cli"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { InvalidInput } from "../../../domain/InvalidInput.ts"
import { Spool } from "../../../spool/Spool.ts"
import * as Flags from "../../shared/Flags.ts"
import * as Offline from "../../shared/Offline.ts"
import * as Session from "../../shared/Session.ts"
import * as Whose from "../../shared/Whose.ts"
import { addFromStdin } from "./FromStdin.ts"

export const add = Command.make(
  "add",
  {
    customer: Whose.customer,
    at: Flags.at,
    key: Flags.key,
    id: Flags.required("customer", "Whose usage; empty: --customer or USAGE_CUSTOMER_ID. - reads NDJSON from stdin"),
    service: Flags.argument("service", "The service's name"),
    quantity: Flags.argument("quantity", "In the service's billing unit"),
    metadata: Flags.argument("metadata-json", "A JSON object")
  },
  Effect.fnUntraced(function* ({ at, customer, id, key, metadata, quantity, service }) {
    if (id === "-" && service === undefined) {
      return yield* Effect.provide(addFromStdin(customer ?? (yield* Whose.current)), Session.layerSpool)
    }
    if (service === undefined || quantity === undefined) {
      return yield* new InvalidInput({
        field: service === undefined ? "service" : "quantity",
        problem: "is missing",
        remedy: "Give <customer> <service> <quantity> [metadata-json], or - to read NDJSON from stdin"
      })
    }
    const whose = id === "" ? yield* Whose.need(customer) : id
    const usage = { customer: whose, service, quantity, recordedAt: at, idempotencyKey: key, metadata }
    // Looked at before the spool is made for it.
    const line = yield* Effect.fromResult(Offline.asLine(usage, yield* Clock.currentTimeMillis))
    yield* Effect.provide(
      Effect.flatMap(Spool, (spool) => spool.drop(line)),
      Session.layerSpool
    )
  })
).pipe(
  Command.withDescription("Put usage into the spool. It is on the disk when this returns; no database is opened"),
  Command.withExamples([
    { command: 'usage batch add acme api 1 \'{"endpoint":"/users"}\'', description: "One record" },
    { command: "generate-usage | usage batch add -", description: "Any number, one JSON object a line" }
  ])
)
