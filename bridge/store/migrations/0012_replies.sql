-- What calls with an Idempotency-Key have answered, so that a repeat is answered the same. Sends have it in their commands.
create table bridge.reply (
    key_id          text not null,
    route           text not null,
    idempotency_key text not null check (length(idempotency_key) between 1 and 255),
    request_hash    bytea not null,
    begun_at        timestamptz not null default now(),
    finished_at     timestamptz,
    status          integer,
    body            bytea,
    primary key (key_id, route, idempotency_key),
    check ((finished_at is null) = (status is null) and (finished_at is null) = (body is null))
);
comment on table bridge.reply is 'One row for each call with such a key; key_id is empty while the bridge asks for no API key.';
comment on column bridge.reply.finished_at is 'Null while the call runs, or after a crash in the middle of it.';
create index reply_begun on bridge.reply (begun_at);
