/** JSON for scripts: two spaces, and numbers with all their digits. */
import type { Decimal } from "../../domain/Decimal.ts"
import { toText } from "../../domain/Decimal.ts"

type Raw = object
declare global {
  interface JSON {
    rawJSON(text: string): Raw
  }
}

/** A decimal as a JSON number to the last digit, which a double would not hold. */
export const number = (value: Decimal | bigint): Raw =>
  JSON.rawJSON(typeof value === "bigint" ? `${value}` : toText(value))

export const render = (value: unknown): string => JSON.stringify(value, undefined, 2)

export const numberOrNull = (value: Decimal | undefined): Raw | null => (value === undefined ? null : number(value))
