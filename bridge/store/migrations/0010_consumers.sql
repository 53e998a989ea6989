-- Readers of the feed that acknowledge: how far each has come.
create table bridge.consumer (
    id       bigint generated always as identity primary key,
    key_id   text references bridge.api_key on delete cascade,
    name     text not null check (name ~ '^[a-z0-9._-]{1,64}$'),
    position bigint not null,
    lease    bigint not null default 1,
    used_at  timestamptz not null default now()
);
comment on table bridge.consumer is 'One row for each name and API key; key_id is null while the bridge asks for none.';
comment on column bridge.consumer.position is 'The cursor up to which everything was acknowledged.';
comment on column bridge.consumer.lease is 'Counts the connections: only the last one moves the cursor.';
create unique index consumer_name on bridge.consumer (coalesce(key_id, ''), name);
