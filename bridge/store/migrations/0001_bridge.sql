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
);
comment on column bridge.instance.desired is 'What should run after a restart: never derived from what was connected.';
comment on column bridge.instance.jid is 'The paired device, user:device@s.whatsapp.net; null when unpaired.';
comment on column bridge.instance.last_seq is 'seq of the newest event: raised in the transaction that stores it, so seq has no gap.';
create unique index instance_jid on bridge.instance (jid) where jid is not null;

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

create table bridge.endpoint (
    id           text primary key check (id like 'whk\_%'),
    instance_key text references bridge.instance (key) on delete cascade,
    url          text not null,
    events       text[] not null default '{}',
    secret       bytea not null check (length(secret) between 24 and 64),
    ordering     text not null default 'chat' check (ordering in ('chat', 'instance', 'none')),
    timeout_s    double precision not null default 10 check (timeout_s between 1 and 30),
    max_age_s    double precision not null default 259200 check (max_age_s between 60 and 604800),
    state        text not null default 'active' check (state in ('active', 'paused', 'disabled')),
    created_at   timestamptz not null default now()
);
comment on column bridge.endpoint.instance_key is 'Null: events of every instance.';
comment on column bridge.endpoint.events is 'Types or the original''s names; empty: all.';

create table bridge.lane (
    endpoint_id   text not null references bridge.endpoint (id) on delete cascade,
    key           text not null,
    pending       bigint not null check (pending >= 0),
    attempts      integer not null default 0,
    next_at       timestamptz not null default now(),
    claimed_by    text,
    claimed_until timestamptz,
    primary key (endpoint_id, key)
);
comment on table bridge.lane is
    'One row per endpoint and order key (instance and chat) that has something to deliver. The lane, not the delivery, backs off.';
create index lane_due on bridge.lane (next_at);

create table bridge.delivery (
    id           bigint generated always as identity primary key,
    endpoint_id  text not null,
    lane_key     text not null,
    event_id     text not null references bridge.event (id) on delete cascade,
    seq          bigint not null,
    state        text not null default 'pending' check (state in ('pending', 'delivered', 'dead')),
    attempts     integer not null default 0,
    last_status  integer,
    last_error   text,
    created_at   timestamptz not null default now(),
    finished_at  timestamptz,
    foreign key (endpoint_id) references bridge.endpoint (id) on delete cascade,
    check ((state = 'pending') = (finished_at is null)),
    unique (endpoint_id, event_id)
);
create index delivery_pending on bridge.delivery (endpoint_id, lane_key, seq) where state = 'pending';
