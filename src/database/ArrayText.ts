/** Arrays in PostgreSQL's own text form: drivers spend more time on an element than the server does. */

const special = /["\\]/

const quoted = (text: string): string =>
  special.test(text) ? `"${text.replace(/["\\]/g, (character) => `\\${character}`)}"` : `"${text}"`

/** An array of texts. */
export const arrayText = (texts: ReadonlyArray<string>): string => `{${texts.map(quoted).join(",")}}`
