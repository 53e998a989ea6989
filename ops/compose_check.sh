#!/usr/bin/env bash
# Shows that docker-compose.yml does what it promises, with whatever compose command it is given:
#   ops/compose_check.sh docker compose
# It runs under a project name, ports, volumes and secrets of its own, takes all of it away at the end, and its last line
# is `compose ok`. What it asks of a step is asked until it is so or the deadline is over; each wait is bounded.
# Where there is a network, one step asks WhatsApp for a QR code that nobody scans.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || { sed -n '2,6p' "$0" >&2; exit 2; }

WAIT_S=${WAIT_S:-120}
folder=$(mktemp -d)
# what the caller has exported would win over the file
for name in $(compgen -v RECEIVER_) $(compgen -v PONG_); do unset "$name"; done
unset POSTGRES_PASSWORD BRIDGE_DB_PASSWORD RECEIVER_DB_PASSWORD WEBHOOK_SECRET COMPOSE_FILE COMPOSE_PROJECT_NAME COMPOSE_PROFILES
for name in $(compgen -v BRIDGE_); do unset "$name"; done
sh ops/docker/new_env.sh "$folder/env" >/dev/null
read -r api_port receiver_port < <(python3 -c '
import socket
with socket.create_server(("127.0.0.1", 0)) as a, socket.create_server(("127.0.0.1", 0)) as b:
    print(a.getsockname()[1], b.getsockname()[1])')
printf 'BRIDGE_PUBLISH=127.0.0.1:%s\nRECEIVER_PUBLISH=127.0.0.1:%s\n' "$api_port" "$receiver_port" >>"$folder/env"
api=http://127.0.0.1:$api_port receiver=http://127.0.0.1:$receiver_port
for service in bridge receiver; do
  printf 'header = "Authorization: Bearer %s"\n' "$(sed -n "s/^${service^^}_API_KEY=//p" "$folder/env")" >"$folder/$service.curl"
done

# compose's own chatter is kept for the case that something fails
compose() { "${COMPOSE[@]}" -p whatsapp-bridge-check --env-file "$folder/env" "$@" 2>>"$folder/compose.log"; }
COMPOSE=("$@")
quietly() { compose "$@" >>"$folder/compose.log"; }
say() { printf '[%3d s] %s\n' "$SECONDS" "$*"; }
fail() { say "compose check failed: $*"; exit 1; }

clean_up() {
  status=$?
  trap - EXIT INT TERM
  if [ "$status" != 0 ]; then
    tail -n 20 "$folder/compose.log" || true
    for service in postgres bridge receiver; do echo "--- $service"; compose logs "$service" 2>&1 | tail -n 15 || true; done
  fi
  quietly down -v || quietly down -v || echo "not all of it could be taken away"
  rm -rf "$folder"
  exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# --- asking ----------------------------------------------------------------------------------------------------------

# until_so WHAT COMMAND...: until the command succeeds
until_so() {
  local what=$1 deadline=$((SECONDS + WAIT_S)); shift
  until "$@" >"$folder/last" 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || { head -c 600 "$folder/last"; fail "$what: not within $WAIT_S s"; }
    sleep 0.3
  done
}
get() { curl --silent --fail --max-time 5 "$1"; }
call() { curl --silent --show-error --fail --max-time 40 --config "$folder/bridge.curl" -H 'Content-Type: application/json' "$@"; }
stored() { curl --silent --fail --max-time 5 --config "$folder/receiver.curl" "$receiver/events?$1"; }
field() { python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }
status_is() { [ "$(curl --silent --output /dev/null --max-time 5 --write-out '%{http_code}' "$2")" = "$1" ]; }
ready() {
  until_so "the bridge is ready" get "$api/readyz"
  until_so "the receiver is ready" get "$receiver/readyz"
}
# younger_than SECONDS: whether the bridge's process started within that time
younger_than() {
  get "$api/readyz?verbose" | python3 -c 'import json, sys; sys.exit(json.load(sys.stdin)["tree"]["since_s"] >= float(sys.argv[1]))' "$1"
}
restarted_since() { younger_than "$((SECONDS - $1 + 1))"; }
# times_arrived KEY: how often the receiver has stored that the instance was created
times_arrived() {
  stored "type=instance.created&instance=$1&limit=1000" |
    python3 -c 'import json, sys; print(len(json.load(sys.stdin)["events"]))'
}
arrived() { [ "$(times_arrived "$1")" -ge 1 ]; }

keys=()
# Asked again under the same idempotency key, as any client should: the store may still be on its way back.
create() {
  local once="${#keys[@]}-$RANDOM"
  until_so "an instance is created" call -X POST "$api/instance/create" -H "Idempotency-Key: $once" -d "{\"name\": \"$1\"}"
  keys+=("$(field instance_key <"$folder/last")")
}
delivers() {
  create "$1"
  until_so "the webhook of: $1" arrived "${keys[-1]}"
  say "$1: created, and its webhook arrived"
}

# --- the steps -------------------------------------------------------------------------------------------------------

hardened() {
  local service
  for service in bridge receiver; do
    compose exec -T "$service" sh -c '
      [ "$(id -u)" != 0 ] || { echo "runs as root"; exit 1; }
      for folder in / /opt/venv /usr/local/bin; do
        if touch "$folder/written" 2>/dev/null; then echo "$folder can be written"; exit 1; fi
      done
      touch /tmp/written || exit 1
      grep -q "^NoNewPrivs:.1$" /proc/self/status || { echo "could gain privileges"; exit 1; }
      grep -q "^CapBnd:.0*$" /proc/self/status || { echo "has capabilities"; exit 1; }
      for program in gcc cc make; do
        if command -v "$program"; then echo "has a compiler"; exit 1; fi
      done' || fail "$service is not closed enough"
  done
  say "bridge and receiver: not root, read-only, no capabilities, no compiler"
}

probes() {
  compose exec -T postgres pg_isready --quiet --host=127.0.0.1 &&
    compose exec -T bridge probe http://127.0.0.1:4444/readyz &&
    compose exec -T receiver probe http://127.0.0.1:5555/readyz
}

# The engine has a driver of its own for PostgreSQL, which wants TLS where the bridge's would do without.
engine_database() {
  compose exec -T bridge python -c '
import os
from urllib.parse import parse_qs, urlsplit

import psycopg

from bridge.engine.urls import engine_url

url = os.environ["BRIDGE_DATABASE_URL"]
asked = parse_qs(urlsplit(engine_url(url, idle_session_timeout_ms=1000).text).query)
psycopg.connect(url, sslmode=asked["sslmode"][0], connect_timeout=5).close()'
}
host_started() { compose logs bridge | grep engine.host_up; }
engine() {
  engine_database || fail "the engine can't use the database as it is configured"
  call -X POST "$api/instance/connect" -d "{\"instance_key\": \"${keys[0]}\", \"wait_s\": 0}" >/dev/null || true
  until_so "an engine process starts" host_started
  call -X POST "$api/instance/${keys[0]}/disconnect" -d '{}' >/dev/null || fail "disconnect"
  say "an engine process runs in the image"
}

receiver_away() {
  quietly stop receiver
  create "while the receiver is away"
  quietly start receiver
  until_so "the webhook that waited" arrived "${keys[-1]}"
  say "what happened while the receiver was away arrived afterwards"
}

# As the kernel would for want of memory: the process dies, the container ends, the restart policy brings it back.
kill_process() {
  local began=$SECONDS
  compose exec -T bridge python -c '
import os, pathlib, signal
for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
    if stat.read_text().rpartition(")")[2].split()[1] == "1":
        os.kill(int(stat.parent.name), signal.SIGKILL)' >/dev/null || true
  until_so "the bridge is back by itself" restarted_since "$began"
  say "the restart policy brought the bridge back"
}

kill_containers() {
  local service
  for service in postgres receiver bridge; do
    quietly kill "$service"
    quietly start "$service"
    ready
    say "the container $service is back"
    delivers "after kill -9 of the container $service"
  done
}

# Not even the database's name is known at first: the receiver waits, the bridge gives up and begins anew until it is there.
gave_up() { compose logs bridge 2>&1 | grep "PostgreSQL does not answer"; }
late_database() {
  quietly down
  quietly up -d --no-deps bridge receiver
  until_so "the receiver lives without a database" status_is 200 "$receiver/livez"
  until_so "the receiver is not ready without a database" status_is 503 "$receiver/readyz"
  until_so "the bridge does not start without a database" gave_up
  quietly up -d --no-deps postgres
  ready
  delivers "after a database that came late"
}

stops_in_order() {
  local began=$SECONDS took
  quietly stop bridge
  took=$((SECONDS - began))
  [ "$took" -le 15 ] || fail "the bridge took $took s to stop"
  compose logs bridge 2>&1 | tail -n 30 | grep -q bridge.stopped || fail "the bridge was killed instead of stopping in order"
  quietly start bridge
  ready
  say "SIGTERM: the bridge stopped in order, in $took s"
}

nothing_lost() {
  local key listed
  listed=$(call "$api/instances")
  for key in "${keys[@]}"; do
    [[ $listed == *"$key"* ]] || fail "instance $key is gone"
    [ "$(times_arrived "$key")" = 1 ] || fail "the receiver has instance $key $(times_arrived "$key") times"
  done
  say "all ${#keys[@]} instances are there, and the receiver has each of their webhooks once"
}

nothing_secret() {
  local name value
  compose logs >"$folder/last" 2>&1
  while IFS='=' read -r name value; do
    if grep --quiet --fixed-strings -- "$value" "$folder/last"; then fail "$name stands in the logs"; fi
  done < <(grep -E '^[A-Z_]*(PASSWORD|SECRET|KEY)=' "$folder/env")
  say "no secret stands in the logs"
}

quietly build
say "built"
quietly up -d
ready
until_so "the health checks pass" probes
say "postgres, bridge and receiver are healthy"
hardened
status_is 401 "$api/instances" || fail "the API answers without a key"
status_is 401 "$receiver/events" || fail "the receiver shows events without a key"
delivers "the first instance"
engine
quietly restart bridge
ready
delivers "after restart"
receiver_away
kill_process
ready
delivers "after kill -9 of the bridge's process"
kill_containers
stops_in_order
late_database
quietly down
quietly up -d
ready
delivers "after down and up"
nothing_lost
nothing_secret
echo "compose ok"
