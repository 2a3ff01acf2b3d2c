/**
 * Flags and arguments. They arrive decoded: an absent value and an empty one are both `undefined`, so that scripts can pass on
 * variables that are not set, and a wrong one is refused before the command has opened anything.
 */
import { Argument, CliError, Command, Flag, GlobalFlag, Param } from "effect/cli"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { excerpt, InvalidInput } from "../../domain/InvalidInput.ts"
import * as Formats from "../render/Formats.ts"

/** What the command refuses in its own words, rather than in those of its parser. */
export const refused = (cause: unknown): CliError.UserError => new CliError.UserError({ cause })

/** Decodes the value of a flag or an argument. */
export const read =
  <A, B, E>(decode: (value: A) => Effect.Effect<B, E>) =>
  <Kind extends Param.ParamKind>(self: Param.Param<Kind, A>): Param.Param<Kind, B> =>
    Param.mapEffect(self, (value) => Effect.mapError(decode(value), refused))

/** Refuses flags and arguments that do not go together. */
export const check = <Input>(refuse: (input: Input) => InvalidInput | undefined) =>
  Command.validate((input: Input) => {
    const refusal = refuse(input)
    return refusal === undefined ? Effect.void : Effect.fail(refused(refusal))
  })

/**
 * Reads what several flags mean together, before what is provided above it is opened, for the handler to take as a service.
 */
export const reading =
  <Needed, I, S, E2, R2>(key: Context.Key<I, S>, read: (input: Needed) => Effect.Effect<S, E2, R2>) =>
  <const Name extends string, Input extends Needed, Shared, E, R>(self: Command.Command<Name, Input, Shared, E, R>) =>
    Command.provideEffect(self, key, read)

const given = <Kind extends Param.ParamKind>(self: Param.Param<Kind, string>): Param.Param<Kind, string | undefined> =>
  Param.map(Param.optional(self), (value) => Option.getOrUndefined(Option.filter(value, (text) => text !== "")))

/** A flag with a text; `metavar` says in the help what it is: `id` for `<id>`. */
export const text = (name: string, metavar: string, description: string) =>
  given(Flag.String(name).pipe(Flag.withDescription(description), Flag.withMetavar(`<${metavar}>`)))

/** A flag that is there or not. */
export const on = (name: string, description: string) =>
  Flag.Boolean(name).pipe(Flag.withDescription(description), Flag.withDefault(false))

/** An argument that may be left out. */
export const argument = (name: string, description: string) =>
  given(Argument.String(name).pipe(Argument.withDescription(description)))

/** An argument that has to be there. */
export const required = (name: string, description: string) =>
  Argument.String(name).pipe(Argument.withDescription(description))

/** A whole number above zero, such as `example`. */
const asCount = (field: string, example: number) =>
  read((written: string | undefined) => {
    if (written === undefined) return Effect.undefined
    if (/^[1-9]\d{0,6}$/.test(written)) return Effect.succeed(Number(written))
    return Effect.fail(
      new InvalidInput({
        field,
        problem: `${excerpt(written)} is not a whole number above zero`,
        remedy: `Give a number such as ${example}`
      })
    )
  })

export const count = (name: string, metavar: string, description: string, example: number) =>
  text(name, metavar, description).pipe(asCount(name, example))

/** What it is where it is not given. */
export const or =
  <const B>(otherwise: B) =>
  <Kind extends Param.ParamKind, A>(self: Param.Param<Kind, A>): Param.Param<Kind, NonNullable<A> | B> =>
    Param.map(self, (value) => value ?? otherwise)

/** A number that may be left out, and whether it was. */
export const optionalCount = (name: string, description: string, otherwise: number) =>
  argument(name, `${description}; default ${otherwise}`).pipe(asCount(name, otherwise))

export const countArgument = (name: string, description: string, otherwise: number) =>
  optionalCount(name, description, otherwise).pipe(or(otherwise))

const asWord = <A extends string>(field: string, words: Readonly<Record<string, A>>) =>
  read((written: string | undefined) => {
    if (written === undefined) return Effect.undefined
    const found = Object.entries<A>(words).find(([word]) => word === written)
    if (found !== undefined) return Effect.succeed(found[1])
    return Effect.fail(
      new InvalidInput({
        field,
        problem: `${excerpt(written)} is not known`,
        remedy: `Give one of ${Object.keys(words).join(", ")}`
      })
    )
  })

/** One of some words, and what each of them means. */
export const word = <A extends string>(
  name: string,
  metavar: string,
  description: string,
  words: Readonly<Record<string, A>>
) => text(name, metavar, description).pipe(asWord(name, words))

export const wordArgument = <A extends string>(name: string, description: string, words: Readonly<Record<string, A>>) =>
  argument(name, description).pipe(asWord(name, words))

/** Words that mean themselves. */
export const themselves = <const A extends string>(words: ReadonlyArray<A>) =>
  Object.fromEntries(words.map((one) => [one, one])) as { readonly [K in A]: K }

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
  flag: text("schema", "name", "PostgreSQL schema of the tables (or USAGE_SCHEMA); default public")
})

/** `--quiet`. */
export const Quiet = GlobalFlag.Setting("quiet")({
  flag: on("quiet", "Say nothing on stderr but failures").pipe(Param.withAlias("q"))
})

export const globals = [DatabaseUrl, SchemaName, Quiet] as const

export const service = text("service", "name", "Only this service").pipe(Param.withAlias("s"))
export const plan = required("plan", "The plan's name: pro, team-2")

/** A service, or `undefined` for all of them. */
export const anyService = argument("service", "The service's name; default `all` that were used").pipe(
  Param.map((name) => (name === "all" ? undefined : name))
)

export const includeArchives = on("include-archives", "Include archived records, which are verified as they are read")
export const at = text("at", "time", "When it was used, such as 2026-01-30T16:45:23Z; default now")
export const key = text("key", "text", "An idempotency key: usage recorded again under the same key counts once")
export const exact = on("exact", "Every digit in the table, instead of rounded figures")
export const format = Flag.Literals("format", Formats.names).pipe(
  Flag.withAlias("f"),
  Flag.withDescription("table for readers, json or csv for programs"),
  Flag.withDefault("table")
)
