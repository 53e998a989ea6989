-- The receiver's own database: what came in, once each, byte by byte.
create schema if not exists receiver;

create table if not exists receiver.event (
    cursor      bigint generated always as identity primary key,
    webhook_id  text not null unique,
    received_at timestamptz not null default now(),
    attempt     integer,
    instance    text,
    type        text,
    seq         bigint,
    chat        text,
    body        bytea not null
);
comment on table receiver.event is 'Webhooks that were verified; a row is committed before its sender sees 2xx.';
comment on column receiver.event.cursor is 'Grows in the order of commits (see the lock in queries.sql), with gaps.';
comment on column receiver.event.attempt is 'The sender''s X-Webhook-Attempt of the delivery that was stored first.';
comment on column receiver.event.chat is 'A copy out of the body, like instance, type and seq, to search by; null when absent.';

create index if not exists event_instance on receiver.event (instance, cursor);
create index if not exists event_chat on receiver.event (chat, cursor);
