-- The bridge's own tables. whatsmeow keeps its tables in schema `whatsapp`, which only the engine touches.
-- Rows that a session writes carry the owner and the epoch under which they were written.
create schema if not exists bridge;
create schema if not exists whatsapp;

create table bridge.setting (
    name  text primary key,
    value bytea not null
);
comment on table bridge.setting is 'Values made once for this installation, such as the default endpoint''s secret.';

create table bridge.api_key (
    id         text primary key check (id like 'key\_%'),
    name       text not null,
    role       text not null default 'admin' check (role in ('admin', 'operator', 'sender', 'viewer')),
    hash       bytea not null unique check (length(hash) = 32),
    created_at timestamptz not null default now(),
    expires_at timestamptz
);
comment on column bridge.api_key.hash is 'SHA-256 of the key: 256 random bits need no salt.';

create table bridge.instance (
    key           text primary key check (key ~ '^[0-9a-f]{32}$'),
    name          text,
    external_id   text,
    metadata      jsonb not null default '{}',
    desired       text not null default 'paused' check (desired in ('running', 'paused')),
    state         text not null default 'created' check (state in (
                      'created', 'connecting', 'awaiting_pairing', 'online', 'reconnecting', 'stale',
                      'conflict', 'restricted', 'paused', 'logged_out', 'failed')),
    reason        text,
    since         timestamptz not null default now(),
    next_retry_at timestamptz,
    needs         text not null default 'none' check (needs in ('none', 'scan_qr', 'enter_code', 'operator')),
    jid           text,
    lid           text,
    push_name     text,
    last_seq      bigint not null default 0 check (last_seq >= 0),
    last_event_at timestamptz,
    owner         text,
    epoch         bigint not null default 0,
    created_at    timestamptz not null default now()
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
comment on table bridge.instance is
    'Each commit of events updates its row: half of a page is left free, and no column that changes then is indexed, so that '
    'such an update is heap-only.';
comment on column bridge.instance.desired is 'What should run after a restart: never derived from what was connected.';
comment on column bridge.instance.jid is 'The paired device, user:device@s.whatsapp.net; null when unpaired.';
comment on column bridge.instance.last_seq is 'seq of the newest event: raised in the transaction that stores it, so seq has no gap.';
create unique index instance_jid on bridge.instance (jid) where jid is not null;
create index instance_listed on bridge.instance (created_at, key);
create index instance_external_id on bridge.instance (external_id) where external_id is not null;

create table bridge.event (
    id           text primary key check (id like 'evt\_%'),
    instance_key text not null,
    seq          bigint not null check (seq > 0),
    type         text not null,
    chat         text not null default '',
    dedup_key    text not null,
    body         text not null,
    owner        text not null,
    epoch        bigint not null,
    received_at  timestamptz not null default now(),
    unique (instance_key, seq),
    unique (instance_key, dedup_key)
);
comment on table bridge.event is 'What happened, once; body is the exact text that every endpoint gets. Outlives its instance.';
comment on column bridge.event.dedup_key is 'Chat, sender, id and kind of a message: a redelivered event has the same and is refused.';

-- A message's status only goes forward: failed and unknown are overtaken by any news from WhatsApp.
create function bridge.status_rank(status text) returns integer language sql immutable parallel safe
    return array_position(array['received', 'unknown', 'failed', 'sent', 'delivered', 'read', 'played'], status);
create function bridge.status_name(rank integer) returns text language sql immutable parallel safe
    return (array['received', 'unknown', 'failed', 'sent', 'delivered', 'read', 'played'])[rank];

create table bridge.message (
    instance_key text not null,
    chat         text not null,
    sender       text not null,
    message_id   text not null,
    from_me      boolean not null,
    kind         text not null,
    text         text,
    status       text not null check (status in ('received', 'sent', 'delivered', 'read', 'played', 'failed', 'unknown')),
    at           timestamptz not null,
    owner        text not null,
    epoch        bigint not null,
    primary key (instance_key, message_id, chat, sender)
);

create table bridge.command (
    id              text primary key check (id like 'cmd\_%'),
    instance_key    text not null references bridge.instance (key) on delete cascade,
    kind            text not null,
    body            jsonb not null,
    state           text not null check (state in ('queued', 'running', 'sent', 'failed', 'unknown')),
    idempotency_key text check (length(idempotency_key) between 1 and 255),
    request_hash    bytea,
    message_id      text,
    result          jsonb,
    owner           text,
    epoch           bigint not null default 0,
    created_at      timestamptz not null default now(),
    finished_at     timestamptz,
    check ((state in ('queued', 'running')) = (finished_at is null))
);
comment on column bridge.command.state is
    'running means that the engine may have it: after a crash such a command is unknown and is never sent again by itself.';
create unique index command_idempotency on bridge.command (instance_key, idempotency_key) where idempotency_key is not null;
create index command_open on bridge.command (instance_key, created_at) where state in ('queued', 'running');
create index command_finished on bridge.command (finished_at) where finished_at is not null;

create table bridge.endpoint (
    id               text primary key check (id like 'whk\_%'),
    instance_key     text,
    url              text not null,
    events           text[] not null default '{}',
    secret           bytea not null check (length(secret) between 24 and 64),
    old_secret       bytea check (length(old_secret) between 24 and 64),
    old_secret_until timestamptz,
    ordering         text not null default 'chat' check (ordering in ('chat', 'instance', 'none')),
    timeout_s        double precision not null default 10 check (timeout_s between 1 and 30),
    max_age_s        double precision not null default 259200 check (max_age_s between 60 and 604800),
    state            text not null default 'active' check (state in ('active', 'paused', 'disabled')),
    reason           text,
    created_at       timestamptz not null default now(),
    check ((old_secret is null) = (old_secret_until is null))
);
comment on column bridge.endpoint.instance_key is
    'Null: events of every instance. No foreign key: that its instance was deleted is still to be delivered.';
comment on column bridge.endpoint.events is 'Types or the original''s names; empty: all.';
comment on column bridge.endpoint.old_secret is 'During a rotation both secrets sign.';
comment on column bridge.endpoint.state is 'paused: deliveries are made and held; disabled: none are made.';
create index endpoint_instance on bridge.endpoint (instance_key);

-- Lanes and deliveries have no foreign keys: each row would cost two more look-ups, and a lock on its endpoint, on the way of
-- every event. They are only ever written beside their event; `deliveries.sweep` removes those of removed endpoints.
-- A lane's key and next_at alone are indexed, so that counting, claiming and releasing are heap-only updates.
create table bridge.lane (
    endpoint_id   text not null,
    key           text not null,
    pending       bigint not null check (pending >= 0),
    next_at       timestamptz not null default now(),
    claimed_by    text,
    claimed_until timestamptz,
    primary key (endpoint_id, key),
    check ((claimed_by is null) = (claimed_until is null))
) with (fillfactor = 60, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
comment on table bridge.lane is
    'One row per endpoint and order key (instance and chat) that has something to deliver. The lane, not the delivery, backs off.';
comment on column bridge.lane.pending is
    'Deliveries in it. Kept here because a row that was waited for is read anew, while a count of deliveries would be old.';
comment on column bridge.lane.claimed_until is 'A claim is a lease: the lane of a dispatcher that died is free again after it.';
create index lane_due on bridge.lane (endpoint_id, next_at);

create table bridge.delivery (
    event_id        text not null,
    endpoint_id     text not null,
    lane_key        text not null,
    seq             bigint not null,
    state           text not null default 'pending' check (state in ('pending', 'delivered', 'dead')),
    attempts        integer not null default 0,
    last_status     integer,
    last_error      text,
    created_at      timestamptz not null default now(),
    first_failed_at timestamptz,
    finished_at     timestamptz,
    primary key (event_id, endpoint_id),
    check ((state = 'pending') = (finished_at is null))
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 5000);
create index delivery_pending on bridge.delivery (endpoint_id, lane_key, seq) where state = 'pending';
create index delivery_dead on bridge.delivery (endpoint_id, finished_at) where state = 'dead';
