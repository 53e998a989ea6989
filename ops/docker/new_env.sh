#!/bin/sh
# Writes .env (or the file named) from .env.example with fresh secrets; never over a file that exists.
set -eu
cd "$(dirname "$0")/../.."
target=${1:-.env}
[ ! -e "$target" ] || { echo "$target exists: remove it first if its secrets are to be replaced" >&2; exit 1; }
random() { head -c "$1" /dev/urandom; }
hex() { random 24 | od -An -vtx1 | tr -d ' \n'; }
umask 077
sed -e "s|^POSTGRES_PASSWORD=.*|&$(hex)|" \
    -e "s|^BRIDGE_DB_PASSWORD=.*|&$(hex)|" \
    -e "s|^RECEIVER_DB_PASSWORD=.*|&$(hex)|" \
    -e "s|^WEBHOOK_SECRET=.*|&whsec_$(random 32 | base64 | tr -d '\n')|" \
    -e "s|^GRAFANA_PASSWORD=.*|&$(hex)|" \
    -e "s|^RECEIVER_API_KEY=.*|&rcv_$(hex)|" \
    -e "s|^BRIDGE_API_KEY=.*|&wab_$(hex)|" \
    .env.example >"$target"
echo "wrote $target"
