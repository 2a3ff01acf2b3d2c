/** Markup that text from outside cannot break out of: whatever is put into a template is escaped unless it is markup. */

export class Markup {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

export type Part = string | Markup | false | undefined | ReadonlyArray<Part>

const entities: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" }

const escape = (text: string): string => text.replace(/[&<>"']/g, (character) => entities[character]!)

const render = (part: Part): string => {
  if (part instanceof Markup) return part.text
  if (typeof part === "string") return escape(part)
  return part === undefined || part === false ? "" : part.map(render).join("")
}

/** A template for text between tags and for attributes in double quotes; not for scripts and styles. */
export const markup = (strings: TemplateStringsArray, ...parts: ReadonlyArray<Part>): Markup =>
  new Markup(strings.reduce((text, string, index) => text + render(parts[index - 1]) + string))

/** JSON that neither ends the script element around it nor begins a comment in it, and that old parsers can read. */
export const json = (value: unknown): string =>
  JSON.stringify(value).replace(
    /[<>&\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`
  )
