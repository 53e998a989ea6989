-- What is old lies together: a few pages tell where.
create index message_old on bridge.message using brin (at);
