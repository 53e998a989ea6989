-- Deliveries: claimed lane by lane, attempted by the dispatcher, settled in batches.
-- Claims and settlements commit asynchronously: what a crash of PostgreSQL takes back is attempted again under the same id.

-- name: claim
-- Leases due lanes, a bounded number of each endpoint, and returns the first deliveries of each with what a POST needs.
-- Locked rows are updated where they lie. A lane that somebody wrote to since our snapshot, in which its deliveries would
-- look as they did before, is not found there: it stays due, and is claimed after the wake of whoever wrote to it.
with free as materialized (
    select e.id, e.url, e.secret, e.headers, e.timeout_s, e.max_age_s, e.failing_since, coalesce(b.free, %(free)s) as free,
           coalesce(b.replays, %(replays)s) as replays,
           case when e.old_secret_until > now() then e.old_secret end as old_secret
    from bridge.endpoint e
    left join unnest(%(ids)s::text[], %(frees)s::int[], %(busy_replays)s::int[]) as b (id, free, replays) on b.id = e.id
    where e.state = 'active' and coalesce(b.free, %(free)s) + coalesce(b.replays, %(replays)s) > 0
), due as materialized (
    select l.place
    from free f
    cross join lateral (
        select l.ctid as place
        from bridge.lane l
        where l.endpoint_id = f.id and not l.replay and l.next_at <= now()
          and (l.claimed_until is null or l.claimed_until <= now())
        order by l.next_at
        limit f.free
        for no key update skip locked
    ) l
), due_again as materialized (  -- replays: beside the live lanes, in places of their own
    select l.place
    from free f
    cross join lateral (
        select l.ctid as place
        from bridge.lane l
        where l.endpoint_id = f.id and l.replay and l.next_at <= now()
          and (l.claimed_until is null or l.claimed_until <= now())
        order by l.next_at
        limit f.replays
        for no key update skip locked
    ) l
), claimed as (
    update bridge.lane l
    set claimed_by = %(node)s, claimed_until = now() + make_interval(secs => %(lease_s)s)
    where l.ctid = any (array(select place from due union all select place from due_again))
    returning l.endpoint_id, l.key
)
select c.endpoint_id, c.key, f.url, f.secret, f.old_secret, f.headers, f.timeout_s, f.max_age_s,
       extract(epoch from f.failing_since)::float8,
       d.event_id, e.instance_key, d.attempts, extract(epoch from d.created_at)::float8,
       extract(epoch from d.first_failed_at)::float8, e.body, d.replay, set_config('synchronous_commit', 'off', true)
from claimed c
join free f on f.id = c.endpoint_id
left join lateral (
    select d.event_id, d.seq, d.attempts, d.created_at, d.first_failed_at, d.replay
    from bridge.delivery d
    where d.endpoint_id = c.endpoint_id and d.lane_key = c.key and d.state = 'pending'
    order by d.seq
    limit %(per_lane)s
) d on true
left join bridge.event e on e.id = d.event_id
order by c.endpoint_id, c.key, d.seq

-- name: settle
-- Records attempts (a JSON array) and takes them off their lanes; `lanes` says which of those are given back, and how long
-- they wait. A lane with nothing left is gone. A lane whose lease another node has now is counted, but not given back.
with result as materialized (
    select * from json_to_recordset(%(results)s::json) as r (
        endpoint_id text, lane_key text, event_id text, fate text, status int, error text, wait_s double precision,
        duration_ms int, answer text
    )
), given as materialized (
    select * from json_to_recordset(%(lanes)s::json) as g (
        endpoint_id text, key text, release boolean, wait_s double precision
    )
), held as materialized (
    select l.endpoint_id, l.key, l.pending, l.claimed_by, g.release, g.wait_s
    from (select * from given order by endpoint_id, key) g
    cross join lateral (  -- with a limit, so that it is looked up, and locked, one by one and in order
        select l.endpoint_id, l.key, l.pending, l.claimed_by
        from bridge.lane l
        where l.endpoint_id = g.endpoint_id and l.key = g.key
        limit 1
        for no key update
    ) l
), recorded as (
    update bridge.delivery d
    set attempts = d.attempts + 1,
        last_status = r.status,
        last_error = r.error,
        duration_ms = r.duration_ms,
        answer = r.answer,
        state = case when r.fate in ('delivered', 'dead') then r.fate else 'pending' end,
        finished_at = case when r.fate in ('delivered', 'dead') then now() end,
        first_failed_at = case when r.fate = 'delivered' then d.first_failed_at
                               else coalesce(d.first_failed_at, now()) end,
        lane_key = case when r.fate = 'parked' then r.lane_key || '!' || r.event_id else d.lane_key end
    from result r
    join held h on h.endpoint_id = r.endpoint_id and h.key = r.lane_key
    where d.event_id = r.event_id and d.endpoint_id = r.endpoint_id and d.lane_key = r.lane_key and d.state = 'pending'
    returning d.endpoint_id, r.lane_key, d.lane_key as now_in, d.event_id, d.attempts, r.fate, r.wait_s,
              r.status, r.error, r.duration_ms, r.answer
), failed as (
    insert into bridge.attempt (endpoint_id, event_id, number, status, error, duration_ms, answer)
    select endpoint_id, event_id, attempts, status, error, duration_ms, answer
    from recorded
    where fate <> 'delivered'
), parked as (
    insert into bridge.lane (endpoint_id, key, pending, next_at, replay)
    select endpoint_id, now_in, 1, now() + make_interval(secs => coalesce(wait_s, 0)), starts_with(now_in, 'rpl_')
    from recorded
    where fate = 'parked'
), count as (
    select h.endpoint_id, h.key, h.pending - count(r.fate) filter (where r.fate <> 'retry') as pending,
           coalesce(h.release and h.claimed_by = %(node)s, false) as release, coalesce(h.wait_s, 0) as wait_s
    from held h
    left join recorded r on r.endpoint_id = h.endpoint_id and r.lane_key = h.key
    group by h.endpoint_id, h.key, h.pending, h.release, h.claimed_by, h.wait_s
), emptied as (
    delete from bridge.lane l
    using count c
    where l.endpoint_id = c.endpoint_id and l.key = c.key and c.release and c.pending <= 0
), kept as (
    update bridge.lane l
    set pending = greatest(c.pending, 0),
        next_at = case when c.release then now() + make_interval(secs => c.wait_s) else l.next_at end,
        claimed_by = case when not c.release then l.claimed_by end,
        claimed_until = case when not c.release then l.claimed_until end
    from count c
    where l.endpoint_id = c.endpoint_id and l.key = c.key and (not c.release or c.pending > 0)
)
select set_config('synchronous_commit', 'off', true)

-- name: release
-- Frees the lanes of this node except those that it works on; and, where it is the only one, those of all others.
update bridge.lane l set claimed_by = null, claimed_until = null
where (%(alone)s and l.claimed_by <> %(node)s) or (l.claimed_by = %(node)s and not exists (
    select from unnest(%(endpoints)s::text[], %(keys)s::text[]) as k (endpoint_id, key)
    where k.endpoint_id = l.endpoint_id and k.key = l.key
))

-- name: hasten
-- Makes lanes of an endpoint that is well again due now: those named, or all that wait.
with held as (
    select endpoint_id, key from bridge.lane
    where endpoint_id = %(endpoint)s and next_at > now() and (%(keys)s::text[] is null or key = any (%(keys)s::text[]))
    order by endpoint_id, key
    for no key update
)
update bridge.lane l set next_at = now()
from held h where l.endpoint_id = h.endpoint_id and l.key = h.key

-- name: recount
-- Puts the counters of claimed lanes right that turned out to be empty, and gives them back.
with held as materialized (
    select l.endpoint_id, l.key from bridge.lane l
    join unnest(%(endpoints)s::text[], %(keys)s::text[]) as n (endpoint_id, key)
      on l.endpoint_id = n.endpoint_id and l.key = n.key
    where l.claimed_by = %(node)s
    order by l.endpoint_id, l.key
    for no key update of l
)
select endpoint_id, key from held

-- name: recount_locked
-- The second half of a recount: a new statement, so that it sees what was committed before the locks were granted.
with counted as (
    select n.endpoint_id, n.key, (
        select count(*) from bridge.delivery d
        where d.endpoint_id = n.endpoint_id and d.lane_key = n.key and d.state = 'pending'
    ) as pending
    from unnest(%(endpoints)s::text[], %(keys)s::text[]) as n (endpoint_id, key)
), emptied as (
    delete from bridge.lane l using counted c
    where l.endpoint_id = c.endpoint_id and l.key = c.key and c.pending = 0
)
update bridge.lane l set pending = c.pending, claimed_by = null, claimed_until = null
from counted c where l.endpoint_id = c.endpoint_id and l.key = c.key and c.pending > 0

-- name: backlog
-- What waits, for each endpoint: for health and metrics.
select l.endpoint_id, sum(l.pending)::bigint, count(*)::bigint, (
           select extract(epoch from now() - min(d.created_at))::float8 from bridge.delivery d
           where d.endpoint_id = l.endpoint_id and d.state = 'pending'
       )
from bridge.lane l
group by l.endpoint_id
order by l.endpoint_id

-- name: sweep
-- Removes lanes and open deliveries whose endpoint is gone.
with lanes as (
    delete from bridge.lane l where not exists (select from bridge.endpoint e where e.id = l.endpoint_id)
)
delete from bridge.delivery d
where d.state = 'pending' and not exists (select from bridge.endpoint e where e.id = d.endpoint_id)

-- name: prune
-- Forgets a batch of deliveries that arrived; ids sort by time, so `before` keeps the search within the old ones. Found by
-- place, for a join would read the whole table for each batch; asked for their state again, for a replay may have come between.
delete from bridge.delivery
where ctid = any (array(
    select ctid from bridge.delivery
    where event_id < %(before)s and state = 'delivered' and finished_at < now() - make_interval(secs => %(older_than_s)s)
    order by event_id
    limit %(limit)s
)) and state = 'delivered'

-- name: page
-- The newest deliveries of an endpoint in a state, or of all states, with their attempts that failed. `failed` picks what
-- was tried and is to be tried again.
select d.event_id, d.lane_key, d.seq, d.state, d.attempts, d.last_status, d.last_error, d.duration_ms, d.answer,
       d.created_at, d.finished_at, case when d.state = 'pending' then l.next_at end as next_at, d.replay, a.history
from (
    select * from bridge.delivery d
    where d.endpoint_id = %(endpoint)s
      and (%(state)s::text is null or d.state = case %(state)s when 'failed' then 'pending' else %(state)s end)
      and (%(state)s::text is distinct from 'failed' or d.attempts > 0)
      and (%(before)s::text is null or d.event_id < %(before)s)
    order by d.event_id desc
    limit %(limit)s
) d
left join bridge.lane l on l.endpoint_id = d.endpoint_id and l.key = d.lane_key
left join lateral (
    select json_agg(json_build_object(
        'number', a.number, 'at', to_json(a.at), 'status', a.status, 'error', a.error, 'duration_ms', a.duration_ms,
        'answer', a.answer) order by a.at) as history
    from bridge.attempt a where a.endpoint_id = d.endpoint_id and a.event_id = d.event_id
) a on true
order by d.event_id desc

-- name: hurry
-- Makes the lane of one pending delivery due now; no row when it is not pending.
update bridge.lane l set next_at = least(l.next_at, now())
from bridge.delivery d
where d.event_id = %(event)s and d.endpoint_id = %(endpoint)s and d.state = 'pending'
  and l.endpoint_id = d.endpoint_id and l.key = d.lane_key

-- name: state_of
-- How a delivery is.
select state from bridge.delivery where event_id = %(event)s and endpoint_id = %(endpoint)s

-- name: prune_attempts
-- Forgets what failed long ago.
delete from bridge.attempt where ctid = any (array(
    select ctid from bridge.attempt where at < now() - make_interval(secs => %(older_than_s)s) limit %(limit)s
))
