/** The flags that several commands share, each defined once. */
import { Flag, GlobalFlag } from "effect/cli"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Formats from "./render/Formats.ts"
import { excerpt, InvalidInput } from "../domain/InvalidInput.ts"

/** `--database-url`: also `USAGE_DATABASE_URL`. */
export const DatabaseUrl = GlobalFlag.Setting("database-url")({
  flag: Flag.Redacted("database-url").pipe(
    Flag.withDescription(
      "PostgreSQL server, postgresql://user:password@host/database (or USAGE_DATABASE_URL); without it the embedded database is used"
    ),
    Flag.withMetavar("<url>"),
    Flag.optional
  )
})

/** `--schema`: also `USAGE_SCHEMA`. */
export const SchemaName = GlobalFlag.Setting("schema")({
  flag: Flag.String("schema").pipe(
    Flag.withDescription("PostgreSQL schema of the tables (or USAGE_SCHEMA), public"),
    Flag.withMetavar("<name>"),
    Flag.optional
  )
})

/** `--quiet`. */
export const Quiet = GlobalFlag.Setting("quiet")({
  flag: Flag.Boolean("quiet").pipe(
    Flag.withAlias("q"),
    Flag.withDescription("Say nothing on stderr but failures"),
    Flag.withDefault(false)
  )
})

export const globals = [DatabaseUrl, SchemaName, Quiet] as const

/** `--customer`: also `USAGE_CUSTOMER_ID`. */
export const customer = Flag.String("customer").pipe(
  Flag.withAlias("c"),
  Flag.withDescription("Whose usage (or USAGE_CUSTOMER_ID)"),
  Flag.withMetavar("<id>"),
  Flag.optional
)

export const allCustomers = Flag.Boolean("all-customers").pipe(
  Flag.withDescription("The usage of all customers together"),
  Flag.withDefault(false)
)

export const service = Flag.String("service").pipe(
  Flag.withAlias("s"),
  Flag.withDescription("Only this service"),
  Flag.withMetavar("<name>"),
  Flag.optional
)

export const from = Flag.String("from").pipe(
  Flag.withDescription('Start: 2026-01, 2026-01-15, "2026-01-15 08:00", today, yesterday, this-month, last-month'),
  Flag.withMetavar("<time>"),
  Flag.optional
)

export const to = Flag.String("to").pipe(
  Flag.withDescription("End, with the whole unit that it states: 2026-01-31 ends with that day"),
  Flag.withMetavar("<time>"),
  Flag.optional
)

export const tz = Flag.String("tz").pipe(
  Flag.withDescription("IANA time zone of times and days, UTC"),
  Flag.withMetavar("<zone>"),
  Flag.optional
)

export const includeArchives = Flag.Boolean("include-archives").pipe(
  Flag.withDescription("With the records that are in archives, which are verified as they are read"),
  Flag.withDefault(false)
)

export const at = Flag.String("at").pipe(
  Flag.withDescription("When it was used, such as 2026-01-30T16:45:23Z; now, if absent"),
  Flag.withMetavar("<time>"),
  Flag.optional
)

export const key = Flag.String("key").pipe(
  Flag.withDescription("An idempotency key: recorded again under the same key, usage counts once"),
  Flag.withMetavar("<text>"),
  Flag.optional
)

export const format = Flag.Literals("format", Formats.names).pipe(
  Flag.withAlias("f"),
  Flag.withDescription("table for readers, json or csv for programs"),
  Flag.withDefault("table")
)

export const exact = Flag.Boolean("exact").pipe(
  Flag.withDescription("Every digit in the table, instead of rounded figures"),
  Flag.withDefault(false)
)

/** A text that is not there. */
export const absent: Option.Option<string> = Option.none()

/** One of some words, or the default for none and for empty text. */
export const readLiteral = <K extends string, A extends string>(
  field: string,
  written: Option.Option<string>,
  words: Readonly<Record<K, A>>,
  otherwise: NoInfer<A>
): Result.Result<A, InvalidInput> => {
  const text = given(written)
  if (text === undefined) return Result.succeed(otherwise)
  const found = Object.entries<A>(words).find(([word]) => word === text)
  if (found !== undefined) return Result.succeed(found[1])
  return Result.fail(
    new InvalidInput({
      field,
      problem: `${excerpt(text)} is not known`,
      remedy: `Give one of ${Object.keys(words).join(", ")}`
    })
  )
}

/** An absent value and an empty one mean the same, so that scripts can pass on variables that are not set. */
export const given = (value: Option.Option<string>): string | undefined =>
  Option.isSome(value) && value.value !== "" ? value.value : undefined
