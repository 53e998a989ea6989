-- name: find
-- The newest message of an instance with this id, for quoting it.
select chat, sender, message_id, from_me, kind, text, status, at
from bridge.message
where instance_key = %(instance_key)s and message_id = %(message_id)s
order by at desc
limit 1
