"""`RUN --mount=type=...`.  Source: docker/dockerfile:1 reference; moby/buildkit instructions/commands_runmount.go."""

from __future__ import annotations

import csv
import posixpath
import re
from collections.abc import Callable

from veneer.build.language.errors import Syntax, did_you_mean
from veneer.build.language.instructions import RunMount

TYPES = ("bind", "cache", "tmpfs", "secret", "ssh")
SHARING = ("shared", "private", "locked")
KEYS = (
    "type", "from", "source", "src", "target", "dst", "destination", "readonly", "ro", "readwrite", "rw", "id",
    "sharing", "required", "size", "mode", "uid", "gid", "env",
)  # fmt: skip
_NAMES = {"dst": "target", "destination": "target", "src": "source", "ro": "readonly", "readwrite": "rw"}
_ALONE = ("readonly", "rw", "required")
_TRUE, _FALSE = ("1", "t", "true"), ("0", "f", "false")
_SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,9})?) ?([kmgtp]?)(?:i?b)?", re.IGNORECASE)
_HAVE_OWNER = ("secret", "ssh", "cache")


def run_mount(text: str, replace: Callable[[str], str] | None = None) -> RunMount:
    """Read the value of a --mount.  `replace` replaces variables; without it one that has some is deferred.

    Raises Syntax, ExpansionError.
    """
    try:
        fields = next(csv.reader([text], strict=True), [])
    except csv.Error as error:
        raise Syntax(f"failed to parse csv mounts: {error}", at="--mount") from None
    given: dict[str, str] = {}
    for field in fields:
        name, equals, value = field.partition("=")
        name = _NAMES.get(name.lower(), name.lower())
        if name not in KEYS:
            raise Syntax(f"unexpected key '{name}' in '{field}'{did_you_mean(name, KEYS)}", at=field)
        if not equals and name not in _ALONE:
            raise Syntax(f"invalid field '{field}' must be a key=value pair", at=field)
        if name == "from" and "$" in value.rstrip("$"):
            raise Syntax(
                "'from' doesn't support variable expansion, define alias stage instead",
                hint="FROM ${NAME} AS alias, and from=alias", at=field,
            )  # fmt: skip
        given[name] = value if equals else "true"
    if "$" in text:
        if replace is None:
            return _mount(given, text, deferred=True)
        given = {name: replace(value) for name, value in given.items()}
    return _Reader(given, text).mount()


def _mount(given: dict[str, str], text: str, *, deferred: bool = False) -> RunMount:
    return RunMount(
        given.get("type", "bind"), given.get("target", ""), given.get("source", ""), given.get("from", ""),
        given.get("id", ""), False, False, given.get("sharing", "shared"), None, None, None, 0, given.get("env", ""),
        text, deferred,
    )  # fmt: skip


class _Reader:
    def __init__(self, given: dict[str, str], text: str) -> None:
        self.given, self.text = given, text
        self.type = given.get("type", "bind").lower()

    def mount(self) -> RunMount:
        given = self.given
        if self.type not in TYPES:
            meant = did_you_mean(self.type, TYPES)
            raise Syntax(f'unsupported mount type "{self.type}"{meant}', hint=f"one of {', '.join(TYPES)}", at="type=")
        self._only("required", "secret", "ssh")
        self._only("size", "tmpfs")
        self._only("env", "secret")
        self._only("sharing", "cache")
        for name in ("mode", "uid", "gid"):
            if name in given and self.type not in _HAVE_OWNER:
                raise Syntax(f'{name} not allowed for "{self.type}" type mounts', at=f"{name}=")
        if self.type == "secret":
            self._check_secret()
        sharing = given.get("sharing", "shared").lower()
        if sharing not in SHARING:
            meant = did_you_mean(sharing, SHARING)
            raise Syntax(f'unsupported sharing value "{sharing}"{meant}', hint=f"one of {', '.join(SHARING)}",
                         at="sharing=")  # fmt: skip
        return RunMount(
            self.type, given.get("target", ""), given.get("source", ""), given.get("from", ""), self._id(),
            self._readonly(), self._flag("required"), sharing, self._octal(), self._number("uid"), self._number("gid"),
            self._size(), given.get("env", ""), self.text,
        )  # fmt: skip

    def _only(self, name: str, *types: str) -> None:
        if name in self.given and self.type not in types:
            raise Syntax(f"unexpected key '{name}' for mount type '{self.type}'", at=name,
                         hint=f"{name} belongs to mounts of type {' and '.join(types)}")  # fmt: skip

    def _check_secret(self) -> None:
        given = self.given
        if given.get("from"):
            raise Syntax("secret mount should not have a from", at="from=")
        if not any(given.get(name) for name in ("source", "target", "id", "env")):
            raise Syntax("invalid secret mount. one of source, target required", at="--mount")
        if given.get("source") and given.get("id"):
            raise Syntax("both source and id can't be set", at="source=")

    def _id(self) -> str:
        given = self.given
        target = given.get("target", "")
        if self.type == "secret":
            return given.get("id") or given.get("source") or posixpath.basename(target) or given.get("env", "")
        if self.type == "cache":
            return given.get("id") or posixpath.normpath(target)
        return given.get("id") or ("default" if self.type == "ssh" else "")

    def _readonly(self) -> bool:
        if "readonly" in self.given:
            return self._flag("readonly")
        if "rw" in self.given:
            return not self._flag("rw")
        return self.type not in ("cache", "tmpfs")

    def _flag(self, name: str) -> bool:
        value = self.given.get(name, "false")
        if value.lower() in _TRUE:
            return True
        if value.lower() not in _FALSE:
            raise Syntax(f"invalid value for {name}: {value}", hint="true or false", at=f"{name}=")
        return False

    def _octal(self) -> int | None:
        text = self.given.get("mode")
        if text is None:
            return None
        if not re.fullmatch("[0-7]{1,11}", text) or int(text, 8) >= 1 << 32:
            raise Syntax(f"invalid value {text} for mode", hint="octal, as in 0600", at="mode=")
        return int(text, 8)

    def _number(self, name: str) -> int | None:
        text = self.given.get(name)
        if text is None:
            return None
        if not re.fullmatch("[0-9]{1,10}", text) or int(text) >= 1 << 32:
            raise Syntax(f"invalid value {text} for {name}", hint="a number", at=f"{name}=")
        return int(text)

    def _size(self) -> int:
        text = self.given.get("size")
        if text is None:
            return 0
        found = _SIZE.fullmatch(text)
        if found is None:
            raise Syntax(f"invalid value for size: {text}", hint="as in 64m", at="size=")
        return int(float(found[1]) * 1024 ** " kmgtp".index(found[2].lower() or " "))


def mount_target(mount: RunMount, workdir: str) -> str:
    """Where in the container a mount goes, absolute; "" for a secret that is a variable alone.  Raises Syntax."""
    if mount.type == "secret" and not mount.target:
        return "" if mount.env else f"/run/secrets/{posixpath.basename(mount.id)}"
    if mount.type == "ssh" and not mount.target:
        return "/run/buildkit/ssh_agent.0"
    target = posixpath.normpath(posixpath.join("/", workdir, mount.target))
    if target.strip("/") == "":
        raise Syntax(f'invalid mount target "{mount.target}"', hint="a mount cannot hide the whole file system",
                     at="--mount")  # fmt: skip
    return "/" + target.lstrip("/")
