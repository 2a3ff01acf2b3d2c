/** Which database this is: so that a copy of it does not take for its own what is another's, archives and spools. */
import type { Step } from "./Step.ts"

const identity: Step = {
  breaking: false,
  statements: (name) => [
    // `self` is this database, at its place. `ancestor`: it was this one before it was copied or moved, as a place that has
    // changed tells. `other`: a database that this one was said to be the successor of, and never was.
    `create table ${name("billing_database")} (
      database_id uuid primary key,
      kind text not null check (kind in ('self', 'ancestor', 'other')),
      place text not null,
      claimed_by uuid references ${name("billing_database")},
      is_copy boolean not null default false,
      created_at timestamptz not null default now()
    )`,
    `create unique index billing_database_self on ${name("billing_database")} (kind) where kind = 'self'`,
    `comment on column ${name("billing_database")}.is_copy is 'somebody has said that it goes its own way'`,
    `comment on column ${name("billing_database")}.claimed_by is 'the database that is its successor: what was its is that one''s'`,

    // Whose files these are. Those that were there before are of whoever looks first.
    `alter table ${name("billing_archives")} add column owner uuid`,
    `insert into ${name("billing_database")} (database_id, kind, place)
      select gen_random_uuid(), 'self', '' where exists (select from ${name("billing_archives")})`,
    `update ${name("billing_archives")} set owner = (select database_id from ${name("billing_database")})`,
    `alter table ${name("billing_archives")} alter column owner set not null`,

    // Files that no archive is in: yet, or any more. None is made or removed that is not here, so that whatever is
    // interrupted, somebody knows whose it is and what is to become of it.
    `create table ${name("billing_archive_files")} (
      file text primary key,
      owner uuid not null,
      state text not null check (state in ('writing', 'doomed')),
      is_ours boolean not null,
      created_at timestamptz not null default now()
    )`,
    `comment on column ${name("billing_archive_files")}.is_ours is 'nobody else can have made what is there under that name'`,
    `alter table ${name("billing_erasures")} drop column pending`,

    // Raised by whatever moves records between table and files: who has read the table in between reads it again.
    `create table ${name("billing_archive_version")} (
      only_row boolean primary key default true check (only_row),
      version bigint not null
    )`,
    `insert into ${name("billing_archive_version")} (version) values (1)`
  ]
}

export default identity
