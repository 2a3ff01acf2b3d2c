/** Whose usage a command is about: of a customer, the one in `USAGE_CUSTOMER_ID` if none is named, or of all. */
import { Param } from "effect/cli"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { InvalidInput } from "../../domain/InvalidInput.ts"
import * as Settings from "../../system/Settings.ts"
import * as Flags from "./Flags.ts"

/** `--customer`, as it is written. */
export const customer = Flags.text("customer", "id", "Whose usage (or USAGE_CUSTOMER_ID)").pipe(Param.withAlias("c"))

/** The customer in `USAGE_CUSTOMER_ID`, if any. */
export const current = Effect.map(Settings.customerId, (id) =>
  Option.getOrUndefined(Option.filter(id, (text) => text !== ""))
)

const oneOrCurrent = (remedy: string) =>
  Effect.fnUntraced(function* (named: string | undefined) {
    const id = named ?? (yield* current)
    if (id !== undefined) return id
    return yield* new InvalidInput({ field: "customer", problem: "no customer is named", remedy })
  })

/** The customer that a command is about; fails with the flag and the variable if there is none. */
export const need = oneOrCurrent("Give --customer ID, or set USAGE_CUSTOMER_ID")

/** `--customer` of a command that is about one. */
export const one = customer.pipe(Flags.read(need))

/** The flags of a command that is about one customer or all of them. */
export const flags = {
  customer,
  allCustomers: Flags.on("all-customers", "The usage of all customers together")
}

const needAny = oneOrCurrent("Give --customer ID or --all-customers, or set USAGE_CUSTOMER_ID")

export interface Named {
  readonly customer: string | undefined
  readonly allCustomers: boolean
}

/** Whose usage those flags ask for: without a `customer`, that of all. */
export class Whose extends Context.Service<Whose, { readonly customer: string | undefined }>()(
  "effect-usage/cli/shared/Whose"
) {
  static readonly read = Effect.fnUntraced(function* ({ allCustomers, customer: named }: Named) {
    if (!allCustomers) return { customer: yield* needAny(named) }
    if (named === undefined) return { customer: undefined }
    return yield* new InvalidInput({
      field: "all-customers",
      problem: "--customer and --all-customers exclude each other",
      remedy: "Give one of them"
    })
  })
}

/** Provides it from the flags. */
export const fromFlags = Flags.reading(Whose, Whose.read)
