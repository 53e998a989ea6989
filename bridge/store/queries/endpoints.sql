-- Endpoints: where events go. Secrets and headers are sealed before they come here.

-- name: upsert
-- Makes an endpoint, or changes what is given of one that exists; one that is paused stays so.
insert into bridge.endpoint (id, instance_key, url, events, secret, headers, ordering, timeout_s, max_age_s)
values (%(id)s, %(instance_key)s, %(url)s, %(events)s, %(secret)s, %(headers)s, %(ordering)s, %(timeout_s)s, %(max_age_s)s)
on conflict (id) do update set
    instance_key = excluded.instance_key, url = excluded.url, events = excluded.events, secret = excluded.secret,
    headers = excluded.headers, ordering = excluded.ordering, timeout_s = excluded.timeout_s, max_age_s = excluded.max_age_s
returning id, instance_key, url, events, secret, old_secret, old_secret_until, headers, ordering, timeout_s, max_age_s,
          state, reason, failing_since, created_at

-- name: insert
-- Makes an endpoint unless there is one with this id.
insert into bridge.endpoint (id, instance_key, url, events, secret, headers, ordering, timeout_s, max_age_s)
values (%(id)s, %(instance_key)s, %(url)s, %(events)s, %(secret)s, %(headers)s, %(ordering)s, %(timeout_s)s, %(max_age_s)s)
on conflict (id) do nothing

-- name: change
-- Changes what is given of an endpoint; null leaves a column as it is, `every_instance` and `no_headers` set theirs to null.
update bridge.endpoint set
    instance_key = case when %(every_instance)s then null else coalesce(%(instance_key)s, instance_key) end,
    url = coalesce(%(url)s, url),
    events = coalesce(%(events)s::text[], events),
    headers = case when %(no_headers)s then null else coalesce(%(headers)s, headers) end,
    ordering = coalesce(%(ordering)s, ordering),
    timeout_s = coalesce(%(timeout_s)s, timeout_s),
    max_age_s = coalesce(%(max_age_s)s, max_age_s)
where id = %(id)s
returning id, instance_key, url, events, secret, old_secret, old_secret_until, headers, ordering, timeout_s, max_age_s,
          state, reason, failing_since, created_at

-- name: get
-- One endpoint.
select id, instance_key, url, events, secret, old_secret, old_secret_until, headers, ordering, timeout_s, max_age_s,
       state, reason, failing_since, created_at
from bridge.endpoint where id = %(id)s

-- name: list
-- The endpoints of an instance and of all instances; null: every endpoint.
select id, instance_key, url, events, secret, old_secret, old_secret_until, headers, ordering, timeout_s, max_age_s,
       state, reason, failing_since, created_at
from bridge.endpoint
where %(instance_key)s::text is null or instance_key = %(instance_key)s or instance_key is null
order by created_at, id

-- name: page
-- A page of endpoints, oldest first; `instance_key` picks those that get events of one instance, `only` those that belong
-- to some.
select id, instance_key, url, events, secret, old_secret, old_secret_until, headers, ordering, timeout_s, max_age_s,
       state, reason, failing_since, created_at
from bridge.endpoint
where (%(instance_key)s::text is null or instance_key = %(instance_key)s or instance_key is null)
  and (%(only)s::text[] is null or instance_key = any (%(only)s::text[]))
  and (%(after_at)s::timestamptz is null or (created_at, id) > (%(after_at)s, %(after_id)s))
order by created_at, id
limit %(limit)s

-- name: lag
-- How far behind endpoints are. The oldest is looked for among the heads of the lanes, one look-up each.
select e.id, coalesce(l.pending, 0)::bigint, h.oldest, d.dead, a.at, a.error
from unnest(%(ids)s::text[]) as e (id)
left join lateral (
    select sum(l.pending) as pending from bridge.lane l where l.endpoint_id = e.id
) l on true
left join lateral (
    select min(head.created_at) as oldest
    from bridge.lane l
    cross join lateral (
        select d.created_at from bridge.delivery d
        where d.endpoint_id = l.endpoint_id and d.lane_key = l.key and d.state = 'pending'
        order by d.seq
        limit 1
    ) head
    where l.endpoint_id = e.id
) h on true
left join lateral (
    select count(*) as dead
    from (select from bridge.delivery d where d.endpoint_id = e.id and d.state = 'dead' limit %(dead_max)s) d
) d on true
left join lateral (
    select a.at, a.error from bridge.attempt a where a.endpoint_id = e.id order by a.at desc limit 1
) a on true

-- name: rotate
-- Gives an endpoint a new secret; the old one signs beside it for a while.
update bridge.endpoint
set old_secret = secret, old_secret_until = now() + make_interval(secs => %(keep_s)s), secret = %(secret)s
where id = %(id)s
returning id, instance_key, url, events, secret, old_secret, old_secret_until, headers, ordering, timeout_s, max_age_s,
          state, reason, failing_since, created_at

-- name: set_state
-- Pauses, resumes or disables an endpoint; one that is made active begins without a past.
update bridge.endpoint
set state = %(state)s, reason = %(reason)s,
    failing_since = case when %(state)s <> 'active' then failing_since end
where id = %(id)s
returning id, instance_key, url, events, secret, old_secret, old_secret_until, headers, ordering, timeout_s, max_age_s,
          state, reason, failing_since, created_at

-- name: failing
-- Notes since when an endpoint has only failed, or that it is well again (null).
update bridge.endpoint set failing_since = to_timestamp(%(since)s::float8) where id = %(id)s

-- name: sealed
-- All that is sealed, to be sealed again under another key.
select id, secret, old_secret, headers, state, reason from bridge.endpoint order by id for no key update

-- name: reseal
-- Puts an endpoint's secrets back, sealed anew.
update bridge.endpoint set secret = %(secret)s, old_secret = %(old_secret)s, headers = %(headers)s where id = %(id)s

-- name: remove
-- Removes an endpoint with its lanes and what was still to be delivered to it.
with gone as (
    delete from bridge.endpoint where id = %(id)s returning id
), lanes as (
    delete from bridge.lane using gone where endpoint_id = gone.id
), deliveries as (
    delete from bridge.delivery using gone where endpoint_id = gone.id and state = 'pending'
), attempts as (
    delete from bridge.attempt using gone where endpoint_id = gone.id
)
select id from gone
