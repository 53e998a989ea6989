#!/usr/bin/env bash
# Shows that docker-compose.yml does what it promises, with whatever compose command it is given:
#   ops/compose_check.sh docker compose
# It runs under a project name, ports, volumes and secrets of its own, takes all of it away at the end, and its last line
# is `compose ok`. What it asks of a step is asked until it is so or the deadline is over; each wait is bounded.
# A sandbox takes WhatsApp's place: a number is paired in a browser, and texts go in and out after everything that is done
# to it. What the sandbox then knows to have sent is compared with what the receiver has.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || { sed -n '2,7p' "$0" >&2; exit 2; }

WAIT_S=${WAIT_S:-120}
# with playwright, for the browser: that of the project
PYTHON=${PYTHON:-.venv/bin/python}
folder=$(mktemp -d)
# what the caller has exported would win over the file
for name in $(compgen -v RECEIVER_) $(compgen -v PONG_) $(compgen -v SANDBOX_); do unset "$name"; done
unset POSTGRES_PASSWORD BRIDGE_DB_PASSWORD RECEIVER_DB_PASSWORD WEBHOOK_SECRET COMPOSE_FILE COMPOSE_PROJECT_NAME COMPOSE_PROFILES
for name in $(compgen -v BRIDGE_); do unset "$name"; done
sh ops/docker/new_env.sh "$folder/env" >/dev/null
read -r api_port receiver_port sandbox_port prometheus_port < <(python3 -c '
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(4)]
print(*(each.getsockname()[1] for each in sockets))')
cat >>"$folder/env" <<E
BRIDGE_PUBLISH=127.0.0.1:$api_port
RECEIVER_PUBLISH=127.0.0.1:$receiver_port
SANDBOX_PUBLISH=127.0.0.1:$sandbox_port
PROMETHEUS_PUBLISH=127.0.0.1:$prometheus_port
BRIDGE_SANDBOX_URL=http://sandbox:4450
BRIDGE_SANDBOX_INSTEAD_OF_WHATSAPP=on
BRIDGE_SANDBOX_REMOTE=on
BRIDGE_WEBHOOK_ALLOW=receiver:5555,127.0.0.1:9
RECEIVER_HANDLERS=receiver.examples.pong:answer
PONG_API_KEY=$(sed -n "s/^BRIDGE_API_KEY=//p" "$folder/env")
BRIDGE_BACKUP_PASSPHRASE=$(head -c 18 /dev/urandom | base64)
E
api=http://127.0.0.1:$api_port receiver=http://127.0.0.1:$receiver_port sandbox=http://127.0.0.1:$sandbox_port
phone=4915100000001 contact=4915100000002  # in the browser, the sandbox chooses the first
for service in bridge receiver; do
  printf 'header = "Authorization: Bearer %s"\n' "$(sed -n "s/^${service^^}_API_KEY=//p" "$folder/env")" >"$folder/$service.curl"
done

# compose's own chatter is kept for the case that something fails
compose() { "${COMPOSE[@]}" --profile sandbox -p whatsapp-bridge-check --env-file "$folder/env" "$@" 2>>"$folder/compose.log"; }
COMPOSE=("$@")
quietly() { compose "$@" >>"$folder/compose.log"; }
observability() { compose --profile observability "$@" >>"$folder/compose.log"; }
backup() { compose --profile backup run --rm -T "$@"; }
say() { printf '[%3d s] %s\n' "$SECONDS" "$*"; }
fail() { say "compose check failed: $*"; exit 1; }

clean_up() {
  status=$?
  trap - EXIT INT TERM
  if [ "$status" != 0 ]; then
    tail -n 20 "$folder/compose.log" || true
    for service in postgres sandbox bridge receiver; do echo "--- $service"; compose logs "$service" 2>&1 | tail -n 15 || true; done
  fi
  observability down -v || observability down -v || echo "not all of it could be taken away"
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
act() { curl --silent --show-error --fail --max-time 40 -H 'Content-Type: application/json' "$@"; }
online() { [ "$(call "$api/instance/${keys[0]}/status" | field state)" = online ]; }
in_browser() {
  local status=0
  "$PYTHON" -m ops.browser_story "$folder/env" "$api" "$sandbox" "$receiver" "$contact" >"$folder/paired" || status=$?
  [ "$status" != 3 ] || return 3
  [ "$status" = 0 ] || fail "the story in the browser"
  read -r key phone <"$folder/paired"
  keys=("$key" "${keys[@]}")
  talks+=("in the browser")
  say "paired in the browser, $phone: a text went out from the dashboard, one came in, and the receiver's page shows it"
}
pair() {
  engine_database || fail "the engine can't use the database as it is configured"
  act -X POST "$sandbox/phones" -d "{\"phone\": \"$contact\", \"name\": \"Ann\"}" >/dev/null || fail "no phone in the sandbox"
  if in_browser; then return; fi
  say "no Chromium here: paired without a browser"
  until_so "connect" call -X POST "$api/instance/connect" -d "{\"instance_key\": \"${keys[0]}\"}"
  until_so "a QR code" call "$api/instance/${keys[0]}/qr?format=json&wait_s=20"
  act -X POST "$sandbox/phones/$phone/scan" -d "{\"qr\": \"$(field code <"$folder/last")\"}" >/dev/null || fail "scan"
  until_so "the number is online" online
  say "paired: the number is online"
}

# how often the receiver has a text, and how often the contact's phone
count_in() {
  stored "type=message.received&limit=1000" |
    python3 -c 'import json, sys; print([e["body"]["data"].get("text") for e in json.load(sys.stdin)["events"]].count(sys.argv[1]))' "$1"
}
count_out() {
  act "$sandbox/phones/$contact/messages?limit=1000" |
    python3 -c 'import json, sys; print([m["text"] for m in json.load(sys.stdin)["messages"]].count(sys.argv[1]))' "$1"
}
came_in() { [ "$(count_in "$1")" -ge 1 ]; }
went_out() { [ "$(count_out "$1")" -ge 1 ]; }

talks=()
talk() {
  local body
  talks+=("$1")
  until_so "the sandbox answers" get "$sandbox/health"
  act -X POST "$sandbox/phones/$contact/send" -d "{\"to\": \"$phone\", \"text\": \"in: $1\"}" >/dev/null || fail "the contact cannot send"
  until_so "a text comes in $1" came_in "in: $1"
  until_so "the number is online $1" online
  body="{\"instance_key\": \"${keys[0]}\", \"phone\": \"$contact\", \"message\": \"out: $1\"}"
  until_so "a text goes out $1" call -X POST "$api/message/send" -H "Idempotency-Key: talk-${#talks[@]}" -d "$body"
  until_so "the text is on the phone $1" went_out "out: $1"
  say "$1: a text came in and one went out"
}

# shellcheck source=ops/compose_check_media.sh
. ops/compose_check_media.sh

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
  for service in postgres receiver sandbox bridge; do
    quietly kill "$service"
    quietly start "$service"
    ready
    say "the container $service is back"
    talk "after kill -9 of the container $service"
  done
}

# Not even the database's name is known at first: the receiver waits, the bridge gives up and begins anew until it is there.
gave_up() { compose logs bridge 2>&1 | grep "PostgreSQL does not answer"; }
late_database() {
  quietly down
  quietly up -d --no-deps sandbox bridge receiver
  until_so "the receiver lives without a database" status_is 200 "$receiver/livez"
  until_so "the receiver is not ready without a database" status_is 503 "$receiver/readyz"
  until_so "the bridge does not start without a database" gave_up
  quietly up -d --no-deps postgres
  ready
  talk "after a database that came late"
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

# As docs/runbooks.md has it: backed up while it runs, then everything is lost, and restored without a QR code. The
# password is for images whose local connections ask for one.
in_postgres() { compose exec -T postgres sh -c "export PGPASSWORD=\$POSTGRES_PASSWORD POSTGRES_USER=postgres; $*" >>"$folder/compose.log"; }
restored() {
  local each
  backup backup backup - >"$folder/backup" || fail "the backup"
  quietly stop bridge receiver
  for each in "drop database bridge with (force)" "drop database receiver with (force)" "drop role bridge" "drop role receiver"; do
    in_postgres "psql -q -U postgres -c '$each'" || fail "$each"
  done
  in_postgres bash /docker-entrypoint-initdb.d/databases.sh || fail "empty databases"
  backup --entrypoint sh backup -c 'rm -rf /data/*' >>"$folder/compose.log" || fail "an empty volume"
  backup backup restore - <"$folder/backup" >>"$folder/compose.log" || fail "the restore"
  quietly start bridge receiver
  ready
  say "restored: $(stat -c %s "$folder/backup") bytes brought databases and files back"
  until_so "the picture is there after the restore" picture_readable
  talk "after a restore"
}

nothing_lost() {
  local key listed text
  listed=$(call "$api/instances")
  for key in "${keys[@]}"; do
    [[ $listed == *"$key"* ]] || fail "instance $key is gone"
    [ "$(times_arrived "$key")" = 1 ] || fail "the receiver has instance $key $(times_arrived "$key") times"
  done
  for text in "${talks[@]}"; do
    [ "$(count_in "in: $text")" = 1 ] || fail "the receiver has 'in: $text' $(count_in "in: $text") times"
    [ "$(count_out "out: $text")" = 1 ] || fail "the contact has 'out: $text' $(count_out "out: $text") times"
  done
  say "all ${#keys[@]} instances and ${#talks[@]} texts in and out are there, each once"
  stored "type=message.received&limit=1000" | python3 -c '
import json, sys
print(json.dumps({"message_ids": [e["body"]["data"]["message_id"] for e in json.load(sys.stdin)["events"]], "recipient": sys.argv[1]}))
' "$phone" | act -X POST "$sandbox/oracle/verdict" -d @- >"$folder/verdict"
  [ "$(field clean <"$folder/verdict")" = True ] || fail "what the sandbox sent and the receiver has: $(cat "$folder/verdict")"
  say "the sandbox sent $(field checked <"$folder/verdict") messages to the number, and the receiver has exactly those"
}

# Something in every panel: an endpoint that is away, a webhook that is refused, a handler that is called.
watched() {
  if ! observability up -d --no-deps prometheus; then
    say "no image of Prometheus here: the profile observability was not tried"
    return
  fi
  call -X POST "$api/webhooks" -d "{\"instance_key\": \"${keys[0]}\", \"url\": \"http://127.0.0.1:9/away\"}" >/dev/null || fail "an endpoint"
  curl --silent --output /dev/null --max-time 5 -X POST "$receiver/webhook" -d '{}'
  act -X POST "$sandbox/phones/$contact/send" -d "{\"to\": \"$phone\", \"text\": \"ping\"}" >/dev/null || fail "a ping"
  talk "while Prometheus watches"
  until_so "every query of the dashboard has data" "$PYTHON" -m ops.observe --at "http://127.0.0.1:$prometheus_port"
  say "Prometheus asks bridge and receiver: $(grep -c series "$folder/last") panels have data; $(grep rules "$folder/last")"
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
# by the engine's own command, which is not the one of compose
[[ ${COMPOSE[*]} == docker* ]] && engine=${ENGINE:-docker} || engine=${ENGINE:-podman}
sized=$(ops/docker/size.sh "$engine" whatsapp-bridge:local) || fail "the size of the bridge's image, asked of $engine (ENGINE=... names another): $sized"
say "$sized"
quietly up -d
ready
until_so "the health checks pass" probes
say "postgres, bridge and receiver are healthy"
hardened
status_is 401 "$api/instances" || fail "the API answers without a key"
status_is 401 "$receiver/events" || fail "the receiver shows events without a key"
delivers "the first instance"
pair
talk "at first"
picture
voice
quietly restart bridge
ready
talk "after restart"
receiver_away
kill_process
ready
talk "after kill -9 of the process"
kill_containers
stops_in_order
late_database
quietly down
quietly up -d
ready
talk "after down and up"
restored
watched
nothing_lost
nothing_secret
echo "compose ok"
