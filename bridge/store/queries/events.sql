-- Events: stored once, numbered without a gap, fanned out to the endpoints in the same transaction.

-- name: append
-- Stores drafts (a JSON array) whose instance is still owned as they say; returns one row for each of those, in their order.
-- Locks are taken in this order everywhere: the turn of all writers, instances by key, lanes by endpoint and key, then the
-- rest. The turn is held until the commit: positions become visible in the order in which they are given.
with turn as materialized (
    select pg_advisory_xact_lock(7318349394477056)
), draft as materialized (
    select * from json_to_recordset(%(drafts)s::json) as d (
        ord int, instance text, owner text, epoch bigint,
        id text, type text, name text, chat text, dedup_key text, head text, tail text,
        message_chat text, sender text, message_id text, from_me boolean, kind text, text text,
        status text, at double precision,
        changed_ids text[], changed_to text, changed_at double precision,
        command text, command_state text, command_message_id text, command_error text
    )
), held as materialized (
    select i.key, i.owner, i.epoch, i.last_seq
    from turn
    cross join bridge.instance i
    where i.key = any (array(select distinct instance from draft))
    order by i.key
    for no key update of i
), ours as materialized (
    select d.*, h.last_seq, old.id as old_id, old.seq as old_seq,
           row_number() over (partition by d.instance, d.dedup_key order by d.ord) as nth
    from draft d
    join held h on h.key = d.instance and h.owner = d.owner and h.epoch = d.epoch
    left join lateral (
        select e.id, e.seq from bridge.event e
        where e.instance_key = d.instance and e.dedup_key = d.dedup_key
        limit 1
    ) old on true
), fresh as materialized (
    select o.*, o.last_seq + row_number() over (partition by o.instance order by o.ord) as seq
    from ours o
    where o.old_id is null and o.nth = 1
), raised as (
    update bridge.instance i
    set last_seq = f.seq, last_event_at = now()
    from (select instance, max(seq) as seq from fresh group by instance) f
    where i.key = f.instance
), stored as (
    insert into bridge.event (id, instance_key, seq, type, chat, dedup_key, body, owner, epoch)
    select id, instance, seq, type, chat, dedup_key, head || seq || tail, owner, epoch
    from fresh
    order by ord
), target as materialized (
    select f.id, f.seq, f.ord, e.id as endpoint_id,
           case e.ordering
               when 'chat' then f.instance || ':' || f.chat
               when 'instance' then f.instance
               else f.instance || '#' || f.id
           end as lane_key
    from fresh f
    join bridge.endpoint e on e.instance_key = f.instance or e.instance_key is null
    where e.state <> 'disabled' and (e.events = '{}' or f.type = any (e.events) or f.name = any (e.events))
), laned as (
    insert into bridge.lane as l (endpoint_id, key, pending)
    select endpoint_id, lane_key, count(*)
    from target
    group by endpoint_id, lane_key
    order by endpoint_id, lane_key
    on conflict (endpoint_id, key) do update set pending = l.pending + excluded.pending
), delivered as (
    insert into bridge.delivery (event_id, endpoint_id, lane_key, seq)
    select id, endpoint_id, lane_key, seq
    from target
    order by ord
), finished as (  -- an outcome once; an unknown one may still become a known one
    update bridge.command c
    set state = f.command_state, message_id = f.command_message_id, finished_at = now(),
        result = case when f.command_error is not null then jsonb_build_object('error', f.command_error) end
    from fresh f
    where c.id = f.command
      and (c.state in ('queued', 'running') or (c.state = 'unknown' and f.command_state <> 'unknown'))
), change as materialized (
    select f.instance, c.id as message_id, max(bridge.status_rank(f.changed_to)) as rank,
           jsonb_object_agg(f.changed_to, f.changed_at) as status_at
    from fresh f cross join unnest(f.changed_ids) as c (id)
    group by f.instance, c.id
), message as materialized (
    select distinct on (f.instance, f.message_id, f.message_chat, f.sender)
           f.*, greatest(bridge.status_rank(f.status), c.rank) as rank, coalesce(c.status_at, '{}') as status_at
    from fresh f
    left join change c on f.from_me and c.instance = f.instance and c.message_id = f.message_id
    where f.message_id is not null
    order by f.instance, f.message_id, f.message_chat, f.sender, f.text is null, f.ord
), written as (
    insert into bridge.message as m
        (instance_key, chat, sender, message_id, from_me, kind, text, status, at, owner, epoch, status_at)
    select instance, message_chat, sender, message_id, from_me, kind, text, bridge.status_name(rank),
           to_timestamp(at), owner, epoch, status_at
    from message
    on conflict (instance_key, message_id, chat, sender) do update set
        kind = case when m.text is null then excluded.kind else m.kind end,
        text = coalesce(m.text, excluded.text),
        status = bridge.status_name(greatest(bridge.status_rank(m.status), bridge.status_rank(excluded.status)))
), moved as (
    update bridge.message m
    set status = bridge.status_name(c.rank), status_at = c.status_at || m.status_at
    from change c
    cross join lateral (  -- with a limit, so that it is looked up by its key whatever the statistics say
        select old.instance_key, old.message_id, old.chat, old.sender from bridge.message old
        where old.instance_key = c.instance and old.message_id = c.message_id and old.from_me
          and bridge.status_rank(old.status) < c.rank
        limit 10
    ) old
    where m.instance_key = old.instance_key and m.message_id = old.message_id and m.chat = old.chat
      and m.sender = old.sender
      and not exists (select from message n where n.instance = c.instance and n.message_id = c.message_id)
)
select o.ord, coalesce(f.id, o.old_id, first.id), coalesce(f.seq, o.old_seq, first.seq), f.id is not null,
       exists (select from target)
from ours o
left join fresh f on f.ord = o.ord
left join fresh first on f.ord is null and first.instance = o.instance and first.dedup_key = o.dedup_key
order by o.ord

-- name: after
-- One page of an instance's events, oldest first; types are canonical ones, an empty list means all.
select id, seq, type, body, received_at
from bridge.event
where instance_key = %(instance)s and seq > %(seq)s and (%(types)s::text[] = '{}' or type = any (%(types)s::text[]))
order by seq
limit %(limit)s
