/** docs/migrate-from-bash.md, with its own query: a table of the Bash system comes over, to the last digit, once. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { createWriteStream, readFileSync } from "node:fs"
import { join } from "node:path"
import { pipeline } from "node:stream/promises"
import { fileURLToPath } from "node:url"
import pg from "pg"
import { to as copyTo } from "pg-copy-streams"
import { temporaryDirectory } from "./support/child.ts"
import { usage } from "./support/cli.ts"
import { administer, freshDatabase } from "./support/engines.ts"

const guide = readFileSync(fileURLToPath(new URL("../docs/migrate-from-bash.md", import.meta.url)), "utf8")

/** What the guide's `copy` takes. */
const query = / -c "copy \(([^]*?)\) to stdout csv header/.exec(guide)![1]!.replaceAll('\\"', '"')

const old = `
  create table billing_usage_records (
    id uuid primary key default gen_random_uuid(), customer_id text not null, service_name text not null,
    quantity numeric not null, unit_cost numeric not null, total_cost numeric not null, metadata jsonb,
    recorded_at timestamptz not null default now(), aggregated boolean not null default false
  );
  insert into billing_usage_records (customer_id, service_name, quantity, unit_cost, total_cost, metadata, recorded_at)
  select 'cus_' || n % 7, (array['api', 'storage', 'bandwidth', 'compute', 'database', 'functions'])[1 + n % 6],
    round((n * 0.37)::numeric, 6), 0.0001 * (1 + n % 3), 0, jsonb_build_object('endpoint', '/a "b", c' || n, 'n', n),
    timestamptz '2026-01-01 00:00:00.123456+00' + n * interval '9 minutes'
  from generate_series(1, 5000) n`

describe("the guide to migrate from the Bash system", () => {
  it.live("brings its records over, and what is brought twice counts once", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const url = yield* freshDatabase
      yield* Effect.promise(() => administer("create schema old", url))
      const oldUrl = `${url}?options=-c%20search_path%3Dold`
      yield* Effect.promise(() => administer(old, oldUrl))
      const env = { USAGE_DATABASE_URL: url, USAGE_HOME: directory }
      const bring = Effect.fnUntraced(function* (name: string, text: string) {
        const file = join(directory, name)
        yield* Effect.promise(async () => {
          const client = new pg.Client({ connectionString: oldUrl })
          await client.connect()
          try {
            await pipeline(client.query(copyTo(`copy (${text}) to stdout csv header`)), createWriteStream(file))
          } finally {
            await client.end()
          }
        })
        const imported = yield* usage(env, "import", file)
        assert.strictEqual(imported.code, 0, imported.stderr)
      })
      yield* bring("all.csv", query)
      // A range again, as at the end of a time side by side.
      yield* bring("again.csv", query.replace("order by", "where recorded_at >= '2026-01-15' order by"))

      const report = yield* usage(env, "report", "2026-01", "--all-customers", "--format", "csv")
      const sums = yield* Effect.promise(() =>
        administer(
          `select service_name as service, trim_scale(sum(quantity))::text as quantity, trim_scale(sum(quantity * unit_cost))::text as cost,
              count(*)::text as events
            from billing_usage_records where recorded_at < '2026-02-01' group by 1 order by 1`,
          oldUrl
        )
      )
      assert.deepStrictEqual(
        report.stdout
          .trimEnd()
          .split("\n")
          .slice(1)
          .map((line) => {
            const [service, quantity, , cost, events] = line.split(",")
            return { service, quantity, cost, events }
          })
          .toSorted((a, b) => (a.service! < b.service! ? -1 : 1)),
        sums
      )
      const [first] = yield* Effect.promise(() =>
        administer(
          `select metadata::text as metadata, recorded_at = timestamptz '2026-01-01 00:09:00.123456+00' as same
            from public.billing_usage_records where customer_id = 'cus_1' order by recorded_at limit 1`,
          url
        )
      )
      assert.deepStrictEqual(JSON.parse(first!["metadata"] as string), { endpoint: '/a "b", c1', n: 1 })
      assert.strictEqual(first!["same"], true)
    }).pipe(Effect.scoped)
  )
})
