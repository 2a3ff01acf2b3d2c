/**
 * Which run of which server a connection leads to, in SQL, as text.
 *
 * Behind the same address there may be another server from one statement to the next: a standby that was promoted, one that was
 * restored to an earlier time. It may lack what this process knows to be there, and count on from where the other was. So
 * what is remembered of a database is remembered of a run of its server.
 */
export const serverRun = "(extract(epoch from pg_postmaster_start_time()) * 1000000)::bigint::text"
