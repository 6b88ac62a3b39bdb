#!/usr/bin/env bash
# Root file systems to import as base images, made without any image registry.
#   scripts/rootfs.sh busybox OUT.tar              2 MB: static busybox with its applets, /etc/passwd, /tmp
#   scripts/rootfs.sh debian  OUT.tar [PACKAGE...] Debian's essential packages (mmdebstrap), or with apt and these
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
kind=${1:?busybox or debian}; out=$(realpath -m "${2:?where to write the tar}"); shift 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
case $kind in
busybox)
  "$here/debian.sh" busybox=busybox-static
  root=$work/root
  mkdir -p "$root"/{bin,dev,etc,home,proc,root,sys,usr/bin,usr/sbin,sbin,var/spool/mail}
  mkdir -m 1777 "$root/tmp"
  cp "$(command -v busybox)" "$root/bin/busybox"
  for applet in $("$root/bin/busybox" --list); do
    [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
  done
  printf 'root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\nnobody:x:65534:65534:nobody:/home:/bin/false\n' >"$root/etc/passwd"
  printf 'root:x:0:\ndaemon:x:1:\nnogroup:x:65534:\n' >"$root/etc/group"
  tar --sort=name --mtime=@1700000000 --owner=0 --group=0 --numeric-owner -C "$root" -cf "$out" . ;;
debian)
  "$here/debian.sh" mmdebstrap=mmdebstrap
  release=$(. /etc/os-release && echo "$VERSION_CODENAME")
  bootstrap=(mmdebstrap --quiet --variant=essential)
  [ $# = 0 ] || bootstrap=(mmdebstrap --quiet --variant=minbase --include="$(IFS=,; echo "$*")")
  # dpkg syncs every file it writes; in memory, where there is enough of it, that costs nothing.
  free=$(awk '/^MemAvailable:/ { print int($2 / 1024) }' /proc/meminfo)
  if [ "$(id -u)" = 0 ] && [ "$free" -gt 2048 ]; then
    bootstrap=(unshare --mount sh -c 'mount -t tmpfs -o size=2g,mode=755 rootfs "$TMPDIR" && exec "$@"' sh "${bootstrap[@]}")
  fi
  TMPDIR=$work "${bootstrap[@]}" "$release" "$out" </dev/null ;;
*) echo "usage: $0 busybox|debian OUT.tar [PACKAGE...]" >&2; exit 2 ;;
esac
