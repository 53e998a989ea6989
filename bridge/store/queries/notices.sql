-- Notices: events that the bridge itself emits about an endpoint.

-- name: announce
-- Stores an event of an instance, or of `*` when it concerns all of them, and fans it out to the other endpoints that want it.
-- It takes the turn of all writers, as every statement does that stores events.
with turn as materialized (
    select pg_advisory_xact_lock(7318349394477056)
), numbered as (
    update bridge.instance i set last_seq = i.last_seq + 1, last_event_at = now()
    from turn
    where i.key = %(instance)s
    returning i.last_seq as seq
), counted as (
    insert into bridge.counter as c (name, value)
    select '*', 1 from turn where %(instance)s = '*'
    on conflict (name) do update set value = c.value + 1
    returning value as seq
), number as materialized (
    select seq from numbered union all select seq from counted
), stored as (
    insert into bridge.event (id, instance_key, seq, type, dedup_key, body, owner, epoch)
    select %(id)s, %(instance)s, n.seq, %(type)s, %(id)s, %(head)s || n.seq || %(tail)s, 'bridge', 0
    from number n
), target as materialized (
    select e.id as endpoint_id, n.seq, case e.ordering
               when 'chat' then %(instance)s || ':'
               when 'instance' then %(instance)s
               else %(instance)s || '#' || %(id)s
           end as lane_key
    from number n
    join bridge.endpoint e on e.instance_key = %(instance)s or e.instance_key is null
    where e.state <> 'disabled' and e.id <> %(about)s
      and (e.events = '{}' or %(type)s = any (e.events) or %(name)s = any (e.events))
), laned as (
    insert into bridge.lane as l (endpoint_id, key, pending)
    select endpoint_id, lane_key, 1 from target order by endpoint_id, lane_key
    on conflict (endpoint_id, key) do update set pending = l.pending + 1
)
insert into bridge.delivery (event_id, endpoint_id, lane_key, seq)
select %(id)s, endpoint_id, lane_key, seq from target
