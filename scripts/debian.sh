#!/usr/bin/env bash
# Makes sure that programs are there, installing their Debian packages where they are not.
#   scripts/debian.sh PROGRAM=PACKAGE...
# Asks `command -v` first, so it costs nothing the second time; needs root only when something is missing.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
packages=()
for pair in "$@"; do
  command -v "${pair%%=*}" >/dev/null || packages+=("${pair#*=}")
done
[ ${#packages[@]} -gt 0 ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "missing: ${packages[*]}" >&2
  echo "install these first (as root on Debian: apt-get install ${packages[*]})" >&2
  exit 1
fi
echo "installing ${packages[*]}" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
# A package started as a service on installation would sit on ports and sockets that nobody asked for.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
  trap 'rm -f "$log" "$policy"' EXIT
fi
# One index refresh per day is enough; an old index is the usual reason for a failed installation.
fresh=$(find /var/lib/apt/lists -maxdepth 1 -name '*Packages*' -mtime -1 -print -quit 2>/dev/null || true)
[ -n "$fresh" ] || apt-get update -qq >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
install=(apt-get install -y -qq --no-install-recommends "${packages[@]}")
"${install[@]}" >"$log" 2>&1 </dev/null || { apt-get update -qq && "${install[@]}"; } >"$log" 2>&1 </dev/null || { cat "$log" >&2; exit 1; }
