/**
 * The settings that this package's own connections and transactions begin with, whatever the server, the database or the role
 * set.
 *
 * They are the second line of defence. The first is that no statement depends on them: a session may be an application's
 * (`Usage.layer`), or a pooler's that ignores startup parameters. Only the text that a `Snapshot` writes relies on its own.
 */

/** The settings that turn values into text and back. */
const texts = {
  TimeZone: "UTC",
  DateStyle: "ISO, MDY",
  IntervalStyle: "postgres",
  extra_float_digits: "1"
} as const

/**
 * A client that vanishes, with its network for example, keeps its locks until the server notices: two hours by the systems'
 * defaults, during which nobody else could store the batch that it was writing. This makes it a minute.
 */
const peers = { tcp_keepalives_idle: "30", tcp_keepalives_interval: "10", tcp_keepalives_count: "3" } as const

/**
 * Startup parameters of a connection. A transaction pooler maintains a few of them on each of its connections (pgbouncer does so
 * by default), and refuses others; so through a pooler (`prepare` is false) only those are sent.
 */
export const startupParameters = (prepare: boolean): Readonly<Record<string, string>> => ({
  ...(prepare ? texts : { TimeZone: texts.TimeZone, DateStyle: texts.DateStyle }),
  ...(prepare ? { bytea_output: "hex", ...peers } : {}),
  standard_conforming_strings: "on"
})

/** Statements that apply them to the open transaction. */
export const setLocal = Object.entries({ ...texts, ...peers })
  .map(([name, value]) => `set local ${name} = '${value}'`)
  .join("; ")

/** The same as one statement. */
export const selectLocal = `select ${Object.entries(texts)
  .map(([name, value]) => `set_config('${name}', '${value}', true)`)
  .join(", ")}`
