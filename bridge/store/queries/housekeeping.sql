-- name: commands
-- Finished commands are kept for as long as their Idempotency-Key is promised to work.
delete from bridge.command
 where id in (select id from bridge.command where finished_at < now() - %(commands_s)s * interval '1 second' limit 5000);

-- name: replies
-- So are the answers of other calls, and what calls that were cut off have left.
delete from bridge.reply
 where (key_id, route, idempotency_key) in (
    select key_id, route, idempotency_key from bridge.reply
     where begun_at < now() - %(commands_s)s * interval '1 second' limit 5000);

-- name: endpoints
-- An endpoint of an instance that was deleted goes when everything for it has been delivered. A new instance's endpoint is
-- there a moment before it.
delete from bridge.endpoint as e
 where e.instance_key is not null
   and e.created_at < now() - interval '10 minutes'
   and not exists (select from bridge.instance i where i.key = e.instance_key)
   and not exists (select from bridge.lane l where l.endpoint_id = e.id);

-- name: keys
-- A key that belonged to instances that are all deleted; one that expired stays to be seen.
delete from bridge.api_key as k
 where k.instances is not null and not exists (select from bridge.instance i where i.key = any(k.instances));

-- name: audit
-- The trail is kept for as long as the settings say.
delete from bridge.audit
 where id in (select id from bridge.audit where at < now() - %(audit_s)s * interval '1 second' order by at limit 5000);
