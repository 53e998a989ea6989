#!/bin/bash
# Run once by the postgres image, when its volume is empty: a role and a database of its own for each service, so that
# the receiver can't read the sessions that the bridge keeps. The image may source this instead of running it.
make_databases() {
  local service password
  for service in bridge receiver; do
    password=${service^^}_DB_PASSWORD
    # `%L`: the server quotes the password, whatever is in it; psql passes it from the environment, out of sight of `ps`
    psql --set ON_ERROR_STOP=1 --quiet --username "$POSTGRES_USER" --dbname postgres --set service="$service" <<SQL
\\getenv password $password
select format('create role %I login password %L', :'service', :'password') \\gexec
select format('create database %I owner %I', :'service', :'service') \\gexec
select format('revoke all on database %I from public', :'service') \\gexec
SQL
  done
}
make_databases
