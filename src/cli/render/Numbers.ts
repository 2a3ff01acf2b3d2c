/** Numbers in the terminal. Figures of usage and cost read the same wherever they are shown. */
export { exactMoney, humanQuantity, money, tableCost, tableMean, tableQuantity } from "../../report/Figures.ts"

/** Bytes for progress lines: `3.4 MB`. Not for figures that are billed. */
export const humanBytes = (bytes: number): string => {
  const units = ["B", "kB", "MB", "GB", "TB"]
  let value = bytes
  let unit = 0
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000
    unit++
  }
  return `${unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]!}`
}
