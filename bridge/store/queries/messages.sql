-- name: find
-- The newest message of an instance with this id.
select chat, sender, message_id, from_me, kind, text, status, at, status_at
from bridge.message
where instance_key = %(instance_key)s and message_id = %(message_id)s
order by at desc
limit 1

-- name: data
-- The body of the event by which a message came, to send it on.
select body
from bridge.event
where instance_key = %(instance_key)s
  and dedup_key = 'message|' || %(chat)s::text || '|' || %(sender)s::text || '|' || %(message_id)s::text
