-- name: insert
-- A new command; no row when there is an earlier one with the same idempotency key.
-- Its commit need not wait for the disk where another of this server's will before anything happens that must be remembered.
insert into bridge.command (id, instance_key, kind, body, state, idempotency_key, request_hash, owner, epoch, send_at)
values (
    %(id)s, %(instance_key)s, %(kind)s, %(body)s, %(state)s, %(idempotency_key)s, %(request_hash)s, %(owner)s, %(epoch)s,
    %(send_at)s
)
on conflict (instance_key, idempotency_key) where idempotency_key is not null do nothing
returning
    created_at,
    set_config('synchronous_commit', case when %(durable)s then current_setting('synchronous_commit') else 'off' end, true)

-- name: get
-- One command.
select id, instance_key, kind, body, state, idempotency_key, request_hash, message_id, result, owner, epoch,
       created_at, finished_at, send_at
from bridge.command
where id = %(id)s

-- name: repeated
-- The command of an earlier request with the same idempotency key.
select id, instance_key, kind, body, state, idempotency_key, request_hash, message_id, result, owner, epoch,
       created_at, finished_at, send_at
from bridge.command
where instance_key = %(instance_key)s and idempotency_key = %(idempotency_key)s

-- name: start
-- The engine is about to have it: after a crash its outcome is unknown. As durable as an insert.
update bridge.command
set state = 'running', owner = %(owner)s, epoch = %(epoch)s
where id = %(id)s and state = 'queued'
returning set_config('synchronous_commit', case when %(durable)s then current_setting('synchronous_commit') else 'off' end, true)

-- name: finish
-- Its outcome, once; an unknown outcome may still become a known one.
update bridge.command
set state = %(state)s, message_id = %(message_id)s, result = %(result)s, finished_at = now()
where id = %(id)s and (state in ('queued', 'running') or (state = 'unknown' and %(state)s <> 'unknown'))
returning
    id, instance_key, kind, body, state, idempotency_key, request_hash, message_id, result, owner, epoch,
    created_at, finished_at, send_at

-- name: withdraw
-- A command that was refused before it began: its idempotency key can be used again.
delete from bridge.command where id = %(id)s and state in ('queued', 'running')

-- name: recover
-- What an earlier owner began becomes unknown; what it did not begin is returned as it is.
with lost as (
    update bridge.command
    set state = 'unknown', finished_at = now()
    where instance_key = %(instance_key)s and state = 'running'
    returning
        id, instance_key, kind, body, state, idempotency_key, request_hash, message_id, result, owner, epoch,
        created_at, finished_at, send_at
)
select * from lost
union all
select id, instance_key, kind, body, state, idempotency_key, request_hash, message_id, result, owner, epoch,
       created_at, finished_at, send_at
from bridge.command
where instance_key = %(instance_key)s and state = 'queued'
order by created_at, id

-- name: outbox
-- One page of an instance's sends that are not out: waiting ones and those that failed, oldest first, to the millisecond.
select id, instance_key, kind, body, state, idempotency_key, request_hash, message_id, result, owner, epoch,
       created_at, finished_at, send_at
from bridge.command
where instance_key = %(instance_key)s and id > %(after)s
  and (
      (state = 'queued' and %(queued)s and (send_at is null or send_at <= now()))
      or (state = 'queued' and %(scheduled)s and send_at > now())
      or (state = 'failed' and %(failed)s)
  )
order by id
limit %(limit)s
