#!/usr/bin/env bash
# Prints the path of a Python that can make a virtual environment for veneer: 3.11 or newer, with venv and pip.
# PYTHON=... overrides the search.  A wrapper on PATH (pyenv's shims) is resolved to the interpreter behind it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# Looks at one candidate: prints the real interpreter's path if it is new enough, fails otherwise.
usable() {
  "$1" -c 'import sys; print(sys.executable); sys.exit(sys.version_info < (3, 11))' </dev/null 2>/dev/null
}
found=
for candidate in ${PYTHON:-/usr/bin/python3 python3 python3.11 python3.12 python3.13 python3.14}; do
  found=$(usable "$candidate") && [ -n "$found" ] && break
  found=
done
if [ -z "$found" ]; then
  echo "veneer needs Python 3.11 or newer; ${PYTHON:-python3} is: $(${PYTHON:-python3} --version 2>&1 || true)" >&2
  echo "name one with: make PYTHON=/path/to/python3.11 ..." >&2
  exit 1
fi
if ! "$found" -c 'import ensurepip, venv' 2>/dev/null; then
  version=$("$found" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  "$here/debian.sh" "ensurepip=python$version-venv"
fi
echo "$found"
