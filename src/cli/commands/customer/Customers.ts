/** Customers in lists. */
import type { Customer } from "../../../catalog/Catalog.ts"
import * as Flags from "../../shared/Flags.ts"
import * as Listing from "../../render/Listing.ts"

export const id = Flags.required("id", "The customer's id, 1 to 255 characters")

export const listing = Listing.make<Customer>("customers", [
  Listing.column("customer_id", (customer) => customer.id),
  Listing.column("name", ({ name }) => name),
  Listing.time("created_at", ({ createdAt }) => createdAt)
])
