-- What the engine learns and does not report through neonize, noted where it stores it.

create table bridge.engine_note (
    id      bigint generated always as identity primary key,
    jid     text not null,
    about   text not null,
    before  jsonb,
    after   jsonb not null,
    at      timestamptz not null default clock_timestamp()
);
comment on table bridge.engine_note is 'Written by triggers on the engine''s tables, read and deleted within seconds.';
comment on column bridge.engine_note.jid is 'Our device.';
comment on column bridge.engine_note.about is 'The person, or the chat, as the engine calls it.';
create index engine_note_jid on bridge.engine_note (jid);

-- A person calls themselves otherwise. whatsmeow writes it under the LID and under the number where it knows both: only
-- the first is noted then. Whatever goes wrong here must not reach the engine.
create function bridge.note_push_name() returns trigger language plpgsql as $$
begin
    if new.their_jid like '%@s.whatsapp.net' and exists (
        select from whatsapp.whatsmeow_lid_map where pn = split_part(new.their_jid, '@', 1)
    ) then
        return null;
    end if;
    insert into bridge.engine_note (jid, about, before, after)
    values (new.our_jid, new.their_jid, jsonb_build_object('push_name', old.push_name),
            jsonb_build_object('push_name', new.push_name));
    return null;
exception when others then
    return null;
end
$$;

-- A chat was archived, pinned or muted on another device.
create function bridge.note_chat_settings() returns trigger language plpgsql as $$
declare
    was jsonb := case when tg_op = 'UPDATE' then to_jsonb(old) end;
begin
    insert into bridge.engine_note (jid, about, before, after) values (new.our_jid, new.chat_jid, was, to_jsonb(new));
    return null;
exception when others then
    return null;
end
$$;

create function bridge.watch_engine_tables() returns void language plpgsql as $$
declare
    contacts constant regclass := to_regclass('whatsapp.whatsmeow_contacts');
    chats    constant regclass := to_regclass('whatsapp.whatsmeow_chat_settings');
begin
    if contacts is not null and not exists (
        select from pg_trigger where tgrelid = contacts and tgname = 'note_push_name'
    ) then
        create or replace trigger note_push_name after update on whatsapp.whatsmeow_contacts for each row
            when (old.push_name <> '' and new.push_name <> '' and old.push_name <> new.push_name)
            execute function bridge.note_push_name();
    end if;
    if chats is not null and not exists (
        select from pg_trigger where tgrelid = chats and tgname = 'note_chat_settings'
    ) then
        create or replace trigger note_chat_settings after insert or update on whatsapp.whatsmeow_chat_settings
            for each row execute function bridge.note_chat_settings();
    end if;
end
$$;
comment on function bridge.watch_engine_tables is 'Called together with tune_engine_tables, for the same reason.';

select bridge.watch_engine_tables();
