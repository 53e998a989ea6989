-- name: connection_limit
-- How many connections the server takes in all.
select setting::int from pg_settings where name = 'max_connections'
