-- Replays: which events an endpoint is to get again, put into lanes batch by batch.

-- name: insert
-- Makes a replay unless there is one with this id. A range ends with what there is now.
insert into bridge.replay (id, endpoint_id, request_hash, kind, instance_key, types, from_id, to_id, cursor, until_position)
select %(id)s, e.id, %(request_hash)s, %(kind)s, %(instance_key)s, coalesce(%(types)s::text[], e.events), %(from_id)s, %(to_id)s,
       coalesce(%(after)s::bigint, 0), coalesce(%(until)s::bigint, (select max(position) from bridge.event), 0)
from bridge.endpoint e
where e.id = %(endpoint)s
on conflict (id) do nothing

-- name: span_of_seq
-- Where a range of an instance's events lies: the position before its first one, and that of its last one. Positions of an
-- instance grow with its seq; asked for the least position, PostgreSQL would walk through those of all instances.
select (
    select position - 1 from bridge.event where instance_key = %(instance)s and seq >= %(low)s order by seq limit 1
), (
    select position from bridge.event where instance_key = %(instance)s and seq <= %(high)s order by seq desc limit 1
)

-- name: span_of_ids
-- A position before all events with these ids: ids are made just before positions, so a minute is more than enough.
select coalesce((select position - 1 from bridge.event where id >= %(low)s order by id limit 1), 9223372036854775807)

-- name: span_of_event
-- The position of one event.
select position from bridge.event where id = %(id)s

-- name: get
-- One replay, with what has become of it.
select r.id, r.endpoint_id, r.request_hash, r.kind, r.state, r.queued, r.cursor, r.until_position, r.created_at, r.ended_at,
       n.pending, n.delivered, n.dead
from bridge.replay r
left join lateral (
    select count(*) filter (where d.state = 'pending') as pending, count(*) filter (where d.state = 'delivered') as delivered,
           count(*) filter (where d.state = 'dead') as dead
    from bridge.delivery d where d.replay = r.id
) n on true
where r.id = %(id)s

-- name: list
-- The newest replays of an endpoint.
select r.id, r.endpoint_id, r.request_hash, r.kind, r.state, r.queued, r.cursor, r.until_position, r.created_at, r.ended_at,
       n.pending, n.delivered, n.dead
from bridge.replay r
left join lateral (
    select count(*) filter (where d.state = 'pending') as pending, count(*) filter (where d.state = 'delivered') as delivered,
           count(*) filter (where d.state = 'dead') as dead
    from bridge.delivery d where d.replay = r.id
) n on true
where r.endpoint_id = %(endpoint)s
order by r.created_at desc
limit %(limit)s

-- name: running
-- What is to be worked off, oldest first, with how much of it waits already (counted up to the bound).
select r.id, (
    select count(*) from (
        select from bridge.delivery d where d.replay = r.id and d.state = 'pending' limit %(bound)s
    ) d
)
from bridge.replay r
where r.state = 'running'
order by r.created_at

-- name: enqueue
-- Puts the next batch of a replay into its lanes: what is on its way already stays where it is. One statement, so that it is
-- done with its cursor or not at all.
with job as materialized (
    select r.*, e.ordering
    from bridge.replay r
    join bridge.endpoint e on e.id = r.endpoint_id
    where r.id = %(id)s and r.state = 'running'
    for no key update of r
), span as materialized (
    select e.id, e.instance_key, e.seq, e.chat, e.type, e.position
    from job j
    cross join lateral (
        select * from bridge.event e
        where j.kind = 'range' and e.position > j.cursor and e.position <= j.until_position
        order by e.position
        limit %(batch)s
    ) e
), dead as materialized (
    select e.id, e.instance_key, e.seq, e.chat, e.type, d.finished_at
    from job j
    cross join lateral (
        select * from bridge.delivery d
        where j.kind = 'dead' and d.endpoint_id = j.endpoint_id and d.state = 'dead' and d.finished_at <= j.created_at
        order by d.finished_at
        limit %(batch)s
    ) d
    left join bridge.event e on e.id = d.event_id
), wanted as (
    select s.id, s.instance_key, s.seq, s.chat
    from (select id, instance_key, seq, chat, type from span union all select id, instance_key, seq, chat, type from dead) s
    cross join job j
    where s.id >= j.from_id and s.id < j.to_id
      and (j.instance_key is null or s.instance_key = j.instance_key)
      and (j.types = '{}' or s.type = any (j.types) or (
          select e.body::json ->> 'event' from bridge.event e where e.id = s.id
      ) = any (j.types))
), opened as (
    insert into bridge.delivery as d (event_id, endpoint_id, lane_key, seq, replay)
    select w.id, j.endpoint_id, j.id || '~' || case j.ordering
               when 'chat' then w.instance_key || ':' || w.chat
               when 'instance' then w.instance_key
               else w.instance_key || '#' || w.id
           end, w.seq, j.id
    from wanted w
    cross join job j
    on conflict (event_id, endpoint_id) do update set
        state = 'pending', lane_key = excluded.lane_key, attempts = 0, last_status = null, last_error = null,
        created_at = now(), first_failed_at = null, finished_at = null, duration_ms = null, answer = null,
        replay = excluded.replay, earlier = d.state
        where d.state <> 'pending'
    returning d.endpoint_id, d.lane_key
), laned as (
    insert into bridge.lane as l (endpoint_id, key, pending, replay)
    select endpoint_id, lane_key, count(*), true
    from opened
    group by endpoint_id, lane_key
    order by endpoint_id, lane_key
    on conflict (endpoint_id, key) do update set pending = l.pending + excluded.pending
), looked as (
    select (select count(*) from span) + (select count(*) from dead) as seen, (select max(position) from span) as last
)
update bridge.replay r
set cursor = coalesce(k.last, r.cursor),
    queued = r.queued + (select count(*) from opened),
    state = case when k.seen < %(batch)s then 'queued' else r.state end,
    ended_at = case when k.seen < %(batch)s then now() end
from job j, looked k
where r.id = j.id
returning (select count(*) from opened), r.state

-- name: cancel
-- Ends a replay: what it has not delivered goes back to what it was before. An attempt that is on its way ends as it does.
with job as materialized (
    update bridge.replay r set state = 'cancelled', ended_at = now()
    where r.id = %(id)s and r.state <> 'cancelled'
    returning r.id, r.endpoint_id
), held as materialized (
    select l.endpoint_id, l.key
    from bridge.lane l
    join job j on j.endpoint_id = l.endpoint_id
    where l.replay and starts_with(l.key, j.id || '~')
    order by l.endpoint_id, l.key
    for update of l
), lanes as (
    delete from bridge.lane l using held h where l.endpoint_id = h.endpoint_id and l.key = h.key
), made as (
    delete from bridge.delivery d using job j where d.replay = j.id and d.state = 'pending' and d.earlier is null
)
update bridge.delivery d set state = d.earlier, finished_at = now()
from job j
where d.replay = j.id and d.state = 'pending' and d.earlier is not null

-- name: prune
-- Forgets replays that ended long ago.
delete from bridge.replay where ended_at < now() - make_interval(secs => %(older_than_s)s)
