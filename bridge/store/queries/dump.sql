-- Copying schemas out and in: what the catalogue says of them.

-- name: begin_snapshot
-- All tables are read as they are at one moment, however long that takes.
begin transaction isolation level repeatable read, read only

-- name: tables
-- The tables with the columns that are stored, but for the record of migrations.
select n.nspname, c.relname, array_agg(a.attname::text order by a.attnum)
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
where c.relkind = 'r' and n.nspname = any(%(schemas)s) and (n.nspname, c.relname) <> ('bridge', 'migration')
group by n.nspname, c.relname

-- name: references
-- Which table refers to which.
select n.nspname, c.relname, fn.nspname, f.relname
from pg_constraint k
join pg_class c on c.oid = k.conrelid
join pg_namespace n on n.oid = c.relnamespace
join pg_class f on f.oid = k.confrelid
join pg_namespace fn on fn.oid = f.relnamespace
where k.contype = 'f' and n.nspname = any(%(schemas)s)

-- name: applied
-- Which migrations made our own tables.
select version::text, sha256 from bridge.migration

-- name: engine_columns
-- The engine's tables, column by column.
select c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid)
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
where n.nspname = 'whatsapp' and c.relkind = 'r'
order by c.relname, a.attnum

-- name: engine_constraints
-- Their keys and checks: what others refer to before what refers to it; not null is with the columns.
select c.relname, k.conname, pg_get_constraintdef(k.oid)
from pg_constraint k
join pg_class c on c.oid = k.conrelid
join pg_namespace n on n.oid = c.relnamespace
where n.nspname = 'whatsapp' and k.contype in ('p', 'u', 'c', 'f')
order by array_position(array['p', 'u', 'c', 'f'], k.contype::text), c.relname, k.conname

-- name: engine_indexes
-- Their indexes that belong to no constraint.
select pg_get_indexdef(i.indexrelid)
from pg_index i
join pg_class c on c.oid = i.indrelid
join pg_namespace n on n.oid = c.relnamespace
where n.nspname = 'whatsapp' and not exists (select from pg_constraint k where k.conindid = i.indexrelid)
order by 1

-- name: sequences
-- How far sequences have counted; the engine has none.
select quote_ident(schemaname) || '.' || quote_ident(sequencename), last_value
from pg_sequences
where schemaname = any(%(schemas)s) and last_value is not null

-- name: set_sequence
-- Goes on counting from there.
select setval(%(name)s::regclass, %(value)s)

-- name: anything_there
-- Whether the schemas have a table.
select 1
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
where n.nspname = any(%(schemas)s) and c.relkind = 'r'
limit 1

