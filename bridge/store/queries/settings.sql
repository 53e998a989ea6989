-- name: get
-- One value.
select value from bridge.setting where name = %(name)s

-- name: put_if_absent
-- The first value that anybody puts; no row when that one is committed at this moment.
with inserted as (
    insert into bridge.setting (name, value) values (%(name)s, %(value)s)
    on conflict (name) do nothing
    returning value
)
select value from inserted
union all
select value from bridge.setting where name = %(name)s and not exists (select from inserted)

-- name: put
-- A value, whether there is one or not.
insert into bridge.setting (name, value) values (%(name)s, %(value)s)
on conflict (name) do update set value = excluded.value
