-- name: commands
-- Finished commands are kept for as long as their Idempotency-Key is promised to work.
delete from bridge.command
 where id in (select id from bridge.command where finished_at < now() - %(commands_s)s * interval '1 second' limit 5000);

-- name: endpoints
-- An endpoint of an instance that was deleted goes when everything for it has been delivered.
delete from bridge.endpoint as e
 where e.instance_key is not null
   and not exists (select from bridge.instance i where i.key = e.instance_key)
   and not exists (select from bridge.lane l where l.endpoint_id = e.id);
