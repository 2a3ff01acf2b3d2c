/** Databases that have something set, and the ways on which the history is told to them. */
import { PgClient } from "@effect/sql-pg"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Postgres from "../../src/database/postgres/Postgres.ts"
import { administer, newDatabase } from "./engines.ts"
import { inProcess, onDatabase, tell, type Told } from "./history.ts"
import { Pooler } from "./Pooler.ts"

export type Settings = Readonly<Record<string, string>>

/** Sets them for all sessions of a database from now on. */
export const alter = (url: string, settings: Settings) =>
  Effect.promise(async () => {
    const name = new URL(url).pathname.slice(1)
    for (const [setting, value] of Object.entries(settings)) {
      await administer(`alter database ${name} set ${setting} = ${value}`, url)
    }
  })

/** What those who look for names elsewhere first would find. */
const decoys = `create schema decoys;
  create table decoys.picked (wrong integer); create table decoys.archived_rows (wrong integer);
  create table decoys.billing_usage_records (wrong integer); create table decoys.billing_catalog (version bigint)`

/** A telling, by the way to the server. */
export const ways: Readonly<
  Record<string, (url: string, length: "short" | "whole") => Effect.Effect<Told, never, Scope.Scope>>
> = {
  direct: (url, length) => tell({ USAGE_DATABASE_URL: url }, length, inProcess),
  pooler: (url, length) =>
    Effect.gen(function* () {
      const pooler = yield* Effect.acquireRelease(
        Effect.promise(() => Pooler.start(url)),
        (started) => Effect.promise(() => started.close())
      )
      return yield* tell({ USAGE_DATABASE_URL: `${pooler.url}?prepare=false` }, length, inProcess)
    }),
  application: (url, length) => tell({}, length, onDatabase(application(url)))
}

const application = (url: string) =>
  Layer.fresh(
    Layer.provide(
      Postgres.layerClient(),
      PgClient.layer({ url: Redacted.make(url), transformResultNames: (name) => name.toUpperCase() })
    )
  )

export const americas: Settings = {
  TimeZone: "'America/New_York'",
  DateStyle: "'SQL, DMY'",
  IntervalStyle: "'sql_standard'",
  timezone_abbreviations: "'Australia'",
  default_transaction_isolation: "'serializable'",
  client_encoding: "'LATIN1'",
  bytea_output: "'escape'",
  extra_float_digits: "-10",
  standard_conforming_strings: "off",
  array_nulls: "off",
  quote_all_identifiers: "on",
  search_path: "decoys, pg_temp",
  plan_cache_mode: "'force_generic_plan'",
  row_security: "off",
  client_min_messages: "'debug1'"
}

export const german: Settings = {
  TimeZone: "'Australia/Lord_Howe'",
  DateStyle: "'German'",
  IntervalStyle: "'iso_8601'",
  default_transaction_isolation: "'repeatable read'",
  default_transaction_deferrable: "on",
  plan_cache_mode: "'force_custom_plan'",
  statement_timeout: "'20s'",
  lock_timeout: "'10s'",
  idle_in_transaction_session_timeout: "'20s'",
  enable_hashagg: "off",
  jit_above_cost: "0",
  synchronous_commit: "'local'"
}

export const turkish = "template template0 encoding 'UTF8' locale_provider icu icu_locale 'tr-TR' locale 'C'"

/**
 * A telling to a database of its own that has these settings.
 *
 * - `way`: one of `ways`, `direct`
 * - `options`: of `create database`
 * - `server`: its URL, that of the shared one
 */
export const toldUnder = Effect.fnUntraced(function* (
  settings: Settings,
  {
    length = "short",
    options,
    server,
    way = "direct"
  }: {
    readonly way?: string
    readonly length?: "short" | "whole"
    readonly options?: string
    readonly server?: string
  } = {}
) {
  const url = yield* newDatabase(options, server)
  yield* Effect.promise(() => administer(decoys, url))
  yield* alter(url, settings)
  return yield* ways[way]!(url, length)
})
