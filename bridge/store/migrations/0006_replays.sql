-- Replays: events that an endpoint gets again, in lanes of their own beside the live ones.
create table bridge.replay (
    id             text primary key check (id like 'rpl\_%'),
    endpoint_id    text not null,
    request_hash   bytea not null,
    kind           text not null check (kind in ('range', 'dead')),
    instance_key   text,
    types          text[] not null default '{}',
    from_id        text not null default '',
    to_id          text not null default '~',
    cursor         bigint not null,
    until_position bigint not null,
    state          text not null default 'running' check (state in ('running', 'queued', 'cancelled')),
    queued         bigint not null default 0,
    created_at     timestamptz not null default now(),
    ended_at       timestamptz,
    check ((state = 'running') = (ended_at is null))
);
comment on table bridge.replay is 'Worked off in batches by a task that goes on after a restart where its row says.';
comment on column bridge.replay.cursor is 'Events up to this position have been looked at; dead deliveries need none.';
comment on column bridge.replay.state is 'queued: all of it is in lanes now, and is delivered like everything else.';
create index replay_running on bridge.replay (created_at) where state = 'running';
create index replay_listed on bridge.replay (endpoint_id, created_at);

alter table bridge.delivery
    add column replay text,
    add column earlier text;
comment on column bridge.delivery.replay is 'The last replay that took it up.';
comment on column bridge.delivery.earlier is 'Its state before that, for a replay that is cancelled; null: there was no such delivery.';
create index delivery_replay on bridge.delivery (replay, state) where replay is not null;

alter table bridge.lane add column replay boolean not null default false;
comment on column bridge.lane.replay is 'Claimed beside the live lanes, a few at a time, so that it never takes a place of theirs.';
drop index bridge.lane_due;
create index lane_due on bridge.lane (endpoint_id, replay, next_at);
