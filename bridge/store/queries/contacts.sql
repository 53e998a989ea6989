-- name: tables_ready
-- Whether whatsmeow has made its tables yet.
select to_regclass('whatsapp.whatsmeow_contacts') is not null
   and to_regclass('whatsapp.whatsmeow_lid_map') is not null as ready

-- name: page
-- The people whom a device of ours knows, one row each: whatsmeow may keep one under the number and another under the
-- LID. In the order of number, then LID; one row more than asked for tells that there is a next page.
with known as (
    select
        case split_part(their_jid, '@', 2) when 's.whatsapp.net' then split_part(their_jid, '@', 1) end as number,
        case split_part(their_jid, '@', 2) when 'lid' then split_part(their_jid, '@', 1) end as lid,
        coalesce(nullif(full_name, ''), nullif(first_name, '')) as name,
        nullif(push_name, '') as push_name,
        nullif(business_name, '') as business_name
    from whatsapp.whatsmeow_contacts
    where our_jid = %(jid)s and split_part(their_jid, '@', 2) in ('s.whatsapp.net', 'lid')
),
people as (
    select
        coalesce(known.number, by_lid.pn) as phone,
        coalesce(known.lid, by_number.lid) as lid,
        max(known.name) as name,
        max(known.push_name) as push_name,
        max(known.business_name) as business_name
    from known
    left join whatsapp.whatsmeow_lid_map as by_lid on known.number is null and by_lid.lid = known.lid
    left join whatsapp.whatsmeow_lid_map as by_number on known.lid is null and by_number.pn = known.number
    group by 1, 2
)
select phone, lid, name, push_name, business_name, coalesce(phone, '~') || ' ' || coalesce(lid, '') as place
from people
where (%(like)s::text is null
       or name ilike %(like)s or push_name ilike %(like)s or business_name ilike %(like)s or phone like %(like)s)
  and (%(phone)s::text is null or phone = %(phone)s)
  and (%(lid)s::text is null or lid = %(lid)s)
  and (%(after)s::text is null or (coalesce(phone, '~') || ' ' || coalesce(lid, '')) collate "C" > %(after)s)
order by (coalesce(phone, '~') || ' ' || coalesce(lid, '')) collate "C"
limit %(limit)s + 1

-- name: lid_of
-- The LID behind a number, as far as whatsmeow has met them together.
select lid from whatsapp.whatsmeow_lid_map where pn = %(phone)s

-- name: number_of
-- The number behind a LID, as far as whatsmeow has met them together.
select pn from whatsapp.whatsmeow_lid_map where lid = %(lid)s

-- name: numbers_of
-- The numbers behind several LIDs, as far as whatsmeow has met them together.
select lid, pn from whatsapp.whatsmeow_lid_map where lid = any(%(lids)s)
