"""`RUN --mount=type=...`.  Source: docker/dockerfile:1 reference, RUN --mount."""

from __future__ import annotations

import csv
import re

from veneer.build.language.errors import nearest
from veneer.build.language.instructions import RunMount
from veneer.build.language.words import Syntax

TYPES = ("bind", "cache", "tmpfs", "secret", "ssh")
SHARING = ("shared", "private", "locked")
_NAMES = {"dst": "target", "destination": "target", "src": "source", "ro": "readonly"}
_ALLOWED = {
    "bind": {"type", "target", "source", "from", "readonly", "rw", "readwrite"},
    "cache": {"type", "target", "source", "from", "readonly", "rw", "readwrite", "id", "sharing", "mode", "uid", "gid"},
    "tmpfs": {"type", "target", "size"},
    "secret": {"type", "target", "id", "required", "mode", "uid", "gid", "env", "source"},
    "ssh": {"type", "target", "id", "required", "mode", "uid", "gid"},
}
_FLAGS = ("readonly", "rw", "readwrite", "required")
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmgt]?)(?:i?b)?", re.IGNORECASE)


def run_mount(text: str) -> RunMount:
    """Read the value of a --mount.  Variables in it are replaced first where they may be.  Raises Syntax."""
    try:
        fields = next(csv.reader([text], strict=True), [])
    except csv.Error as error:
        raise Syntax(f"invalid mount {text!r}: {error}", at="--mount") from None
    given: dict[str, str] = {}
    for field in fields:
        name, equals, value = field.partition("=")
        name = _NAMES.get(name.lower(), name.lower())
        if not equals and name not in _FLAGS:
            raise Syntax(f"invalid field '{field}' must be a key=value pair", at="--mount")
        given[name] = value if equals else "true"
    kind = given.get("type", "bind")
    if kind not in TYPES:
        near = nearest(kind, TYPES)
        raise Syntax(f"unsupported mount type {kind!r}", hint=f"did you mean {near}?" if near else
                     f"one of {', '.join(TYPES)}", at="--mount")  # fmt: skip
    for name in given:
        if name not in _ALLOWED[kind]:
            near = nearest(name, sorted(_ALLOWED[kind]))
            raise Syntax(f"unexpected key '{name}' for mount type '{kind}'",
                         hint=f"did you mean {near}?" if near else "", at="--mount")  # fmt: skip
    return _checked(kind, given, text)


def _checked(kind: str, given: dict[str, str], text: str) -> RunMount:
    target = given.get("target", "")
    if not target and kind not in ("secret", "ssh"):
        raise Syntax(f"mount type {kind} needs a target", hint=f"--mount=type={kind},target=/path", at="--mount")
    sharing = given.get("sharing", "shared").lower()
    if sharing not in SHARING:
        raise Syntax(f"unsupported sharing value {sharing!r}", hint=f"one of {', '.join(SHARING)}", at="--mount")
    if kind == "secret" and not (given.get("id") or target or given.get("source") or given.get("env")):
        raise Syntax("a secret mount needs an id, a target or env", at="--mount")
    writable = _flag(given, "rw") or _flag(given, "readwrite")
    readonly = _flag(given, "readonly") if "readonly" in given else kind == "bind" and not writable
    default = target.rpartition("/")[2] if kind == "secret" else "default" if kind == "ssh" else ""
    return RunMount(
        kind, target, given.get("source", ""), given.get("from", ""),
        given.get("id") or (given.get("source", "") if kind == "secret" else "") or default or given.get("env", ""),
        readonly, _flag(given, "required"), sharing,
        _octal(given.get("mode", "")), _number(given, "uid"), _number(given, "gid"),
        _size(given.get("size", "")), given.get("env", ""), text,
    )  # fmt: skip


def _flag(given: dict[str, str], name: str) -> bool:
    value = given.get(name, "false").lower()
    if value not in ("true", "false", "1", "0", "") and "$" not in value:
        raise Syntax(f"invalid value for {name}: {value}", at="--mount")
    return value in ("true", "1", "")


# A value with a variable in it is looked at again when the variable has been replaced.


def _octal(text: str) -> int | None:
    if not text or "$" in text:
        return None
    if not re.fullmatch(r"0?o?[0-7]{1,6}", text):
        raise Syntax(f"invalid value {text} for mode", hint="octal, as in 0600", at="--mount")
    return int(text.replace("o", ""), 8)


def _number(given: dict[str, str], name: str) -> int | None:
    text = given.get(name, "")
    if not text or "$" in text:
        return None
    if not (text.isascii() and text.isdigit()) or int(text) >= 1 << 32:
        raise Syntax(f"invalid value {text} for {name}", at="--mount")
    return int(text)


def _size(text: str) -> int:
    if not text or "$" in text:
        return 0
    found = _SIZE.fullmatch(text)
    if found is None:
        raise Syntax(f"invalid size {text!r}", hint="as in 64m", at="--mount")
    return int(float(found[1]) * 1024 ** " kmgt".index(found[2].lower() or " "))
