-- name: set_up
-- The settings of a connection.
set statement_timeout = '8s';
set idle_in_transaction_session_timeout = '10s';
set client_min_messages = warning;

-- name: schema_lock
-- Two receivers that start together create the schema one after the other; the lock ends with the transaction.
select pg_advisory_xact_lock(hashtextextended('receiver.schema', 0));

-- name: insert
-- Store a batch in its order; the lock makes cursors grow in commit order even when two receivers share the database.
with writer as materialized (select pg_advisory_xact_lock(hashtextextended('receiver.event', 0)))
insert into receiver.event (webhook_id, attempt, instance, type, seq, chat, body)
select new.webhook_id, new.attempt, new.instance, new.type, new.seq, new.chat, new.body
from writer,
     unnest($1::text[], $2::integer[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::bytea[])
     with ordinality as new (webhook_id, attempt, instance, type, seq, chat, body, place)
order by new.place
on conflict (webhook_id) do nothing
returning webhook_id;

-- name: page
-- Events behind a cursor, as many as fit into $6 bytes of bodies, one at least.
select cursor, webhook_id, to_char(received_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
       attempt, instance, type, seq, chat, body
from (
    select found.*, sum(octet_length(body)) over (order by cursor) - octet_length(body) as size_before
    from (
        select * from receiver.event
        where cursor > $1::bigint
          and ($3::text is null or instance = $3) and ($4::text is null or type = $4) and ($5::text is null or chat = $5)
        order by cursor limit $2::bigint
    ) as found
) as sized
where size_before < $6::bigint
order by cursor;
