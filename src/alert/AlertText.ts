/** An alert in the words of a channel. Only the customer's id is text that somebody else may have chosen. */
import * as Domain from "../domain/Alert.ts"
import type { Delivery } from "./AlertChannels.ts"

/**
 * Whether a line says whom it is about: always, never, or of all but the one whose lines they are.
 *
 * @since 0.1.0
 */
export type ShowCustomer = boolean | { readonly except: string }

/** Whether an alert's line is to name its customer; it is if nothing else is said. */
export const isShown = ({ customer }: Pick<Domain.Alert, "customer">, show: ShowCustomer = true): boolean =>
  typeof show === "boolean" ? show : customer !== show.except

/** `text`, and whom it is about if that is to be shown: `WARNING: api usage at 78% - 78000/100000 [acme]`. */
export const withCustomer = (text: string, alert: Domain.Alert, show: ShowCustomer | undefined): string =>
  isShown(alert, show) ? Domain.withCustomer(text, alert) : text

/** The delivery as a line of JSON. */
export const jsonOf = ({ alert, id }: Delivery): string => JSON.stringify({ delivery_id: id, ...Domain.toJson(alert) })

/**
 * `text` for a chat that reads markup, and whom it is about in a code span, in which neither mentions nor links nor emphasis
 * act.
 */
export const inChat = (text: string, alert: Domain.Alert, show: ShowCustomer | undefined): string =>
  isShown(alert, show) ? `${text} [\`${Domain.customerText(alert).replaceAll("`", "\u02cb")}\`]` : text
