/** A checked filter: the customer and the service that a query is about. */
import * as Result from "effect/Result"
import * as CustomerId from "./CustomerId.ts"
import type { InvalidInput } from "./InvalidInput.ts"
import * as Service from "./Service.ts"

export interface Filter {
  readonly customer: CustomerId.CustomerId | undefined
  readonly service: Service.ServiceName | undefined
}

/** Fails with `InvalidInput` for a malformed customer id, and for a service that the catalog does not know. */
export const checkFilter = (
  query: { readonly customer?: string | undefined; readonly service?: string | undefined },
  services: ReadonlyMap<string, Service.Service>
): Result.Result<Filter, InvalidInput> =>
  Result.gen(function* () {
    const customer = query.customer === undefined ? undefined : yield* CustomerId.parse(query.customer)
    const service = query.service === undefined ? undefined : yield* Service.parseName(query.service)
    if (service !== undefined && !services.has(service))
      return yield* Result.fail(Service.unknown(service, services.keys()))
    return { customer, service }
  })
