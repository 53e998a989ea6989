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
create index if not exists event_type on receiver.event (type, cursor);

create table if not exists receiver.run (
    handler  text not null,
    cursor   bigint not null references receiver.event on delete cascade,
    lane     text not null,
    parked   boolean not null default false,
    attempts integer not null default 0,
    error    text,
    tried_at timestamptz,
    primary key (handler, cursor)
);
comment on table receiver.run is 'What a handler still has to be called with: made with the event, gone when it has returned.';
comment on column receiver.run.parked is 'It kept failing, and waits for somebody to ask for another try.';

create index if not exists run_head on receiver.run (handler, lane, cursor) where not parked;
create index if not exists run_parked on receiver.run (handler, cursor) where parked;
create index if not exists run_event on receiver.run (cursor);

create table if not exists receiver.lane (
    handler text not null,
    name    text not null,
    pending bigint not null,
    next_at timestamptz not null default now(),
    primary key (handler, name)
);
comment on table receiver.lane is 'A chat of an instance, for one handler: its events are handled one after the other.';
comment on column receiver.lane.pending is 'Its runs that are not parked. Counted here so that an empty lane can be deleted without a race.';
comment on column receiver.lane.next_at is 'When its head may be called: later than now after a failure.';

create index if not exists lane_due on receiver.lane (handler, next_at) where pending > 0;

-- Whoever deletes an event, its runs go first, out of the count of their lanes as well: parked ones too, because one that
-- is taken up again meanwhile is waited for and comes back as it is then.
create or replace function receiver.forget_runs() returns trigger language plpgsql as $$
begin
    with gone as (delete from receiver.run where cursor = old.cursor returning handler, lane, parked)
    update receiver.lane set pending = pending - 1 from gone
    where lane.handler = gone.handler and lane.name = gone.lane and not gone.parked;
    return old;
end $$;
create or replace trigger event_forget_runs before delete on receiver.event
for each row execute function receiver.forget_runs();
