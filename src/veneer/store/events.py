"""What happened, one JSON line each, in the form of docker's events: appended by whoever did it, read by whoever asks.

A line is written by one write to a file opened for appending, so that several processes never mix theirs; no database,
for every container's monitor writes here.  Past LIMIT bytes the file becomes `events.jsonl.1`, and a new one begins.
Source: docker's API reference, SystemEvents; moby daemon/events.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    Event = dict[str, Any]
    """{"status", "id", "from", "Type", "Action", "Actor": {"ID", "Attributes"}, "scope", "time", "timeNano"}; the first
    three for containers and images only."""

FILE, OLD = "events.jsonl", "events.jsonl.1"
LIMIT = 4 << 20
_TICK_SECONDS = 0.05
_WITH_STATUS = ("container", "image")


def append(
    root: str | os.PathLike[str],
    *,
    type: str,
    action: str,
    id: str,
    attributes: Mapping[str, str] | None = None,
    scope: str = "local",
) -> bool:
    """Write down that `action` happened just now to the thing `id` of that type; whether the disk took it.

    What was done is not undone, and has not failed, for want of a line about it.
    """
    given = {key: str(value) for key, value in sorted((attributes or {}).items())}
    nanoseconds = time.time_ns()
    event: Event = {}
    if type in _WITH_STATUS:
        event = {"status": action, "id": id}
        if given.get("image"):
            event["from"] = given["image"]
    event |= {
        "Type": type, "Action": action, "Actor": {"ID": id, "Attributes": given}, "scope": scope,
        "time": nanoseconds // 1_000_000_000, "timeNano": nanoseconds,
    }  # fmt: skip
    line = json.dumps(event, separators=(",", ":")).encode() + b"\n"
    path = f"{os.fspath(root)}/{FILE}"
    try:
        fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(fd).st_size
            if size and os.pread(fd, 1, size - 1) != b"\n":
                line = b"\n" + line  # a full disk has cut off the last one
            written = os.write(fd, line)
            if size > LIMIT:
                _rotate(os.fspath(root), fd)
            return written == len(line)
        finally:
            os.close(fd)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        return False


def _rotate(root: str, fd: int) -> None:
    fcntl.flock(fd, fcntl.LOCK_EX)
    # Another may have done it while we waited.
    with contextlib.suppress(FileNotFoundError):
        if os.stat(f"{root}/{FILE}").st_ino == os.fstat(fd).st_ino:
            os.replace(f"{root}/{FILE}", f"{root}/{OLD}")


def read(
    root: str | os.PathLike[str],
    *,
    since: float | None = None,
    until: float | None = None,
    follow: bool = False,
    wanted: Callable[[Event], bool] = lambda event: True,
    check: Callable[[], object] = lambda: None,
) -> Iterator[Event]:
    """The events from `since` to `until` (Unix seconds) that are `wanted`, in their order.

    Without `since` only those that happen from now on; with `follow` waits for more until `until` has come, calling
    `check`, which may raise, now and then.
    """
    began = time.time() if since is None else since
    tail = _Tail(root)
    try:
        while True:
            now = time.time()
            for event in tail.read():
                at = event["timeNano"] / 1e9
                if until is not None and at > until:
                    return
                if at >= began and wanted(event):
                    yield event
            if not follow or (until is not None and now > until):
                return
            check()
            time.sleep(_TICK_SECONDS)
    finally:
        tail.close()


class _Tail:
    """The lines of the old file and the present one, and those that come, across rotations."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._root = os.fspath(root)
        self._fds: list[int] = []
        self._rest = b""
        # In this order one that is renamed meanwhile is met twice, and not missed.
        for name in (FILE, OLD):
            with contextlib.suppress(FileNotFoundError):
                fd = os.open(f"{self._root}/{name}", os.O_RDONLY | os.O_CLOEXEC)
                if self._fds and os.path.sameopenfile(self._fds[0], fd):
                    os.close(fd)
                else:
                    self._fds.insert(0, fd)

    def read(self) -> Iterator[Event]:
        while True:
            fd = self._fds[0] if self._fds else self._next(None)
            if fd is None:
                return
            while data := os.read(fd, 1 << 16):
                *lines, self._rest = (self._rest + data).split(b"\n")
                for line in lines:
                    with contextlib.suppress(ValueError):  # cut off by a full disk
                        yield json.loads(line)
            if len(self._fds) > 1:
                os.close(self._fds.pop(0))
            elif self._next(fd) is None:
                return

    def _next(self, fd: int | None) -> int | None:
        """The file that took the place of the one that was read to its end, if one did."""
        try:
            found = os.open(f"{self._root}/{FILE}", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        if fd is not None and os.fstat(found).st_ino == os.fstat(fd).st_ino:
            os.close(found)
            return None
        self._fds.append(found)
        return self._fds[0]

    def close(self) -> None:
        for fd in self._fds:
            os.close(fd)


_SIMPLE: Mapping[str, Callable[[Event], Sequence[str]]] = {
    "type": lambda event: [event["Type"]],
    "event": lambda event: [event["Action"], event["Action"].partition(":")[0]],
    "scope": lambda event: [event["scope"]],
}
_BY_TYPE = ("container", "image", "volume", "network", "daemon", "plugin")
FILTERS = (*_SIMPLE, "label", *_BY_TYPE)


def filtered(filters: Mapping[str, Sequence[str]]) -> Callable[[Event], bool]:
    """What docker's filters let through: any value of each name, all names."""

    def wanted(event: Event) -> bool:
        actor = event["Actor"]
        for name, values in filters.items():
            if name in _SIMPLE:
                if not set(values) & set(_SIMPLE[name](event)):
                    return False
            elif name == "label":
                if not all(_has_label(actor["Attributes"], value) for value in values):
                    return False
            elif not any(_is_actor(event, name, value) for value in values):
                return False
        return True

    return wanted


def _has_label(attributes: Mapping[str, str], wanted: str) -> bool:
    name, equals, value = wanted.partition("=")
    return name in attributes and (not equals or attributes[name] == value)


def _is_actor(event: Event, kind: str, value: str) -> bool:
    actor = event["Actor"]
    attributes = actor["Attributes"]
    if kind == "image" and event["Type"] == "container":
        return attributes.get("image", "") in (value, f"{value}:latest")
    if event["Type"] != kind:
        # docker tells a network's and a volume's events of a container with that container's.
        return kind == "container" and event["Type"] in ("network", "volume") and _named(
            attributes.get("container", ""), "", value)  # fmt: skip
    return _named(actor["ID"], attributes.get("name", ""), value)


def _named(id: str, name: str, value: str) -> bool:
    plain = id.removeprefix("sha256:")
    return value in (id, name) or (len(value) >= 3 and plain.startswith(value.removeprefix("sha256:")))
