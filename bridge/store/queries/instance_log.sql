-- name: page
-- What happened to an instance itself, newest first, among its events with numbers from `low` to `high`: a window,
-- because its messages stand between them and are many more.
select seq, type, body, received_at
from bridge.event
where instance_key = %(key)s and seq between %(low)s and %(high)s and type = any(%(types)s)
order by seq desc
limit %(limit)s
