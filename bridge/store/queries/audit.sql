-- name: insert
-- One call that somebody made.
insert into bridge.audit
    (id, key_id, key_name, role, address, action, instance_key, target, status, code, request_id)
values
    (%(id)s, %(key_id)s, %(key_name)s, %(role)s, %(address)s, %(action)s, %(instance_key)s, %(target)s, %(status)s,
     %(code)s, %(request_id)s)

-- name: page
-- The newest entries before a cursor, of an instance or of a key if one is given.
select id, key_id, key_name, role, address, action, instance_key, target, status, code, request_id, at
from bridge.audit
where (%(before)s::text is null or id < %(before)s)
  and (%(instance_key)s::text is null or instance_key = %(instance_key)s)
  and (%(key_id)s::text is null or key_id = %(key_id)s)
order by id desc limit %(limit)s + 1
