-- name: set_up
-- The settings of a connection.
set statement_timeout = '8s';
set idle_in_transaction_session_timeout = '10s';
set client_min_messages = warning;

-- name: schema_lock
-- Two receivers that start together create the schema one after the other; the lock ends with the transaction.
select pg_advisory_xact_lock(hashtextextended('receiver.schema', 0));

-- name: insert
-- Store a batch in its order, and what each handler in $8 has to be called with; the lock makes cursors grow in commit
-- order even when two receivers share the database.
with writer as materialized (select pg_advisory_xact_lock(hashtextextended('receiver.event', 0))),
stored as (
    insert into receiver.event (webhook_id, attempt, instance, type, seq, chat, body)
    select new.webhook_id, new.attempt, new.instance, new.type, new.seq, new.chat, new.body
    from writer,
         unnest($1::text[], $2::integer[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::bytea[])
         with ordinality as new (webhook_id, attempt, instance, type, seq, chat, body, place)
    order by new.place
    on conflict (webhook_id) do nothing
    returning cursor, webhook_id, instance, chat
),
runs as (
    insert into receiver.run (handler, cursor, lane)
    select handler, cursor, concat(instance, '/', chat) from stored, unnest($8::text[]) as handler
    returning handler, lane
),
lanes as (
    insert into receiver.lane (handler, name, pending)
    select handler, lane, count(*) from runs group by handler, lane order by handler, lane
    on conflict (handler, name) do update set pending = lane.pending + excluded.pending
)
select webhook_id from stored;

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

-- name: newest
-- The cursor behind which the $5 newest events are that match.
select coalesce(min(cursor) - 1, 0) from (
    select cursor from receiver.event
    where ($1::text is null or instance = $1) and ($2::text is null or type = $2) and ($3::text is null or chat = $3)
      and cursor > $4::bigint
    order by cursor desc limit $5::bigint
) as found;

-- name: last_cursor
-- The cursor of the newest event.
select coalesce(max(cursor), 0) from receiver.event;

-- name: own_handlers
-- One receiver at a time calls handlers; the lock ends with its connection.
select pg_try_advisory_lock(hashtextextended('receiver.handlers', 0));

-- name: due
-- The heads of at most $3 lanes of a handler that may be called now; $2 are the lanes in which a call is under way. A
-- lane without runs, whatever it counts, neither takes the place of another nor is waited for (next_due).
select event.cursor, run.lane, run.attempts, event.webhook_id,
       to_char(event.received_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
       event.instance, event.type, event.seq, event.chat, event.body
from (
    select head.* from receiver.lane
    cross join lateral (
        select cursor, lane, attempts from receiver.run
        where run.handler = lane.handler and run.lane = lane.name and not parked
        order by cursor limit 1
    ) as head
    where lane.handler = $1::text and pending > 0 and next_at <= now() and name <> all ($2::text[])
    order by next_at limit $3::bigint
) as run
join receiver.event using (cursor)
order by cursor;

-- name: next_due
-- Seconds until the first lane of a handler may be called, of those in which no call is under way; null without any.
select (
    select extract(epoch from next_at - now()) from receiver.lane
    where handler = $1::text and pending > 0 and name <> all ($2::text[])
      and exists (select from receiver.run where run.handler = lane.handler and run.lane = lane.name and not parked)
    order by next_at limit 1
);

-- name: done
-- The handler has returned.
with gone as (
    delete from receiver.run where handler = $1::text and cursor = $2::bigint and not parked returning handler, lane
)
update receiver.lane set pending = pending - 1, next_at = now() from gone
where lane.handler = gone.handler and lane.name = gone.lane;

-- name: again
-- The handler failed with $4; its lane waits for $3 seconds.
with failed as (
    update receiver.run set attempts = attempts + 1, error = $4::text, tried_at = now()
    where handler = $1::text and cursor = $2::bigint and not parked returning handler, lane
)
update receiver.lane set next_at = now() + make_interval(secs => $3::double precision) from failed
where lane.handler = failed.handler and lane.name = failed.lane;

-- name: park
-- The handler failed with $3 and is called no more; its lane goes on.
with failed as (
    update receiver.run set attempts = attempts + 1, error = $3::text, tried_at = now(), parked = true
    where handler = $1::text and cursor = $2::bigint and not parked returning handler, lane
)
update receiver.lane set pending = pending - 1, next_at = now() from failed
where lane.handler = failed.handler and lane.name = failed.lane;

-- name: retry
-- Take up to 10000 parked runs of a handler, or the one of webhook $2, up again.
with wanted as (
    select handler, cursor from receiver.run join receiver.event using (cursor)
    where handler = $1::text and parked and ($2::text is null or webhook_id = $2)
    order by cursor limit 10000 for update of run
),
taken as (
    update receiver.run set parked = false, attempts = 0 from wanted
    where run.handler = wanted.handler and run.cursor = wanted.cursor and parked
    returning run.handler, run.lane
),
lanes as (
    insert into receiver.lane (handler, name, pending)
    select handler, lane, count(*) from taken group by handler, lane order by handler, lane
    on conflict (handler, name) do update set pending = lane.pending + excluded.pending, next_at = now()
)
select count(*) from taken;

-- name: runs
-- Runs of a handler behind a cursor, parked or not.
select cursor, webhook_id, run.parked, attempts, error,
       to_char(tried_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), instance, type, seq, chat
from receiver.run join receiver.event using (cursor)
where handler = $1::text and cursor > $2::bigint and run.parked = $3::boolean
order by cursor limit $4::bigint;

-- name: backlog
-- Of a handler: how many runs wait, how many are parked, and the age in seconds of the oldest that waits.
select (select coalesce(sum(pending), 0) from receiver.lane where handler = $1::text),
       (select count(*) from receiver.run where handler = $1 and parked),
       (select extract(epoch from now() - received_at) from receiver.event
        where cursor = (select min(cursor) from receiver.run where handler = $1 and not parked));

-- name: sweep
-- Forget lanes in which nothing waits.
delete from receiver.lane where pending = 0;

-- name: forget
-- Delete, of the $2 events behind the cursor $1, those older than $3 days for which nothing waits and nothing is parked.
-- Returns how many, and the cursor to go on behind: null when the end, or an event that is not as old, has been reached.
with page as materialized (
    select cursor, received_at < now() - make_interval(days => $3::integer) as old
    from receiver.event where cursor > $1::bigint order by cursor limit $2::bigint
),
gone as (
    delete from receiver.event using page
    where event.cursor = page.cursor and page.old
      and not exists (select from receiver.run where run.cursor = page.cursor)
    returning 1
)
select (select count(*) from gone), case when bool_and(old) and count(*) = $2 then max(cursor) end from page;
