/** Alerts as lines. */
import { printable } from "../../../domain/Shown.ts"
import * as Flags from "../../shared/Flags.ts"
import * as Whose from "../../shared/Whose.ts"

export const flags = { ...Whose.flags, service: Flags.service }

/** ` [acme]`, where several customers are spoken of. */
export const whose = ({ allCustomers }: { readonly allCustomers: boolean }, customer: string): string =>
  allCustomers ? ` [${printable(customer)}]` : ""
