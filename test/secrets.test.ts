/** A canary in every place that holds a secret, and a look into everything that is written, stored or said. */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Redacted from "effect/Redacted"
import * as Tracer from "effect/Tracer"
import { randomBytes } from "node:crypto"
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { inspect } from "node:util"
import { createUsage } from "../src/UsageClient.ts"
import * as Postgres from "../src/database/postgres/Postgres.ts"
import { receiver } from "./support/alertChannels.ts"
import { temporaryDirectory } from "./support/child.ts"
import { usage, usageProcess } from "./support/cli.ts"
import { administer, freshDatabase } from "./support/engines.ts"
import { smtpServer } from "./support/mailServers.ts"

const canary = "Zq9Kanarienvogel"
const secret = (source: string) => `${canary}-${source}`

/** As text, and in whatever it may be wrapped: base64 at each of its three offsets, hexadecimal. */
const forms = [
  canary,
  ...[0, 1, 2].map((offset) =>
    Buffer.from(`${"x".repeat(offset)}${canary}`)
      .toString("base64")
      .slice(offset === 0 ? 0 : 4, -4)
  ),
  Buffer.from(canary).toString("hex")
]

const places = (text: string) =>
  forms.flatMap((form) => {
    const at = text.indexOf(form)
    return at < 0 ? [] : [text.slice(Math.max(0, at - 120), at + 60)]
  })

/** Fails with where the canary was seen, and what stands around it. */
const assertNowhere = (where: string, text: string | Buffer) => {
  assert.deepStrictEqual(places(typeof text === "string" ? text : text.toString("latin1")), [], where)
}

const filesIn = (directory: string): ReadonlyArray<string> =>
  readdirSync(directory, { recursive: true, encoding: "utf8" })
    .map((name) => join(directory, name))
    .filter((file) => statSync(file, { throwIfNoEntry: false })?.isFile() === true)

/** A role with the canary for a password; the database's URL with it in the two places where it may be. */
const withRole = Effect.gen(function* () {
  const role = `canary_${randomBytes(6).toString("hex")}`
  // Removed after the database, in which it owns something.
  yield* Effect.acquireRelease(
    Effect.promise(() => administer(`create role ${role} login superuser password '${secret("database")}'`)),
    () => Effect.promise(() => administer(`drop role ${role}`))
  )
  const url = new URL(yield* freshDatabase)
  return {
    plain: url.href,
    inQuery: `postgresql://${role}@${url.host}${url.pathname}?password=${secret("database")}`,
    inAuthority: `postgresql://${role}:${secret("database")}@${url.host}${url.pathname}`
  }
})

/** The variables of everything that has a secret, with servers that refuse what they are sent, and say so in many words. */
const setUp = Effect.gen(function* () {
  const home = yield* temporaryDirectory
  const database = yield* withRole
  const store = yield* receiver((response, { headers }) => {
    response.writeHead(403)
    response.end(
      `<Error><Code>SignatureDoesNotMatch</Code><Message>no</Message><Sent>${JSON.stringify(headers)} ${secret("answer")}</Sent></Error>`
    )
  })
  const hook = yield* receiver((response, { body, url }) => {
    response.writeHead(500)
    response.end(`cannot take ${url} ${body} ${secret("answer")}`)
  })
  const mail = yield* smtpServer()
  const command = join(home, "tell.sh")
  writeFileSync(
    command,
    `#!/bin/sh
env | grep -v ^OPS_TOKEN= > ${home}/environment.txt
echo "cannot reach $USAGE_DATABASE_URL as '$PGPASSWORD' with '$AWS_SECRET_ACCESS_KEY', $OPS_TOKEN" >&2
exit 1
`
  )
  chmodSync(command, 0o755)
  const env = {
    USAGE_HOME: join(home, "home"),
    USAGE_CUSTOMER_ID: "acme",
    USAGE_DATABASE_URL: database.inAuthority,
    PGPASSWORD: secret("pgpassword"),
    OPS_TOKEN: secret("ops"),
    AWS_ACCESS_KEY_ID: "AKIAEXAMPLE",
    AWS_SECRET_ACCESS_KEY: secret("aws"),
    AWS_SESSION_TOKEN: secret("session"),
    AWS_ENDPOINT_URL: `http://127.0.0.1:${store.port}`,
    USAGE_RETENTION_DAYS: "30",
    USAGE_ALERT_CHANNELS: "log,json,terminal,webhook,slack,discord,mail,command",
    USAGE_ALERT_WEBHOOK_URL: `http://127.0.0.1:${hook.port}/${secret("webhook")}?token=${secret("webhook-query")}`,
    USAGE_ALERT_WEBHOOK_SECRET: `whsec_${canary}${canary}${canary}${canary}`,
    USAGE_ALERT_WEBHOOK_ALLOW_PRIVATE: "true",
    USAGE_ALERT_SLACK_URL: `http://localhost:1/services/${secret("slack")}`,
    USAGE_ALERT_DISCORD_URL: `http://localhost:1/api/webhooks/1/${secret("discord")}`,
    USAGE_ALERT_SMTP_URL: `smtp://usage:${secret("smtp")}@127.0.0.1:${mail.port}`,
    USAGE_ALERT_MAIL_FROM: "usage@example.com",
    USAGE_ALERT_MAIL_TO: "ops@example.com",
    USAGE_ALERT_COMMAND: command
  }
  return { home, env, database }
})

/** Commands that do all there is to do, and such that fail at every door. */
const commandsIn = (home: string, inQuery: string) => [
  "track api-request /users GET 200",
  "record bandwidth 105",
  "record api 7 --at 2026-01-15",
  "record api 3 --customer globex",
  "quota set bandwidth 100",
  "batch add acme api 3",
  "batch flush",
  "refresh",
  "alerts check",
  ...["log", "json", "terminal", "webhook", "slack", "discord", "mail", "command"].map(
    (channel) => `alerts test ${channel}`
  ),
  "alerts deliveries --format json",
  `report --html ${home}/report.html`,
  `export csv ${home}/all.csv 2026-01 --all-customers`,
  "export csv s3://bucket/all.csv 2026-01 --all-customers",
  `export csv s3://key:${secret("storage")}@bucket/all.csv`,
  `archive 30 --dir s3://key:${secret("storage")}@bucket/archives`,
  "archive 30 --dir s3://bucket/archives",
  "archive 30",
  "archives list --format json",
  "archives verify",
  `customer erase globex --confirm globex --certificate ${home}/certificate.json`,
  "dead-letters list",
  "doctor",
  "metrics",
  `metrics ${home}/metrics.prom`,
  // Where a secret is not expected, and where it is broken.
  `report ${inQuery}`,
  `report --databse-url=${inQuery}`,
  `import ${inQuery}`,
  `export ${inQuery}`,
  `price set ${inQuery} 1`,
  `maintain --skip=${inQuery}`,
  `${inQuery}`,
  ...[
    `postgresql://usage:${secret("broken")}/x#y@127.0.0.1/db`,
    `postgresql://usage:${secret("broken")}%zz@127.0.0.1/db`,
    `postgresql://usage:${secret("broken")}@127.0.0.1:99999/db`,
    `postgresql://usage:${secret("broken")}@127.0.0.1/db?sslmode=require;password=${secret("broken")}`,
    `mysql://usage:${secret("broken")}@127.0.0.1/db`,
    `usage:${secret("broken")}@127.0.0.1/db`,
    `postgresql://usage:${secret("wrong")}@127.0.0.1:1/db`,
    inQuery.replace("password=", "password=not-"),
    inQuery.replace("?", "-nowhere?")
  ].map((url) => `report --database-url=${url}`)
]

describe("secrets", () => {
  it.live("are in no table, no file, and nothing that commands say", () =>
    Effect.gen(function* () {
      const { database, env, home } = yield* setUp
      mkdirSync(env.USAGE_HOME)
      const script = join(home, "commands.txt")
      writeFileSync(script, commandsIn(home, database.inQuery).join("\n"))
      const run = (more: Record<string, string>, ...args: ReadonlyArray<string>) =>
        Effect.promise(() => usageProcess({ ...env, ...more }, args))
      const outcomes = yield* Effect.all([
        run({}, "run", script, "--keep-going", "--log-level", "trace"),
        // The database's URL in the flag; and what it leaves in the table of who maintains.
        run({ USAGE_DATABASE_URL: "" }, "maintain", `--database-url=${database.inQuery}`, "--log-level", "trace"),
        run({}, "maintain", "--database-url", database.inAuthority, "--log-level", "trace"),
        // To the spool.
        run({}, "record", "api", "1", "--database-url=postgresql://u:" + secret("away") + "@127.0.0.1:1/db"),
        run({ AWS_ENDPOINT_URL: `http://key:${secret("endpoint")}@127.0.0.1:1` }, "export", "csv", "s3://bucket/x.csv"),
        run({ AWS_ENDPOINT_URL: `127.0.0.1:${secret("endpoint")}` }, "export", "csv", "s3://bucket/x.csv")
      ])
      for (const [index, { stderr, stdout }] of outcomes.entries())
        assertNowhere(`command ${index}`, `${stdout}${stderr}`)
      assert.deepStrictEqual(
        outcomes.map(({ code }) => code),
        [75, 3, 3, 0, 2, 2],
        outcomes.map(({ stderr }) => stderr).join("\n---\n")
      )
      assert.include(outcomes[0]!.stderr, "SignatureDoesNotMatch: no")

      const tables = yield* Effect.promise(() =>
        administer("select tablename from pg_tables where schemaname = 'public'", database.plain)
      )
      assert.isAbove(tables.length, 20)
      for (const { tablename } of tables) {
        const rows = yield* Effect.promise(() =>
          administer(`select t::text from public.${tablename} t`, database.plain)
        )
        assertNowhere(`table ${tablename}`, JSON.stringify(rows))
      }
      const owners = yield* Effect.promise(() =>
        administer("select owner::json->>'command' as command from billing_maintenance", database.plain)
      )
      assert.deepStrictEqual(owners, [{ command: "usage maintain" }])
      const problems = yield* Effect.promise(() =>
        administer("select distinct problem from billing_alert_deliveries where channel = 'command'", database.plain)
      )
      assert.deepStrictEqual(problems, [
        {
          problem: `${env.USAGE_ALERT_COMMAND} answered 1: cannot reach ${database.inAuthority.replace(/:[^:@]+@/, "@")} as '' with '', ***`
        }
      ])

      const files = filesIn(home).filter((file) => file !== script)
      for (const file of files) assertNowhere(file, readFileSync(file))
      const named = [
        "environment.txt",
        "certificate.json",
        "report.html",
        "all.csv",
        "metrics.prom",
        "alerts.log",
        "alerts.ndjson"
      ]
      for (const name of named)
        assert.isTrue(
          files.some((file) => file.endsWith(name)),
          name
        )
      // What was to be archived where nobody is let in keeps nobody from being erased, and the certificate says so.
      assert.include(readFileSync(join(home, "certificate.json"), "utf8"), "cannot be removed now")
    }).pipe(Effect.scoped)
  )

  it.live("are in no span and no metric", () =>
    Effect.gen(function* () {
      const { database, env, home } = yield* setUp
      mkdirSync(env.USAGE_HOME)
      const spans: Array<Tracer.NativeSpan> = []
      const tracer = Tracer.make({
        span: (options) => {
          const span = new Tracer.NativeSpan(options)
          spans.push(span)
          return span
        }
      })
      const script = join(home, "commands.txt")
      writeFileSync(script, commandsIn(home, database.inQuery).join("\n"))
      const { stderr, stdout } = yield* Effect.provideService(
        usage(env, "run", script, "--keep-going"),
        Tracer.Tracer,
        tracer
      )
      assertNowhere("the command", `${stdout}${stderr}`)
      assert.isAbove(spans.length, 50)
      for (const { attributes, events, name, status } of spans) {
        const failure = status._tag === "Ended" && Exit.isFailure(status.exit) ? Cause.pretty(status.exit.cause) : ""
        assertNowhere(`span ${name}`, inspect([name, attributes, events, failure], { depth: 9 }))
      }
      assertNowhere("metrics", inspect(yield* Metric.snapshot, { depth: 9 }))
    }).pipe(Effect.scoped)
  )

  it.live("are in no error, however it is shown", () =>
    Effect.gen(function* () {
      const { inAuthority, inQuery } = yield* withRole
      const urls = [
        inQuery.replace("password=", "password=not-"),
        inQuery.replace("?", "-nowhere?"),
        `${inAuthority}?sslmode=verify-full`,
        `${inAuthority}?sslmode=verify-full&sslrootcert=/no/such/file`,
        `postgresql://usage:${secret("away")}@127.0.0.1:1/db`,
        `postgresql://usage:${secret("away")}@no-such-host.invalid/db`,
        `postgresql://usage:${secret("broken")}/x#y@127.0.0.1/db`,
        `usage:${secret("broken")}@127.0.0.1/db`
      ]
      for (const url of urls) {
        const opened = yield* Effect.exit(Effect.scoped(Layer.build(Postgres.layer({ url: Redacted.make(url) }))))
        assert.isTrue(Exit.isFailure(opened), url)
        const cause = (opened as Exit.Failure<never, unknown>).cause
        const error = Cause.squash(cause)
        const promised = yield* Effect.promise(() =>
          createUsage({ url }).then(
            () => undefined,
            (error: unknown) => error
          )
        )
        assert.isDefined(promised)
        for (const value of [cause, error, promised]) {
          assertNowhere(url, String(value))
          assertNowhere(url, JSON.stringify(value) ?? "")
          assertNowhere(url, inspect(value, { depth: 30, showHidden: true, getters: true }))
        }
        assertNowhere(url, Cause.pretty(cause))
      }
    }).pipe(Effect.scoped)
  )
})
