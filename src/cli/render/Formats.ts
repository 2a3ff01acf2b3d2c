/** What `--format` may be, and what each of them makes of a document. Another format is a line here and a file of its own. */
import * as Json from "./Json.ts"
import { csv, psql, type Table } from "./Table.ts"

/** How a table is written. */
export interface Style {
  /** Every digit, instead of rounded figures. */
  readonly exact: boolean
  /** A person reads it. */
  readonly reader: boolean
}

/** What a command has to say, before it is known in which format. */
export interface Document {
  readonly data: () => object
  readonly table: (style: Style) => Table
}

export const names = ["table", "json", "csv"] as const
export type Format = (typeof names)[number]

/** What the flags say of the output. */
export interface Show {
  readonly format: Format
  readonly exact?: boolean
}

const writers: Record<Format, (document: Document, exact: boolean) => string> = {
  table: ({ table }, exact) => psql(table({ exact, reader: true })),
  json: ({ data }) => Json.render(data()),
  csv: ({ table }) => csv(table({ exact: true, reader: false }))
}

export const render = (document: Document, { exact = false, format }: Show): string => writers[format](document, exact)
