-- name: begin
-- A row for a call that begins: a new one, or that of a call that was never finished or is no longer to be remembered.
insert into bridge.reply (key_id, route, idempotency_key, request_hash)
values (%(key_id)s, %(route)s, %(idempotency_key)s, %(request_hash)s)
on conflict (key_id, route, idempotency_key) do update
   set begun_at = now(), request_hash = excluded.request_hash, finished_at = null, status = null, body = null
 where reply.begun_at < now() - %(keep_s)s * interval '1 second'
    or (reply.finished_at is null and reply.begun_at < now() - %(runs_s)s * interval '1 second')
returning begun_at

-- name: find
-- What an earlier call with this key has answered.
select request_hash, status, body from bridge.reply
 where key_id = %(key_id)s and route = %(route)s and idempotency_key = %(idempotency_key)s

-- name: finish
-- The answer of the call that began then, unless another has taken its place.
update bridge.reply set finished_at = now(), status = %(status)s, body = %(body)s
 where key_id = %(key_id)s and route = %(route)s and idempotency_key = %(idempotency_key)s and begun_at = %(begun_at)s
   and finished_at is null

-- name: forget
-- A call that failed: its key can be used again.
delete from bridge.reply
 where key_id = %(key_id)s and route = %(route)s and idempotency_key = %(idempotency_key)s and begun_at = %(begun_at)s
   and finished_at is null
