/**
 * The language of the stores: a statement carries its values and its tables, and runs wherever there is a connection.
 *
 *     const Price = Schema.Struct({ service: Column.Service, from: Column.Instant, unitCost: Column.Decimal })
 *
 *     const { caller, own } = Sql.make(yield* Database)
 *     const prices = (filter: Filter, now: Instant) =>
 *       caller.all(Price, sql`select service_name as service, ${micros("effective_from")} as "from", unit_cost::text as "unitCost"
 *         from ${t.prices} p where effective_from <= ${at(now)} ${narrow("p", filter)} order by effective_from`)
 *     const put = ({ from, service, unitCost }: typeof Price.Type) =>
 *       caller.run(sql`insert into ${t.prices} ${row({ service_name: service, effective_from: at(from), unit_cost: unitCost })}`)
 *
 * - A value is sent as text, and `undefined` as null; the server infers its type, or the statement casts it once:
 *   `${limit}::integer`. So it is the same to both drivers and engines. An instant is `at(…)`, an array of texts `texts(…)`.
 *   A part of a statement is a fragment, and takes its values along; a condition that does not apply is left out.
 * - `t.prices` is `billing_prices`, qualified and quoted by who runs the statement. `literal` is for names of columns.
 * - A row is described once: select its columns under the names of the schema's fields, then the decoded row is the value. What
 *   is neither text nor boolean nor a small integer is selected as text, `::text` or `micros(…)`, and read by a `Column`: the
 *   connections give other types differently, and a session's settings would change their text.
 * - `own` is the package's connections: a statement has a time limit, and runs again where the server could not serialize it.
 *   `caller` is the application's client: its statements are part of the transaction that is open there. `on({ name, query })` runs
 *   them in a transaction of COPY or on a snapshot. All fail with `DatabaseError` only.
 * - Statements are planned for their values; `Database` says why. Only what stores records is prepared.
 *
 * A store uses this and nothing else of the database's to run a statement. `CatalogStore` and `QuotaStore` are examples.
 */
import type { PgClient } from "@effect/sql-pg/PgClient"
import * as BigDecimal from "effect/BigDecimal"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Statement from "effect/sql/Statement"
import * as Decimals from "../domain/Decimal.ts"
import type * as Instants from "../domain/Instant.ts"
import * as Months from "../domain/Month.ts"
import type { Filter } from "../domain/Filter.ts"
import { arrayText } from "./ArrayText.ts"
import type { Reading } from "./Reading.ts"
import { timestamp } from "./Timestamp.ts"
import { atomically, type Database, retrySerialization, type Row } from "./Database.ts"
import { type DatabaseError, fromUnknown, mapSqlError } from "./DatabaseError.ts"

export type Fragment = Statement.Fragment

/** What may stand in a statement. */
export type Value = string | number | bigint | boolean | Decimals.Decimal | undefined | Fragment

/** A statement, or a part of one. */
export const sql = (texts: TemplateStringsArray, ...values: ReadonlyArray<Value>): Fragment =>
  Statement.fragment(
    texts.flatMap((text, index) => [Statement.literal(text), ...(index in values ? segments(values[index]) : [])])
  )

const segments = (value: Value): ReadonlyArray<Statement.Segment> => {
  if (Statement.isFragment(value)) return value.segments
  if (value === undefined) return [Statement.parameter(null)]
  return [Statement.parameter(BigDecimal.isBigDecimal(value) ? Decimals.toText(value) : `${value}`)]
}

/** SQL text: names of columns, never a value. */
export const literal = (text: string): Fragment => Statement.fragment([Statement.literal(text)])
export const nothing = literal("")

/** Values or fragments with something between them. */
export const join = (between: string, values: ReadonlyArray<Value>): Fragment =>
  Statement.join(between, false)(values.map((value) => sql`${value}`))

/** `(columns) values (values)` of a row. */
export const row = (values: Readonly<Record<string, Value>>): Fragment =>
  sql`(${literal(Object.keys(values).join(", "))}) values (${join(", ", Object.values(values))})`

/** What follows `do update set`: the columns become what was to be inserted. */
export const replaced = (columns: ReadonlyArray<string>): Fragment =>
  literal(columns.map((column) => `${column} = excluded.${column}`).join(", "))

export const texts = (values: Iterable<string>): Fragment => sql`${arrayText([...values])}::text[]`
export const at = (instant: Instants.Instant | undefined): Fragment =>
  sql`${instant === undefined ? undefined : timestamp(instant)}::timestamptz`

/** A month in a column of type `date`. */
export const date = (month: Months.Month): Fragment => sql`${Months.firstDay(month)}::date`

export const instants = (values: ReadonlyArray<Instants.Instant>): Fragment =>
  sql`${arrayText(values.map(timestamp))}::timestamptz[]`

/** Whether a column is in a span of time. */
export const during = (column: string, span: { readonly start: Instants.Instant; readonly end: Instants.Instant }) =>
  sql`${literal(column)} >= ${at(span.start)} and ${literal(column)} < ${at(span.end)}`

/** Further conditions, on the rows of a table: whose they are, and of which service. */
export const narrow = (alias: string, { customer, service }: Partial<Filter>): Fragment => {
  const is = (column: string, value: string | undefined) =>
    value === undefined ? nothing : sql` and ${literal(`${alias}.${column}`)} = ${value}`
  return sql`${is("customer_id", customer)}${is("service_name", service)}`
}

// Tables by area, and the function that divides amounts.
// oxfmt-ignore
const names = [
  "catalog", "customers", "prices", "services", "quantity",
  "plans", "quotas", "subscriptions",
  "usage_batches", "usage_batch_ids", "usage_keys", "usage_records", "import_chunks", "dead_letters",
  "usage_quarters", "usage_days", "usage_months", "usage_sketches", "usage_month_sketches",
  "alerts", "alert_deliveries", "alert_states",
  "archives", "archive_files", "archive_totals", "archive_version", "removed_totals",
  "checks", "database", "erasures", "maintenance", "retention"
] as const

interface Named extends Statement.Custom<"Named", string> {}
const named = Statement.custom<Named>("Named")

/** A table by its name without `billing_`. */
export const table = (name: string): Fragment => Statement.fragment([named(name, undefined, undefined)])
export const t = Object.fromEntries(names.map((name) => [name, table(name)])) as {
  readonly [Name in (typeof names)[number]]: Fragment
}

/** Waits for a lock by its name, and holds it until the transaction ends. */
export const lock = (name: string): Fragment => sql`select pg_advisory_xact_lock(hashtextextended(${name}, 0))`

/** Microseconds since 1970 of a time, to be read as `Instant`. */
export const micros = (time: string): Fragment => literal(`(extract(epoch from ${time}) * 1000000)::bigint::text`)

type Answer<A> = Effect.Effect<A, DatabaseError>

/**
 * Runs statements. `all`, `one` and `maybe` decode their rows; `one` fails where there is none.
 *
 * - `run`: gives how many rows were returned
 * - `compile`: the text, with `$1` and on for the values: for what takes only those
 */
export interface Sql {
  readonly all: <S extends RowSchema>(row: S, statement: Fragment) => Answer<ReadonlyArray<S["Type"]>>
  readonly one: <S extends RowSchema>(row: S, statement: Fragment) => Answer<S["Type"]>
  readonly maybe: <S extends RowSchema>(row: S, statement: Fragment) => Answer<S["Type"] | undefined>
  readonly run: (statement: Fragment) => Answer<number>
  readonly compile: (statement: Fragment) => { readonly text: string; readonly params: ReadonlyArray<string | null> }
}

type RowSchema = Schema.Top & { readonly DecodingServices: never }

/** Statements of an open transaction, or of a snapshot. */
export const on = ({ name, query }: Reading): Sql => {
  const compiler = Statement.makeCompiler<Named>({
    dialect: "pg",
    placeholder: (place) => `$${place}`,
    onIdentifier: Statement.defaultEscape('"'),
    onCustom: ({ paramA: table }) => [name(`billing_${table}`), []],
    // No statement here has a record of an update.
    onRecordUpdate: () => ["", []]
  })
  const compile: Sql["compile"] = (statement) => {
    const [text, params] = compiler.compile(statement, true)
    // `segments` makes no others.
    return { text, params: params as ReadonlyArray<string | null> }
  }
  const rows = (statement: Fragment) => {
    const { params, text } = compile(statement)
    return query(text, params)
  }
  const all: Sql["all"] = (row, statement) =>
    rows(statement).pipe(Effect.flatMap(Schema.decodeUnknownEffect(Schema.Array(row))), Effect.mapError(sorted))
  const maybe: Sql["maybe"] = (row, statement) => Effect.map(all(row, statement), ([first]) => first)
  return {
    all,
    maybe,
    one: (row, statement) =>
      Effect.filterOrFail(
        maybe(row, statement),
        (found) => found !== undefined,
        () => noRow
      ),
    run: (statement) => Effect.map(rows(statement), ({ length }) => length),
    compile
  }
}

const sorted = (error: unknown) => fromUnknown(error)
const noRow = fromUnknown(new Error("a statement that gives a row gave none"))

/** Statements on a client: each alone, or those of a transaction. */
export interface Client extends Sql {
  /** Runs statements as one, READ COMMITTED; behind a savepoint where a transaction is open. */
  readonly transaction: <A, E>(body: Effect.Effect<A, E>) => Effect.Effect<A, E | DatabaseError>
  /** Whether the calling fiber has a transaction open on it. */
  readonly isOpen: Effect.Effect<boolean>
}

/** The two clients of a database. */
export const make = (database: Database["Service"]) => {
  const { bounded, name, own, sql } = database
  return {
    own: client(name, own, bounded, (body) => bounded(atomically(own, body))),
    caller: client(name, sql, retrySerialization, (body) => atomically(sql, body))
  }
}

/** A statement that is a transaction of its own is guarded. Of several not each: what guards them is around them all. */
const client = (
  name: Reading["name"],
  pg: PgClient,
  guard: (statement: Answer<ReadonlyArray<Row>>) => Answer<ReadonlyArray<Row>>,
  transaction: Client["transaction"]
): Client => {
  const isOpen = Effect.map(Effect.serviceOption(pg.transactionService), Option.isSome)
  const query: Reading["query"] = (text, params) => {
    const statement = mapSqlError(pg.unsafe<Row>(text, params).unprepared)
    return Effect.flatMap(isOpen, (open) => (open ? statement : guard(statement)))
  }
  return { ...on({ name, query }), transaction, isOpen }
}
