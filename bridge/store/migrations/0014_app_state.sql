-- Two more of what the engine learns and does not report, noted where it stores it: that it has read a collection of app
-- state from its beginning, and that another device has deleted messages for oneself.

alter table bridge.engine_note
    add column due   timestamptz not null default clock_timestamp(),
    add column looks integer not null default 0;
comment on column bridge.engine_note.due is 'When it is to be looked at.';
comment on column bridge.engine_note.looks is 'How often it was looked at in vain.';

-- whatsmeow removes the version of a collection before it reads all of it, so that a row which is new, not a newer one,
-- begins such a reading. Each part of it raises the version: what is told is the last one, when no other has followed for
-- a while. Whatever goes wrong here must not reach the engine.
create function bridge.note_app_state_sync() returns trigger language plpgsql as $$
declare
    now_stored constant jsonb := jsonb_build_object('app_state_version', new.version);
    settled constant timestamptz := clock_timestamp() + interval '5 s';
begin
    if tg_op = 'INSERT' then
        insert into bridge.engine_note (jid, about, after, due) values (new.jid, new.name, now_stored, settled);
    else
        update bridge.engine_note set after = now_stored, due = settled
        where jid = new.jid and about = new.name and after ? 'app_state_version';
    end if;
    return null;
exception when others then
    return null;
end
$$;

-- Of a setting whatsmeow keeps the MAC of its name alone, in the name of a deleted message are chat and id: see the query
-- `deleted`. One note for a statement, of which whatsmeow makes one for at most 400 settings.
create function bridge.note_app_state_macs() returns trigger language plpgsql as $$
begin
    insert into bridge.engine_note (jid, about, after)
    select jid, name, jsonb_build_object('index_macs', jsonb_agg(encode(index_mac, 'hex')))
    from stored
    where name = 'regular_high'
    group by jid, name
    having count(*) <= 1000;
    return null;
exception when others then
    return null;
end
$$;

create function bridge.watch_app_state() returns void language plpgsql as $$
declare
    versions constant regclass := to_regclass('whatsapp.whatsmeow_app_state_version');
    macs     constant regclass := to_regclass('whatsapp.whatsmeow_app_state_mutation_macs');
begin
    if versions is not null and not exists (
        select from pg_trigger where tgrelid = versions and tgname = 'note_app_state_sync'
    ) then
        create or replace trigger note_app_state_sync after insert or update on whatsapp.whatsmeow_app_state_version
            for each row execute function bridge.note_app_state_sync();
    end if;
    if macs is not null and not exists (
        select from pg_trigger where tgrelid = macs and tgname = 'note_app_state_macs'
    ) then
        create or replace trigger note_app_state_macs after insert on whatsapp.whatsmeow_app_state_mutation_macs
            referencing new table as stored for each statement execute function bridge.note_app_state_macs();
    end if;
end
$$;
comment on function bridge.watch_app_state is 'Called together with watch_engine_tables, for the same reason.';

select bridge.watch_app_state();

-- HMAC-SHA256 (RFC 2104) of PostgreSQL's own sha256, for keys of at most 64 bytes, so that the engine's keys stay in the
-- database: to recognise a MAC they need not be read.
create function bridge.hmac_pad(key bytea, mask integer) returns bytea language plpgsql immutable strict parallel safe as $$
declare
    padded bytea := key || decode(repeat('00', 64 - length(key)), 'hex');
begin
    for place in 0 .. 63 loop
        padded := set_byte(padded, place, get_byte(padded, place) # mask);
    end loop;
    return padded;
end
$$;

create function bridge.hmac_sha256(key bytea, data bytea) returns bytea language sql immutable strict parallel safe
    return sha256(bridge.hmac_pad(key, 92) || sha256(bridge.hmac_pad(key, 54) || data));

-- The first 32 of the 160 bytes that HKDF (RFC 5869) makes of a sync key: whatsmeow's appstate/keys.go.
create function bridge.app_state_index_key(key_data bytea) returns bytea language sql immutable strict parallel safe
    return bridge.hmac_sha256(
        bridge.hmac_sha256(decode(repeat('00', 32), 'hex'), key_data),
        convert_to('WhatsApp Mutation Keys', 'UTF8') || decode('01', 'hex')
    );
