-- name: server
-- The version, how many connections it takes, and its time.
select current_setting('server_version_num'), current_setting('max_connections'), clock_timestamp()

-- name: has_migrations
-- Whether a bridge has been here.
select 1 from pg_tables where schemaname = 'bridge' and tablename = 'migration'

-- name: applied
-- The checksums of what was applied.
select version, sha256 from bridge.migration
