-- Keys that are limited to instances, addresses and a rate; and the trail of who did what.
alter table bridge.api_key
    add column instances  text[] check (cardinality(instances) > 0),
    add column networks   text[] check (cardinality(networks) > 0),
    add column rate_per_s double precision check (rate_per_s > 0),
    add column hint       text not null default '',
    add column created_by text;
comment on column bridge.api_key.instances is 'Null: all. Never empty: the last one that is deleted takes the key with it.';
comment on column bridge.api_key.networks is 'Addresses and networks that it may be used from; null: any.';
comment on column bridge.api_key.hint is 'The first characters of a key that we made.';

create table bridge.audit (
    id           text primary key check (id like 'aud\_%'),
    at           timestamptz not null default now(),
    key_id       text,
    key_name     text,
    role         text,
    address      text,
    action       text not null,
    instance_key text,
    target       text,
    status       integer,
    code         text,
    request_id   text not null
);
comment on table bridge.audit is
    'Who changed what. Ids sort by time. No foreign keys: what a key did, and what was done to an instance, outlives both.';
comment on column bridge.audit.status is 'Of the answer; null when the caller went away before it.';
create index audit_at on bridge.audit (at);
create index audit_instance on bridge.audit (instance_key, id) where instance_key is not null;
create index audit_key on bridge.audit (key_id, id) where key_id is not null;
