/**
 * SQL for the run of the server that a connection leads to, as text.
 *
 * From one statement to the next, another server may be behind the same address: a promoted standby, or one restored to an
 * earlier time. It may lack what this process knows to exist, and count on from somewhere else. So whatever is cached about a
 * database is cached per run of its server.
 */
export const serverRun = "(extract(epoch from pg_postmaster_start_time()) * 1000000)::bigint::text"
