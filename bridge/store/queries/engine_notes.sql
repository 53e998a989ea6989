-- name: read
-- The oldest notes, with the instance that is paired as that device; null for one that is not any more.
select note.id, note.about, note.before, note.after, extract(epoch from note.at)::float8 as at, instance.key as instance
from bridge.engine_note as note
left join bridge.instance as instance on instance.jid = note.jid
order by note.id
limit %(limit)s

-- name: remove
-- Notes that were told, or that nobody wants.
delete from bridge.engine_note where id = any(%(ids)s)

-- name: forget
-- What was noted of a device so far.
delete from bridge.engine_note where jid = %(jid)s
