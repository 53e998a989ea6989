-- One order over the events of all instances, for those who pull: `seq` counts per instance. A position is given while its
-- transaction holds the lock of all writers, until the commit, so that positions become visible in their order and a reader
-- who has seen one has seen all below it.
alter table bridge.event add column position bigint;
update bridge.event e set position = o.position
from (select id, row_number() over (order by received_at, instance_key, seq) as position from bridge.event) o
where o.id = e.id;
create sequence bridge.event_position owned by bridge.event.position;
select setval('bridge.event_position', (select coalesce(max(position), 0) + 1 from bridge.event), false);
alter table bridge.event
    alter column position set default nextval('bridge.event_position'),
    alter column position set not null;
create unique index event_position_key on bridge.event (position);
comment on column bridge.event.position is 'The cursor of GET /events. Has gaps, and grows with the commits.';
