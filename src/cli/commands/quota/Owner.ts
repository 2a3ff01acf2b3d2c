/** Whose quota it is: a plan's, or a customer's. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { InvalidInput } from "../../../domain/InvalidInput.ts"
import * as Flags from "../../shared/Flags.ts"
import * as Whose from "../../shared/Whose.ts"

export const flags = {
  customer: Whose.customer,
  plan: Flags.text("plan", "name", "The plan whose quota it is")
}

interface Named {
  readonly plan?: string | undefined
  readonly customer?: string | undefined
}

/** The plan of the flag, or the customer of the flag or the environment. */
export class Owner extends Context.Service<Owner, Named>()("effect-usage/cli/Owner") {
  static readonly read = Effect.fnUntraced(function* ({ customer, plan }: Named) {
    if (plan === undefined) return { customer: yield* Whose.need(customer) }
    if (customer === undefined) return { plan }
    return yield* new InvalidInput({
      field: "plan",
      problem: "--plan and --customer exclude each other",
      remedy: "Give one of them"
    })
  })
}

/** Provides it from the flags. */
export const fromFlags = Flags.reading(Owner, Owner.read)
