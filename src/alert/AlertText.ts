/** An alert in the words of a channel. The customer's id is the only text in it that somebody else may have chosen. */
import * as Domain from "../domain/Alert.ts"
import type { Delivery } from "./AlertChannels.ts"

/**
 * Whether a line names its customer: always, never, or for all customers except one.
 *
 * @since 0.1.0
 */
export type ShowCustomer = boolean | { readonly except: string }

/** Whether an alert's line names its customer. */
export const isShown = ({ customer }: Pick<Domain.Alert, "customer">, show: ShowCustomer = true): boolean =>
  typeof show === "boolean" ? show : customer !== show.except

/** `text`, followed by the customer if shown: `WARNING: api usage at 78% - 78000/100000 [acme]`. */
export const withCustomer = (text: string, alert: Domain.Alert, show: ShowCustomer | undefined): string =>
  isShown(alert, show) ? Domain.withCustomer(text, alert) : text

/** A delivery as a line of JSON. */
export const jsonOf = ({ alert, id }: Delivery): string => JSON.stringify({ delivery_id: id, ...Domain.toJson(alert) })

/**
 * `text` for a chat that reads markup, followed by the customer in a code span, where mentions, links and emphasis have no
 * effect.
 */
export const inChat = (text: string, alert: Domain.Alert, show: ShowCustomer | undefined): string =>
  isShown(alert, show) ? `${text} [\`${Domain.customerText(alert).replaceAll("`", "\u02cb")}\`]` : text
