/** An alert in the words of a channel. Only the customer's id is text that somebody else may have chosen. */
import { type Alert, toJson } from "../domain/Alert.ts"
import type { Delivery } from "./AlertChannels.ts"

/** Ends of lines and changes of direction, which an id may contain and which would make a line read as another. */
const misleading = /[\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/g

/** The customer's id as it is shown to people. */
export const customerText = ({ customer }: Pick<Alert, "customer">): string => customer.replace(misleading, "\ufffd")

/** `text`, and whom it is about if that is to be shown: `WARNING: api usage at 78% - 78000/100000 [acme]`. */
export const withCustomer = (text: string, alert: Alert, showCustomer: boolean | undefined): string =>
  showCustomer === true ? `${text} [${customerText(alert)}]` : text

/** The delivery as a line of JSON. */
export const jsonOf = ({ alert, id }: Delivery): string => JSON.stringify({ delivery_id: id, ...toJson(alert) })

/**
 * `text` for a chat that reads markup, and whom it is about in a code span, in which neither mentions nor links nor emphasis
 * act.
 */
export const inChat = (text: string, alert: Alert, showCustomer: boolean | undefined): string =>
  showCustomer === false ? text : `${text} [\`${customerText(alert).replaceAll("`", "\u02cb")}\`]`
