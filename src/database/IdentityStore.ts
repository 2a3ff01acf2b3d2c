/**
 * The identity of a database, so that a copy does not take over what belongs to the original: archive files and spools.
 *
 * A database has an id, stored with its place: a server's system identifier with the database's oid and the schema, or the mark
 * of an embedded database's directory. One that finds itself in another place was copied or moved, and only people know which.
 * It takes a new id and remembers the old one as an ancestor.
 *
 * Invariants:
 * - Two databases never have the same id, except for a physical copy of a whole server, which cannot be distinguished from the
 *   original: `fork` is for that.
 * - What belongs to another database is read and never changed. That includes an ancestor's until `claim` declares this database
 *   its successor, and it applies again in a copy of this database.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { randomUUID } from "node:crypto"
import * as Column from "./Column.ts"
import { Database } from "./Database.ts"
import type { DatabaseError } from "./DatabaseError.ts"
import * as Sql from "./Sql.ts"
import { type Fragment, literal, lock, sql, t } from "./Sql.ts"
import { excerpt, InvalidInput } from "../domain/InvalidInput.ts"
import * as FileMark from "../files/FileMark.ts"

/**
 * - `id`: this database's
 * - `predecessors`: databases that it was declared the successor of: what is theirs is its own
 */
export interface Identity {
  readonly id: string
  readonly predecessors: ReadonlyArray<string>
}

/**
 * - `since`: when it got its id, ISO 8601
 * - `ancestors`: its ids before it was copied or moved, the latest first, without those it was declared the successor of
 * - `isCopy`: it was declared a copy that goes its own way
 */
export interface History extends Identity {
  readonly since: string
  readonly ancestors: ReadonlyArray<string>
  readonly isCopy: boolean
}

export class IdentityStore extends Context.Service<
  IdentityStore,
  {
    /**
     * The current identity. In a new place the database takes a new id first; on a server that accepts no writes, that id is
     * momentary, and nothing belongs to it.
     */
    readonly current: Effect.Effect<Identity, DatabaseError>
    /** The same, but fails with the reason `Busy` where the id would be momentary. */
    readonly lasting: Effect.Effect<Identity, DatabaseError>
    /** The known identity; `undefined` if nobody has asked since the database came to its place. Changes nothing. */
    readonly known: Effect.Effect<History | undefined, DatabaseError>
    /** The current identity and its history. */
    readonly history: Effect.Effect<History, DatabaseError>
    /** Declares this database the successor of another, and of that one's predecessors. */
    readonly claim: (id: string) => Effect.Effect<Identity, DatabaseError | InvalidInput>
    /** Takes a new id, as a copy that goes its own way: from now on only what it makes belongs to it. */
    readonly fork: Effect.Effect<Identity, DatabaseError>
  }
>()("effect-usage/database/IdentityStore") {
  static readonly layer: Layer.Layer<IdentityStore, never, Database> = Layer.suspend(() =>
    Layer.effect(IdentityStore, Effect.map(Effect.map(Database, make), IdentityStore.of))
  )
}

/** Whether what belongs to `owner` may be changed. */
export const isOf = ({ id, predecessors }: Identity, owner: string): boolean =>
  owner === id || predecessors.includes(owner)

/** The remedy for what belongs to another database. */
export const claimHint = (owner: string): string =>
  `If this database is the successor of that one, and nothing else is, say so: usage database claim ${owner}`

const KnownRow = Schema.Struct({
  id: Schema.String,
  kind: Schema.Literals(["self", "ancestor", "other"]),
  place: Schema.String,
  claimedBy: Column.orUndefined(Schema.String),
  isCopy: Schema.Boolean,
  since: Schema.String
})
type Known = typeof KnownRow.Type

const idPattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** The same for stores, of their own database. */
export const make = (database: Database["Service"]): IdentityStore["Service"] => {
  const { name, place, schema } = database
  const { own } = Sql.make(database)

  const readAll = ({ all }: Sql.Sql) =>
    all(
      KnownRow,
      sql`select database_id::text as id, kind, place, claimed_by::text as "claimedBy", is_copy as "isCopy",
          to_char(created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as since
        from ${t.database} order by created_at desc, database_id`
    )

  const placeOn = (system: Fragment) =>
    Effect.map(
      own.one(
        Schema.Struct({ here: Schema.String }),
        sql`select ${system} || '/' || oid::text as here from pg_database where datname = current_database()`
      ),
      ({ here }) => `${here}/${schema}`
    )
  /**
   * The current place. A role that may not ask the server for its identity compares the table's oid: a restored dump mostly has
   * another.
   */
  const here =
    place.mark !== undefined
      ? Effect.succeed(`${place.mark}/${schema}`)
      : placeOn(literal("(select system_identifier::text from pg_control_system())")).pipe(
          Effect.catchIf(
            ({ reason }) => reason._tag === "Denied",
            () => placeOn(sql`'table ' || '${t.database}'::regclass::oid::text`)
          )
        )

  /** Whether a stored place is this one. */
  const isHere = (written: string, now: string): boolean => {
    if (place.mark === undefined) return written === now
    const [[mark = "", ...rest], [markNow = "", ...restNow]] = [written.split("/"), now.split("/")]
    return rest.join("/") === restNow.join("/") && FileMark.isSame(mark, markNow)
  }

  const alone = <A, E>(body: (here: Sql.Sql) => Effect.Effect<A, E>) =>
    database.transaction(({ query }) => {
      const there = Sql.on({ name, query })
      return Effect.andThen(there.run(lock(`effect-usage identity ${schema}`)), body(there))
    })

  const renew = ({ run }: Sql.Sql, now: string, isCopy: boolean) =>
    Effect.andThen(
      run(sql`update ${t.database} set kind = 'ancestor' where kind = 'self'`),
      run(
        sql`insert into ${t.database} (database_id, kind, place, is_copy) values (gen_random_uuid(), 'self', ${now}, ${isCopy})`
      )
    )

  /** The known identity, once the stored place is this one. */
  const settle = (now: string) =>
    alone((there) =>
      Effect.gen(function* () {
        const self = (yield* readAll(there)).find(({ kind }) => kind === "self")
        if (self?.place === "") yield* there.run(sql`update ${t.database} set place = ${now} where kind = 'self'`)
        else if (self === undefined || !isHere(self.place, now)) yield* renew(there, now, false)
        return yield* readAll(there)
      })
    )

  /** The known identity, if the stored place is this one. */
  const look = Effect.gen(function* () {
    const now = yield* here
    const found = yield* readAll(own)
    const self = found.find(({ kind }) => kind === "self")
    return { now, found: self !== undefined && isHere(self.place, now) ? found : undefined }
  })

  const lasting = Effect.flatMap(look, ({ found, now }) => (found === undefined ? settle(now) : Effect.succeed(found)))

  const settled = Effect.catchIf(
    lasting,
    ({ reason }) => "code" in reason && reason.code === readOnly,
    () =>
      Effect.map(here, (now) => [
        { id: randomUUID(), kind: "self", place: now, claimedBy: undefined, isCopy: false, since: "" } satisfies Known
      ])
  )

  const current = Effect.map(settled, identityOf)

  return {
    current,
    lasting: Effect.map(lasting, identityOf),
    known: Effect.map(look, ({ found }) => (found === undefined ? undefined : historyOf(found))),
    history: Effect.map(settled, historyOf),
    claim: Effect.fnUntraced(function* (written) {
      const id = written.trim().toLowerCase()
      if (!idPattern.test(id)) {
        return yield* new InvalidInput({
          field: "id",
          problem: `${excerpt(written)} is not a database's id`,
          remedy: "Give the id that the message names; `usage database show` has those that this database had before"
        })
      }
      const self = yield* current
      if (self.id === id) {
        return yield* new InvalidInput({
          field: "id",
          problem: "that is this database itself",
          remedy: "There is nothing to claim"
        })
      }
      return yield* alone((there) =>
        Effect.andThen(
          there.run(sql`insert into ${t.database} as d (database_id, kind, place, claimed_by)
              select ${id}::uuid, 'other', '', database_id from ${t.database} where kind = 'self'
            on conflict (database_id) do update set claimed_by = excluded.claimed_by where d.kind <> 'self'`),
          Effect.map(readAll(there), identityOf)
        )
      )
    }),
    fork: Effect.flatMap(here, (now) =>
      alone((there) => Effect.andThen(renew(there, now, true), Effect.map(readAll(there), identityOf)))
    )
  }
}

const readOnly = "25006"

/** Claiming a database includes those that it has claimed itself. */
const identityOf = (found: ReadonlyArray<Known>): Identity => {
  const { id } = found.find(({ kind }) => kind === "self")!
  const ours = new Set([id])
  for (const one of ours) for (const { claimedBy, id: other } of found) if (claimedBy === one) ours.add(other)
  ours.delete(id)
  return { id, predecessors: [...ours] }
}

const historyOf = (found: ReadonlyArray<Known>): History => {
  const identity = identityOf(found)
  const self = found.find(({ kind }) => kind === "self")!
  return {
    ...identity,
    since: self.since,
    isCopy: self.isCopy,
    ancestors: found.filter(({ id, kind }) => kind === "ancestor" && !isOf(identity, id)).map(({ id }) => id)
  }
}
