-- Media: every file once, by its SHA-256, and what the instances that have it call it.
create table bridge.media_object (
    sha256     bytea primary key check (length(sha256) = 32),
    size_bytes bigint not null check (size_bytes >= 0),
    touched_at timestamptz not null default now()
);
comment on table bridge.media_object is
    'A row is there before its file is: a file without a row is an orphan, a row without a file is on its way.';
comment on column bridge.media_object.touched_at is 'When somebody last began to use it: what is young is not removed.';

create table bridge.media (
    id           text primary key check (id like 'med\_%'),
    instance_key text not null references bridge.instance (key) on delete cascade,
    path         text not null unique,
    direction    text not null check (direction in ('in', 'out')),
    kind         text not null check (kind in ('image', 'video', 'audio', 'document', 'sticker')),
    status       text not null check (status in ('pending', 'available', 'expired', 'failed')),
    reason       text,
    mime_type    text not null,
    filename     text not null default '',
    size_bytes   bigint not null default 0,
    sha256       bytea references bridge.media_object (sha256),
    facts        jsonb not null default '{}',
    event        jsonb not null default '{}',
    source       bytea,
    attempts     integer not null default 0,
    gone         integer not null default 0,
    next_at      timestamptz not null default now(),
    announced    boolean not null default true,
    created_at   timestamptz not null default now(),
    expires_at   timestamptz not null,
    check ((status = 'available') = (sha256 is not null))
);
comment on column bridge.media.path is 'The original''s name of the file: {instance_key}/{date}/{unix seconds}-{uuid}{ext}.';
comment on column bridge.media.event is 'What its message''s event says about chat, sender and message, for media.updated.';
comment on column bridge.media.source is 'Where WhatsApp has it and its key: a serialised waE2E.Message.';
comment on column bridge.media.gone is 'How many times in a row WhatsApp has said that it has no such file.';
comment on column bridge.media.announced is 'Whether media.updated has been stored for this status.';
create index media_due on bridge.media (next_at) where status = 'pending';
create index media_unannounced on bridge.media (id) where not announced;
create index media_of_object on bridge.media (sha256) where sha256 is not null;
create index media_expiring on bridge.media (expires_at);
create index media_of_instance on bridge.media (instance_key);
