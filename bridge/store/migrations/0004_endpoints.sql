-- Endpoints: secrets and headers are sealed under the main key, so their length says nothing any more; attempts that failed
-- are kept for people to look at.
alter table bridge.endpoint
    drop constraint endpoint_secret_check,
    drop constraint endpoint_old_secret_check,
    add column headers bytea,
    add column failing_since timestamptz;
comment on column bridge.endpoint.secret is 'Sealed by the program: magic, key id, nonce, AES-256-GCM. Plain until the first start.';
comment on column bridge.endpoint.headers is 'Headers of its owner, a JSON object, sealed in the same way.';
comment on column bridge.endpoint.failing_since is
    'Since when every attempt has failed; null while it is well. Written after a minute of nothing but failures, not at each.';

-- What a delivery's last attempt took and got. Of an attempt that failed there is a row in bridge.attempt as well, while one
-- that succeeds, as nearly all do, costs no row of its own.
alter table bridge.delivery
    add column duration_ms integer,
    add column answer text;
comment on column bridge.delivery.answer is 'The first 2 kB of the last answer''s body.';

create table bridge.attempt (
    endpoint_id text not null,
    event_id    text not null,
    number      integer not null,
    at          timestamptz not null default now(),
    status      integer,
    error       text,
    duration_ms integer,
    answer      text
);
comment on table bridge.attempt is 'Attempts that failed. The one that succeeded is the delivery''s own row.';
create index attempt_delivery on bridge.attempt (endpoint_id, event_id);
create index attempt_latest on bridge.attempt (endpoint_id, at desc);
create index attempt_old on bridge.attempt using brin (at);
