-- Retention: what is forgotten after its time, a batch at once.

-- name: events
-- Old events, with their deliveries that are over; never one that is still to be delivered, and none while a replay looks for
-- events. Ids sort by time. Written so that each row is looked up: joins would read both tables from end to end for a batch.
with old as materialized (
    select e.id
    from bridge.event e
    where e.id < %(before)s
      and (select d.state from bridge.delivery d where d.event_id = e.id and d.state = 'pending' limit 1) is null
      and not exists (select from bridge.replay r where r.state = 'running')
    order by e.id
    limit %(limit)s
), deliveries as (
    delete from bridge.delivery d where d.event_id = any (array(select id from old)) and d.state <> 'pending'
)
delete from bridge.event e where e.id = any (array(select id from old))

-- name: messages
-- Old messages.
delete from bridge.message where ctid = any (array(
    select ctid from bridge.message where at < now() - make_interval(secs => %(older_than_s)s) limit %(limit)s
))
