#!/bin/sh
# Says how large an image of ours is, and fails when it is too large: ops/docker/size.sh [ENGINE] [IMAGE]
# What is ours are the layers from our first LABEL on; below it is the base, which may be another one than the public.
set -eu
engine=${1:-docker} image=${2:-whatsapp-bridge:local}
LIMIT_MB=450
# python:3.13-slim-bookworm unpacked, as `docker image ls` shows it: 120 to 150 MB for the releases and platforms of the
# last years, the upper end taken. (Docker Hub shows it compressed, about 45 MB.)
PUBLIC_BASE_MB=150
"$engine" history --no-trunc --format '{{.Size}} {{.CreatedBy}}' "$image" | awk -v base="$PUBLIC_BASE_MB" -v limit="$LIMIT_MB" '
  {
    # "215 MB" of podman, "215MB" of docker
    mb = $1 + 0
    unit = $1 ~ /[A-Z]$/ ? $1 : $2
    sub(/^[0-9.]+/, "", unit)
    mb *= unit == "GB" ? 1000 : unit == "MB" ? 1 : unit == "kB" ? 1e-3 : 1e-6
  }
  below { under += mb; next }
  { ours += mb }
  /LABEL org.opencontainers.image.title/ { below = 1 }
  END {
    if (!below || ours < 1) { print "no layers of ours were found" > "/dev/stderr"; exit 2 }
    printf "base here %d MB, our layers %d MB; on the public base of %d MB: %d MB of at most %d\n",
      under, ours, base, ours + base, limit
    exit ours + base > limit
  }'
