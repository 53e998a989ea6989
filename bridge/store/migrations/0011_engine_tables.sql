-- What the engine stores needlessly.
--
-- With every text that it sends, whatsmeow stores the identity keys of all devices that get it, each in a transaction of its
-- own, though they are nearly always those that it has: two waits for the disk per text. A row that is there already is
-- skipped here before it is locked, so that its transaction writes nothing and has nothing to wait for.

create function bridge.skip_known_identity() returns trigger language plpgsql as $$
begin
    if exists (
        select from whatsapp.whatsmeow_identity_keys k
        where k.our_jid = new.our_jid and k.their_id = new.their_id and k.identity = new.identity
    ) then
        return null;
    end if;
    return new;
end
$$;

create function bridge.tune_engine_tables() returns void language plpgsql as $$
declare
    identities constant regclass := to_regclass('whatsapp.whatsmeow_identity_keys');
begin
    if identities is not null and not exists (
        select from pg_trigger where tgrelid = identities and tgname = 'skip_known'
    ) then
        create or replace trigger skip_known before insert on whatsapp.whatsmeow_identity_keys
            for each row execute function bridge.skip_known_identity();
    end if;
end
$$;
comment on function bridge.tune_engine_tables is
    'The engine makes its tables at its first pairing, later than our migrations run: this is called after each pairing.';

select bridge.tune_engine_tables();
