#!/usr/bin/env bash
# Writes requirements.lock (what veneer runs on) and requirements-dev.lock (what checks and builds it):
# the newest versions pyproject.toml allows, with everything they pull in.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$("$here/scripts/python.sh")" -m venv "$work/venv"
pip() { "$work/venv/bin/python" -m pip --disable-pip-version-check --quiet "$@"; }
read_list() {  # a list of requirements out of pyproject.toml, by its keys
  "$work/venv/bin/python" - "$here/pyproject.toml" "$@" <<'PY'
import sys, tomllib
value = tomllib.load(open(sys.argv[1], "rb"))
for key in sys.argv[2:]:
    value = value[key]
print("\n".join(value))
PY
}
freeze() {  # versions with the marker each needs: part of the standard library from Python 3.14 on
  pip freeze --all --exclude pip --exclude setuptools --exclude wheel |
    sed -e 's/^\(backports.zstd==.*\)$/\1 ; python_version < "3.14"/' | LC_ALL=C sort -f
}
read_list project dependencies >"$work/run"
pip install --upgrade -r "$work/run"
{ echo "# Made by \`make lock\`; edit pyproject.toml instead."; freeze; } >"$here/requirements.lock"
read_list dependency-groups dev >"$work/dev"
pip install --upgrade -r "$work/dev"
freeze | grep -vxF -f "$here/requirements.lock" >"$work/only-dev"
{ echo "# Made by \`make lock\`; edit pyproject.toml instead."; echo "-r requirements.lock"; cat "$work/only-dev"; } >"$here/requirements-dev.lock"
