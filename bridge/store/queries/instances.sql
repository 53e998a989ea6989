-- name: create
-- Makes an instance that is not to run yet.
insert into bridge.instance (key, name, external_id, metadata, settings)
values (%(key)s, %(name)s, %(external_id)s, %(metadata)s, %(settings)s)
returning
    key, name, external_id, metadata, desired, state, reason, since, next_retry_at, needs, jid, lid, push_name,
    last_seq, last_event_at, owner, epoch, created_at, settings, paired_at, restriction

-- name: get
-- One instance.
select key, name, external_id, metadata, desired, state, reason, since, next_retry_at, needs, jid, lid, push_name,
       last_seq, last_event_at, owner, epoch, created_at, settings, paired_at, restriction
from bridge.instance
where key = %(key)s

-- name: page
-- Oldest first; one row more than asked for tells that there is a next page.
select key, name, external_id, metadata, desired, state, reason, since, next_retry_at, needs, jid, lid, push_name,
       last_seq, last_event_at, owner, epoch, created_at, settings, paired_at, restriction
from bridge.instance
where (%(state)s::text is null or state = %(state)s)
  and (%(external_id)s::text is null or external_id = %(external_id)s)
  and (%(only)s::text[] is null or key = any(%(only)s))
  and (%(after_at)s::timestamptz is null or (created_at, key) > (%(after_at)s, %(after_key)s))
order by created_at, key
limit %(limit)s + 1

-- name: wanted
-- Every instance, for the start of the bridge: which of them should run is in `desired`.
select key, name, external_id, metadata, desired, state, reason, since, next_retry_at, needs, jid, lid, push_name,
       last_seq, last_event_at, owner, epoch, created_at, settings, paired_at, restriction
from bridge.instance
order by created_at, key

-- name: change
-- What the caller knows it by, and its settings; what is not given stays, and a setting that is null is taken away.
update bridge.instance
set name = case when %(has_name)s then %(name)s else name end,
    external_id = case when %(has_external_id)s then %(external_id)s else external_id end,
    metadata = case when %(has_metadata)s then %(metadata)s else metadata end,
    settings = jsonb_strip_nulls(settings || %(settings)s)
where key = %(key)s
returning
    key, name, external_id, metadata, desired, state, reason, since, next_retry_at, needs, jid, lid, push_name,
    last_seq, last_event_at, owner, epoch, created_at, settings, paired_at, restriction

-- name: set_desired
-- What the operator wants: valid under any owner.
update bridge.instance set desired = %(desired)s where key = %(key)s

-- name: claim
-- Takes an instance over: from now on every write of an earlier owner is refused.
update bridge.instance set owner = %(node)s, epoch = epoch + 1 where key = %(key)s returning epoch

-- name: set_state
-- The session's state, unless another owner has taken over.
update bridge.instance
set state = %(state)s,
    reason = %(reason)s,
    needs = %(needs)s,
    next_retry_at = %(next_retry_at)s,
    since = case when state = %(state)s then since else now() end
where key = %(key)s and owner = %(owner)s and epoch = %(epoch)s

-- name: set_identity
-- Who the instance is paired as, unless another owner has taken over; what is not told stays.
update bridge.instance
set jid = %(jid)s,
    paired_at = case when jid = %(jid)s then paired_at else now() end,
    lid = coalesce(%(lid)s, case when jid = %(jid)s then lid end),
    push_name = coalesce(%(push_name)s, case when jid = %(jid)s then push_name end)
where key = %(key)s and owner = %(owner)s and epoch = %(epoch)s

-- name: set_push_name
-- The name that the user shows to others, unless another owner has taken over.
update bridge.instance set push_name = %(push_name)s
where key = %(key)s and owner = %(owner)s and epoch = %(epoch)s

-- name: set_restriction
-- What WhatsApp refuses to it for a while, unless another owner has taken over.
update bridge.instance set restriction = %(restriction)s
where key = %(key)s and owner = %(owner)s and epoch = %(epoch)s

-- name: clear_identity
-- The instance is not paired any more, unless another owner has taken over.
update bridge.instance set jid = null, lid = null, push_name = null, restriction = null
where key = %(key)s and owner = %(owner)s and epoch = %(epoch)s

-- name: delete
-- With its commands; its events stay, and its endpoints until those are delivered.
delete from bridge.instance where key = %(key)s

-- name: device_tables_ready
-- Whether whatsmeow has made its tables yet.
select to_regclass('whatsapp.whatsmeow_device') is not null as ready

-- name: tune_engine_tables
-- Spares commits of the engine that change nothing, and has noted what it does not tell, once its tables are there; see
-- the migrations.
select bridge.tune_engine_tables(), bridge.watch_engine_tables(), bridge.watch_app_state()

-- name: device_exists
-- Whether whatsmeow has the keys of this device.
select exists (select from whatsapp.whatsmeow_device where jid = %(jid)s) as found

-- name: app_state
-- How much of what a phone shares with a linked device the engine has: keys, collections, and the name, which is one of
-- the things that come in them.
select
    (select count(*) from whatsapp.whatsmeow_app_state_sync_keys where jid = %(jid)s) as keys,
    (select count(*) from whatsapp.whatsmeow_app_state_version where jid = %(jid)s) as collections,
    coalesce((select push_name from whatsapp.whatsmeow_device where jid = %(jid)s), '') <> '' as named

-- name: device_columns
-- whatsmeow's tables with the column that names our own device, the table of the devices last.
select
    relation.relname as table_name,
    min(attribute.attname) filter (where attribute.attname = 'our_jid') as our_jid,
    min(attribute.attname) as any_jid
from pg_catalog.pg_class as relation
join pg_catalog.pg_namespace as namespace on namespace.oid = relation.relnamespace
join pg_catalog.pg_attribute as attribute on attribute.attrelid = relation.oid
where namespace.nspname = 'whatsapp'
  and relation.relkind in ('r', 'p')
  and relation.relname like 'whatsmeow\_%%'
  and attribute.attname in ('our_jid', 'jid')
  and not attribute.attisdropped
group by relation.relname
order by relation.relname = 'whatsmeow_device', relation.relname
