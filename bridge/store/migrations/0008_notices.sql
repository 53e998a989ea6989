-- Numbers the events that concern no single instance: they are events of `*`.
create table bridge.counter (
    name  text primary key,
    value bigint not null
);
