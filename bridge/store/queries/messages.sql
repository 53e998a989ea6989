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

-- name: chats
-- The chats of an instance: when we first sent to each, when it was first heard of, and what we sent in the last minutes,
-- which is as long as a bucket of any profile remembers.
select chat,
       extract(epoch from min(at) filter (where from_me))::float8 as first_sent,
       extract(epoch from min(at) filter (where not from_me))::float8 as first_heard,
       array_agg(extract(epoch from at)::float8 order by at) filter (where from_me and at > now() - interval '5 minutes')
           as sent_lately
from bridge.message
where instance_key = %(instance_key)s
group by chat
