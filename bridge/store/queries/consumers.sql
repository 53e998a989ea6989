-- Consumers of the feed: named readers whose cursor is kept.

-- name: forget
-- Those of a key that nobody has used for so long that their events are gone.
delete from bridge.consumer
 where coalesce(key_id, '') = coalesce(%(key_id)s::text, '') and used_at < now() - %(unused_s)s * interval '1 second'

-- name: open
-- Take a consumer over, or make it at a position; no row when the key has too many others.
insert into bridge.consumer (key_id, name, position)
select %(key_id)s::text, %(name)s, %(position)s
 where exists (select from bridge.consumer
                where coalesce(key_id, '') = coalesce(%(key_id)s::text, '') and name = %(name)s)
    or (select count(*) from bridge.consumer where coalesce(key_id, '') = coalesce(%(key_id)s::text, '')) < %(most)s
on conflict (coalesce(key_id, ''), name) do update set lease = consumer.lease + 1, used_at = now()
returning id, position, lease

-- name: acknowledge
-- Move the cursor; no row when another connection has taken over.
update bridge.consumer set position = greatest(position, %(position)s), used_at = now()
 where id = %(id)s and lease = %(lease)s
