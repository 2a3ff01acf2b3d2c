/**
 * The content of an export's files. It is read for one file, or for a thousand customers in one query, one customer's rows after
 * the other's.
 */
import * as Effect from "effect/Effect"
import type { Pull } from "../database/Database.ts"
import type { Cells } from "../files/Column.ts"
import type { DatabaseError } from "../database/DatabaseError.ts"
import type { CustomerId } from "../domain/CustomerId.ts"
import type { Window } from "../domain/Window.ts"
import type { Filter } from "../domain/Filter.ts"
import type { CustomerTotal, ExportReader, ServiceTotal } from "./ExportStore.ts"
import * as Columns from "./Columns.ts"
import type { ExportFormat } from "./FileName.ts"
import type { Compression } from "../files/Sink.ts"
import type { Of } from "./Table.ts"

/** A query whose parts are valid and go together. */
export interface CheckedQuery {
  readonly window: Window
  readonly filter: Filter
  readonly format: ExportFormat
  readonly compression: Compression | undefined
  readonly of: Of
  readonly withIds: boolean
  readonly includeArchives: boolean
  /** A first column says whose a row is. */
  readonly byCustomer: boolean
}

/** A file's totals and its rows, as cells or as CSV that the server wrote. */
export interface Content {
  readonly totals: ReadonlyArray<ServiceTotal>
  readonly rows:
    | { readonly cells: Pull<ReadonlyArray<Cells>> }
    | { readonly csv: Pull<{ readonly data: Uint8Array; readonly rows: number }> }
}

export const forCustomer = (query: CheckedQuery, customer: CustomerId): CheckedQuery => ({
  ...query,
  filter: { ...query.filter, customer }
})

export const contentOf = Effect.fnUntraced(function* (
  reader: ExportReader,
  query: CheckedQuery
): Effect.fn.Return<Content, DatabaseError> {
  const { filter, of, window } = query
  const totals = yield* reader.totals(window, filter)
  if (query.format === "csv" && of === "records" && reader.csv !== undefined) {
    return { totals, rows: { csv: yield* reader.csv(window, filter, Columns.ofRecords(query)) } }
  }
  const cells = yield* of === "records"
    ? reader.records(window, filter, Columns.ofRecords(query))
    : reader.spans(window, filter, Columns.units[of], Columns.ofSpans(query))
  return { totals, rows: { cells } }
})

/** A customer with more records is read alone. */
const eventsAlone = 20_000n
/** Customers that are read together: one query for all of them instead of one each. */
const customersAtOnce = 1_000

/** Customers in order, in groups that are read together; those with many records are alone. */
export const groupsOf = (customers: ReadonlyArray<CustomerTotal>): ReadonlyArray<ReadonlyArray<CustomerId>> => {
  const groups: Array<Array<CustomerId>> = []
  let open: Array<CustomerId> | undefined
  for (const { customer, events } of customers) {
    if (events > eventsAlone) {
      groups.push([customer])
      open = undefined
    } else if (open === undefined || open.length === customersAtOnce) groups.push((open = [customer]))
    else open.push(customer)
  }
  return groups
}

/** Reads the rows of a group of customers, and passes each customer's to `write` in turn. */
export const eachOf = Effect.fnUntraced(function* <A, E>(
  reader: ExportReader,
  query: CheckedQuery,
  group: ReadonlyArray<CustomerId>,
  write: (customer: CustomerId, content: Content) => Effect.Effect<A, E>
) {
  const { filter, of, window } = query
  const [alone] = group
  if (group.length === 1) return [yield* write(alone!, yield* contentOf(reader, forCustomer(query, alone!)))]
  const totals = yield* reader.totalsOfEach(window, filter.service, group)
  const own = forCustomer(query, alone!)
  /** With the customer of each row: in the last column, if it is not to be written. */
  const withWhose = <C extends string>(columns: ReadonlyArray<C>) =>
    columns.includes("customer_id" as C) ? columns : [...columns, "customer_id" as C]
  const written = of === "records" ? Columns.ofRecords(own) : Columns.ofSpans(own)
  const read = withWhose<string>(written)
  const whose = read.indexOf("customer_id")
  const next = yield* of === "records"
    ? reader.recordsOfEach(window, filter.service, group, withWhose(Columns.ofRecords(own)))
    : reader.spansOfEach(window, filter.service, group, Columns.units[of], withWhose(Columns.ofSpans(own)))
  let page: ReadonlyArray<Cells> | undefined = []
  let at = 0
  const cellsOf = (customer: CustomerId): Pull<ReadonlyArray<Cells>> =>
    Effect.gen(function* () {
      while (page !== undefined && at === page.length) {
        page = yield* next
        at = 0
      }
      if (page === undefined) return undefined
      const start = at
      while (at < page.length && page[at]![whose] === customer) at++
      if (at === start) return undefined
      const rows = page.slice(start, at)
      return read.length === written.length ? rows : rows.map((row) => row.slice(0, -1))
    })
  const done: Array<A> = []
  for (const customer of group) {
    done.push(yield* write(customer, { totals: totals.get(customer) ?? [], rows: { cells: cellsOf(customer) } }))
  }
  // The customers come from the same snapshot, so no row is left over.
  if (page !== undefined) return yield* Effect.die(new Error("there are rows of a customer who was not counted"))
  return done
})
