-- The feed: events in the order in which they were committed, for readers that come back with a cursor.

-- name: read
-- A page behind a position. A bounded span is looked at, so that a reader of a quiet instance costs no scan of everything;
-- `seen` and `last` tell how many were looked at and where that ended.
with span as materialized (
    select e.position, e.instance_key, e.type
    from bridge.event e
    where e.position > %(after)s
    order by e.position
    limit %(span)s
), wanted as materialized (
    select s.position
    from span s
    where (%(instances)s::text[] is null or s.instance_key = any (%(instances)s::text[]))
      and (%(types)s::text[] = '{}' or s.type = any (%(types)s::text[]))
    order by s.position
    limit %(limit)s
)
select m.seen, m.last, e.position, e.body
from (select count(*) as seen, max(position) as last from span) m
left join wanted w on true
left join bridge.event e on e.position = w.position
order by e.position

-- name: head
-- The position of the newest event, 0 when there is none.
select coalesce(max(position), 0) from bridge.event

-- name: position_of
-- The position of an instance's last event up to `seq`, 0 when there is none.
select coalesce((
    select position from bridge.event where instance_key = %(instance)s and seq <= %(seq)s order by seq desc limit 1
), 0)
