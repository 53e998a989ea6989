-- name: add
-- A new key, of which only the hash is kept; no row when there is one with this id.
insert into bridge.api_key (id, name, role, hash, expires_at, instances, networks, rate_per_s, hint, created_by)
values (%(id)s, %(name)s, %(role)s, %(hash)s, %(expires_at)s, %(instances)s, %(networks)s, %(rate_per_s)s, %(hint)s,
        %(created_by)s)
on conflict (id) do nothing
returning id, name, role, created_at, expires_at, instances, networks, rate_per_s, hint, created_by

-- name: find
-- The key with this hash, unless it has expired.
select id, name, role, created_at, expires_at, instances, networks, rate_per_s, hint, created_by
from bridge.api_key
where hash = %(hash)s and (expires_at is null or expires_at > now())

-- name: get
-- One key by its id.
select id, name, role, created_at, expires_at, instances, networks, rate_per_s, hint, created_by
from bridge.api_key where id = %(id)s

-- name: count
-- How many there are: none means that nobody has set this installation up yet.
select count(*) as number from bridge.api_key

-- name: page
-- Keys from a cursor on, oldest first, expired ones too.
select id, name, role, created_at, expires_at, instances, networks, rate_per_s, hint, created_by
from bridge.api_key
where %(after)s::text is null or id > %(after)s
order by id limit %(limit)s + 1

-- name: delete_others
-- Revokes the keys of this name but one.
delete from bridge.api_key where name = %(name)s and id <> %(keep)s

-- name: revoke
-- Revokes a key, but not the last one that can make keys for good: two such revocations at once wait for each other.
with admins as materialized (
    select id from bridge.api_key where role = 'admin' and expires_at is null and networks is null order by id for update
)
delete from bridge.api_key as k
 where k.id = %(id)s
   and (k.role <> 'admin' or exists (select from admins a where a.id <> k.id))
