-- name: insert
-- A new key; only its hash is kept.
insert into bridge.api_key (id, name, role, hash, expires_at)
values (%(id)s, %(name)s, %(role)s, %(hash)s, %(expires_at)s)
returning id, name, role, created_at, expires_at

-- name: find
-- The key with this hash, unless it has expired.
select id, name, role, created_at, expires_at
from bridge.api_key
where hash = %(hash)s and (expires_at is null or expires_at > now())

-- name: count
-- How many there are: none means that nobody has set this installation up yet.
select count(*) as number from bridge.api_key

-- name: all
-- Every key, oldest first.
select id, name, role, created_at, expires_at from bridge.api_key order by created_at, id

-- name: delete
-- Revokes a key.
delete from bridge.api_key where id = %(id)s
