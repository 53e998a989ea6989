-- name: lock
-- Waits until no other process migrates this database.
select pg_advisory_lock(%(lock)s)

-- name: unlock
-- Lets the next process migrate.
select pg_advisory_unlock(%(lock)s)

-- name: create_schema
-- The schema must exist before the table that records what made it.
create schema if not exists bridge

-- name: create_table
-- Records what was applied.
create table if not exists bridge.migration (
    version    integer primary key check (version > 0),
    name       text not null,
    sha256     text not null,
    applied_at timestamptz not null default now()
)

-- name: limit_locks
-- Rather fails than makes a running bridge wait behind it.
set local lock_timeout = '5s'

-- name: applied
-- The checksums of what was applied.
select version, sha256 from bridge.migration

-- name: record
-- Records one migration, in its own transaction.
insert into bridge.migration (version, name, sha256) values (%(version)s, %(name)s, %(sha256)s)
