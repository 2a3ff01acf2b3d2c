/** `usage customer current` */
import { Command } from "effect/cli"
import * as Console from "effect/Console"
import * as Whose from "../../shared/Whose.ts"

export const current = Command.make("current", { customer: Whose.one }, ({ customer }) => Console.log(customer)).pipe(
  Command.withDescription("The customer that commands are about when they name none: USAGE_CUSTOMER_ID")
)
