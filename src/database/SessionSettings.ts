/**
 * The settings with which this package's own connections and transactions begin, whatever the server, the database or the role
 * have set.
 *
 * They are the second line. The first is that no statement depends on them: a session may be an application's (`Usage.layer`),
 * or one of a pooler's that ignores what it was begun with. Only what a `Snapshot` writes as text relies on its own.
 */

/** What turns values into text and back. */
const texts = {
  TimeZone: "UTC",
  DateStyle: "ISO, MDY",
  IntervalStyle: "postgres",
  extra_float_digits: "1"
} as const

/**
 * A client that is gone without a word, as when its network goes, holds what it has locked until the server notices: for two
 * hours, by what systems have set. The batch that it was writing could be stored by nobody else meanwhile. This is a minute.
 */
const peers = { tcp_keepalives_idle: "30", tcp_keepalives_interval: "10", tcp_keepalives_count: "3" } as const

/**
 * Startup parameters of a connection. A transaction pooler looks after a few of them on each of its connections, pgbouncer
 * without being told to, and refuses others; so through one (`prepare` is false) it gets only those.
 */
export const startupParameters = (prepare: boolean): Readonly<Record<string, string>> => ({
  ...(prepare ? texts : { TimeZone: texts.TimeZone, DateStyle: texts.DateStyle }),
  ...(prepare ? { bytea_output: "hex", ...peers } : {}),
  standard_conforming_strings: "on"
})

/** Statements that make it so in the transaction that is open. */
export const setLocal = Object.entries({ ...texts, ...peers })
  .map(([name, value]) => `set local ${name} = '${value}'`)
  .join("; ")

/** The same as one statement. */
export const selectLocal = `select ${Object.entries(texts)
  .map(([name, value]) => `set_config('${name}', '${value}', true)`)
  .join(", ")}`
