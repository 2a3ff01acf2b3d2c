/** Text that a spreadsheet would take for a formula gets an apostrophe before it, which makes it text. */

const formula = /^[=+\-@\t\r＝＋－＠]/

export const formulaGuard = (text: string): string => (formula.test(text) ? `'${text}` : text)
