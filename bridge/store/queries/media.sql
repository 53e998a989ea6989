-- name: expect
-- Files that messages carry and that are to be downloaded; those that are known already stay as they are.
insert into bridge.media
    (id, instance_key, path, direction, kind, status, mime_type, filename, size_bytes, facts, event, source, expires_at)
select m.id, m.instance_key, m.path, 'in', m.kind, 'pending', m.mime_type, m.filename, m.size_bytes, m.facts, m.event,
       decode(m.source, 'base64'), to_timestamp(m.expires_at)
from jsonb_to_recordset(%(rows)s) as m (
    id text, instance_key text, path text, kind text, mime_type text, filename text, size_bytes bigint, facts jsonb,
    event jsonb, source text, expires_at double precision
)
where exists (select from bridge.instance i where i.key = m.instance_key)
on conflict do nothing

-- name: touch_object
-- Announces a file, before it is put into its place: whoever removes files waits for this, and keeps what is young.
insert into bridge.media_object (sha256, size_bytes) values (%(sha256)s, %(size_bytes)s)
on conflict (sha256) do update set touched_at = now()

-- name: add
-- A file that a caller gave us.
insert into bridge.media
    (id, instance_key, path, direction, kind, status, mime_type, filename, size_bytes, sha256, facts, expires_at)
values (
    %(id)s, %(instance_key)s, %(path)s, 'out', %(kind)s, 'available', %(mime_type)s, %(filename)s, %(size_bytes)s,
    %(sha256)s, %(facts)s, now() + %(keep_s)s * interval '1 second'
)
returning
    id, instance_key, path, direction, kind, status, reason, mime_type, filename, size_bytes, sha256, facts, event,
    source, attempts, gone, next_at, created_at, expires_at

-- name: get
-- One file of an instance.
select id, instance_key, path, direction, kind, status, reason, mime_type, filename, size_bytes, sha256, facts, event,
       source, attempts, gone, next_at, created_at, expires_at
from bridge.media
where instance_key = %(instance_key)s and id = %(id)s

-- name: by_path
-- One file, by the original's name for it.
select id, instance_key, path, direction, kind, status, reason, mime_type, filename, size_bytes, sha256, facts, event,
       source, attempts, gone, next_at, created_at, expires_at
from bridge.media
where path = %(path)s

-- name: due
-- Files to download now: of instances that are online, and not more of one instance than it may have under way.
select id, instance_key, path, direction, kind, status, reason, mime_type, filename, size_bytes, sha256, facts, event,
       source, attempts, gone, next_at, created_at, expires_at
from bridge.media
where status = 'pending' and next_at <= now()
  and instance_key = any (%(instances)s) and id <> all (%(under_way)s)
order by next_at
limit %(limit)s

-- name: next_due
-- Seconds until the next download is due; none when nothing waits.
select extract(epoch from min(next_at) - now())::float8 as seconds
from bridge.media
where status = 'pending' and next_at > now()

-- name: postpone
-- An attempt has failed and another one will follow.
update bridge.media
set attempts = attempts + 1, gone = %(gone)s, reason = %(reason)s,
    next_at = now() + %(after_s)s * interval '1 second'
where id = %(id)s and status = 'pending'

-- name: arrived
-- The file is in its place.
update bridge.media
set status = 'available', reason = null, attempts = attempts + 1, gone = 0, announced = false,
    sha256 = %(sha256)s, size_bytes = %(size_bytes)s, mime_type = %(mime_type)s
where id = %(id)s and status = 'pending'

-- name: give_up
-- No further attempt is made.
update bridge.media
set status = %(status)s, reason = %(reason)s, attempts = attempts + 1, announced = false
where id = %(id)s and status = 'pending'

-- name: again
-- Somebody asks for another attempt; one that has failed begins anew, one that waits is due now.
update bridge.media
set status = 'pending', attempts = case when status = 'pending' then attempts else 0 end,
    gone = case when status = 'pending' then gone else 0 end, next_at = now(),
    expires_at = greatest(expires_at, now() + %(keep_s)s * interval '1 second')
where instance_key = %(instance_key)s and id = %(id)s and status <> 'available' and source is not null
returning
    id, instance_key, path, direction, kind, status, reason, mime_type, filename, size_bytes, sha256, facts, event,
    source, attempts, gone, next_at, created_at, expires_at

-- name: unannounced
-- What has ended and whose event is not known to be stored.
select id, instance_key, path, direction, kind, status, reason, mime_type, filename, size_bytes, sha256, facts, event,
       source, attempts, gone, next_at, created_at, expires_at
from bridge.media
where not announced and id <> all (%(under_way)s)
order by id
limit %(limit)s

-- name: announce
-- The event of this status is stored.
update bridge.media set announced = true where id = %(id)s and status = %(status)s

-- name: outlive
-- Files whose time is over: their rows say so, and do not refer to them any more.
update bridge.media
set status = 'expired', reason = 'its retention is over', sha256 = null, source = null
where id in (
    select id from bridge.media
    where expires_at < now() and (sha256 is not null or status = 'pending')
    limit 1000
)

-- name: forget
-- Rows that have said for long enough that their file is gone.
delete from bridge.media
where id in (
    select id from bridge.media where expires_at < now() - %(shown_s)s * interval '1 second' and sha256 is null limit 1000
)

-- name: lock_unused
-- One file that nobody refers to and nobody began to use lately; locked, so that nobody begins now.
select sha256 from bridge.media_object o
where touched_at < now() - %(young_s)s * interval '1 second'
  and not exists (select from bridge.media m where m.sha256 = o.sha256)
order by touched_at
limit 1
for update skip locked

-- name: remove_object
-- The file is gone.
delete from bridge.media_object where sha256 = %(sha256)s

-- name: adopt
-- Files that were found and of which we know nothing: from now on they are unused ones, and go like these.
insert into bridge.media_object (sha256, size_bytes, touched_at)
select decode(f.sha256, 'hex'), f.size_bytes, to_timestamp(f.touched_at)
from jsonb_to_recordset(%(files)s) as f (sha256 text, size_bytes bigint, touched_at double precision)
on conflict do nothing
