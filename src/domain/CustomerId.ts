/** Who is billed. An id is the application's own: any text of up to 255 characters without control characters. */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Context from "effect/Context"
import type { InvalidInput } from "./InvalidInput.ts"
import { parseIdentifier } from "./Text.ts"

/** @since 0.1.0 */
export type CustomerId = typeof CustomerId.Type
/** @since 0.1.0 */
export const CustomerId = Schema.String.check(
  Schema.makeFilter((id) =>
    Result.match(parseIdentifier("customer", id, 255), {
      onSuccess: () => true,
      onFailure: (error) => error.message
    })
  )
).pipe(Schema.brand("effect-usage/CustomerId"))

/** Checks a customer's id. Fails with `InvalidInput` on the field `customer`. */
export const parse = (input: unknown): Result.Result<CustomerId, InvalidInput> =>
  parseIdentifier("customer", input, 255) as Result.Result<CustomerId, InvalidInput>

/**
 * The customer of the request that is being served, provided by the application's authentication. The accessors of
 * `Recorder` require it, so a program that forgets to say whom it meters does not compile.
 *
 * @since 0.1.0
 */
export class CurrentCustomer extends Context.Service<CurrentCustomer, CustomerId>()("effect-usage/CurrentCustomer") {}
