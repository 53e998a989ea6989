-- name: count
-- Instances, endpoints, and commands without an outcome, by state.
select 'instance', state, count(*) from bridge.instance group by state
union all
select 'endpoint', state, count(*) from bridge.endpoint group by state
union all
select 'command', state, count(*) from bridge.command where state in ('queued', 'running') group by state

-- name: lags
-- What waits for each endpoint. Within a lane the first delivery is the oldest, so that each lane costs one look-up.
select l.endpoint_id, sum(l.pending)::bigint,
       coalesce(greatest(max(extract(epoch from now() - d.created_at)), 0), 0)::float8
from bridge.lane l
left join lateral (
    select d.created_at from bridge.delivery d
    where d.endpoint_id = l.endpoint_id and d.lane_key = l.key and d.state = 'pending'
    order by d.seq limit 1
) d on true
where l.pending > 0
group by l.endpoint_id
