-- name: read
-- The oldest notes that are due, with the instance that is paired as that device; null for one that is not any more. Those
-- of MACs last, because they take time.
select note.id, note.about, note.before, note.after, extract(epoch from note.at)::float8 as at, note.looks,
       instance.key as instance
from bridge.engine_note as note
left join bridge.instance as instance on instance.jid = note.jid
where note.due <= clock_timestamp()
order by note.after ? 'index_macs', note.id
limit %(limit)s

-- name: remove
-- Notes that were told, or that nobody wants.
delete from bridge.engine_note where id = any(%(ids)s)

-- name: postpone
-- Notes that are to be looked at again; a look in vain is counted where it was one.
update bridge.engine_note
set due = clock_timestamp() + make_interval(secs => %(wait_s)s), looks = looks + %(looks)s
where id = any(%(ids)s)

-- name: forget
-- What was noted of a device so far, but that it has read collections of app state.
delete from bridge.engine_note where jid = %(jid)s and not after ? 'app_state_version'

-- name: unjitted
-- Before `deleted`: its rows are bounded, which PostgreSQL does not know; compiling would take longer than running.
set local jit = off

-- name: deleted
-- Which messages of an instance the MACs (hexadecimal) name as deleted for oneself, as far as its newest events tell of
-- them. The name of such a setting is JSON: ["deleteMessageForMe", chat, id, 1 when it is ours, author], the author 0
-- where chat or 1 says it; its MAC is made with one of the keys that the phone has shared. Chat and author may stand under
-- their number or their LID. Whatever the MACs of other settings are, they match nothing.
with ours as materialized (
    select key, jid, last_seq, regexp_replace(jid, ':\d+@', '@') as own,
           regexp_replace(coalesce(lid, ''), ':\d+@', '@') as own_lid
    from bridge.instance
    where key = %(instance)s
), hmac_key as materialized (
    select bridge.hmac_pad(latest.index_key, 54) as inside, bridge.hmac_pad(latest.index_key, 92) as outside
    from (
        select bridge.app_state_index_key(k.key_data) as index_key
        from ours join whatsapp.whatsmeow_app_state_sync_keys k on k.jid = ours.jid
        order by k.timestamp desc
        limit %(keys)s
    ) latest
), told as materialized (
    select e.chat, e.dedup_key, e.type, case when e.type = 'message.status' then e.body end as body, ours.own, ours.own_lid
    from ours join bridge.event e on e.instance_key = ours.key and e.seq > ours.last_seq - %(events)s
    where e.type in ('message.received', 'message.sent', 'message.undecryptable')
       or (e.type = 'message.status' and starts_with(e.dedup_key, 'sent:'))
), message as materialized (
    select split_part(dedup_key, '|', 2) as chat, split_part(dedup_key, '|', 3) as sender,
           split_part(dedup_key, '|', 4) as id, split_part(dedup_key, '|', 3) in (own, own_lid) as from_me
    from told where body is null
    union all
    select chat, own, case when strpos(body, '\u0000') = 0 then body::json #>> '{data,message_id}' end, true  -- it refuses \u0000
    from told where body is not null
), person as materialized (
    select p.jid, coalesce(by_lid.pn || '@s.whatsapp.net', by_number.lid || '@lid', nullif(ours.own_lid, '')) as other
    from (select chat as jid from message union select sender from message) p
    left join ours on ours.own = p.jid
    left join lateral (
        select m.pn from whatsapp.whatsmeow_lid_map m where m.lid = split_part(p.jid, '@', 1) limit 1
    ) by_lid on split_part(p.jid, '@', 2) = 'lid'
    left join lateral (
        select m.lid from whatsapp.whatsmeow_lid_map m where m.pn = split_part(p.jid, '@', 1) limit 1
    ) by_number on split_part(p.jid, '@', 2) = 's.whatsapp.net'
), named as materialized (
    select m.chat, m.sender, m.id, m.from_me,
           sha256(k.outside || sha256(k.inside || convert_to(
               '["deleteMessageForMe",' || to_json(form.chat) || ',' || to_json(m.id) || ',"' || m.from_me::integer || '",'
               || to_json(form.author) || ']', 'UTF8'))) as mac
    from message m
    left join person chat on chat.jid = m.chat
    left join person sender on sender.jid = m.sender
    cross join lateral (
        select split_part(m.chat, '@', 2) in ('s.whatsapp.net', 'lid') as direct
    ) kind
    cross join lateral (values
        (m.chat, '0'),
        (case when kind.direct then chat.other end, '0'),
        (case when not kind.direct then m.chat end, m.sender),
        (case when not kind.direct then m.chat end, sender.other)
    ) as form (chat, author)
    cross join hmac_key k
    where form.chat is not null and form.author is not null
)
select distinct encode(mac, 'hex') as mac, chat, sender, id as message_id, from_me
from named
where mac in (select decode(unnest(%(macs)s::text[]), 'hex'))
