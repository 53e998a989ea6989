-- Endpoints: where events go.

-- name: upsert
-- Makes an endpoint, or changes what is given of one that exists; one that is paused stays so.
insert into bridge.endpoint (id, instance_key, url, events, secret, ordering, timeout_s, max_age_s)
values (%(id)s, %(instance_key)s, %(url)s, %(events)s, %(secret)s, %(ordering)s, %(timeout_s)s, %(max_age_s)s)
on conflict (id) do update set
    instance_key = excluded.instance_key, url = excluded.url, events = excluded.events, secret = excluded.secret,
    ordering = excluded.ordering, timeout_s = excluded.timeout_s, max_age_s = excluded.max_age_s
returning id, instance_key, url, events, secret, ordering, timeout_s, max_age_s, state, reason, created_at

-- name: get
-- One endpoint.
select id, instance_key, url, events, secret, ordering, timeout_s, max_age_s, state, reason, created_at
from bridge.endpoint where id = %(id)s

-- name: list
-- The endpoints of an instance and of all instances; null: every endpoint.
select id, instance_key, url, events, secret, ordering, timeout_s, max_age_s, state, reason, created_at
from bridge.endpoint
where %(instance_key)s::text is null or instance_key = %(instance_key)s or instance_key is null
order by created_at, id

-- name: rotate
-- Gives an endpoint a new secret; the old one signs beside it for a while.
update bridge.endpoint
set old_secret = secret, old_secret_until = now() + make_interval(secs => %(keep_s)s), secret = %(secret)s
where id = %(id)s

-- name: set_state
-- Pauses, resumes or disables an endpoint.
update bridge.endpoint set state = %(state)s, reason = %(reason)s where id = %(id)s

-- name: remove
-- Removes an endpoint with its lanes and what was still to be delivered to it.
with gone as (
    delete from bridge.endpoint where id = %(id)s returning id
), lanes as (
    delete from bridge.lane using gone where endpoint_id = gone.id
), deliveries as (
    delete from bridge.delivery using gone where endpoint_id = gone.id and state = 'pending'
)
select id from gone
