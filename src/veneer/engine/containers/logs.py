"""What a container has printed, read from its json-file log: several files once it was rotated, and what still comes.

Sources: moby daemon/logger/jsonfilelog/read.go, loggerutils/logfile.go.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import time
from collections.abc import Iterator

from veneer.errors import Unsupported
from veneer.run.monitor import state as states
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from veneer.store.containers import Container

_CHUNK = 64 << 10
_TICK_SECONDS = 0.05
_TRIES = 20
"""To find a file that has a name, among files that are being renamed: somebody may have given it one of his own."""
ALL = -1
"""Of `tail`: every line."""


class NotReadable(Unsupported):
    """The container's output goes where nothing can be read back from.  The text is docker's."""


class Line(Value):
    """What was printed at once: `text` with its line feed (without where more of the line follows).

    `stream` is 1 or 2, `time` an RFC 3339 text, `attributes` what the log was told to keep beside each line.
    """

    __slots__ = ()
    stream: int
    text: str
    time: str
    attributes: Mapping[str, str] = {}


def of_container(
    container: Container, folder: Path, *, since: float | None, until: float | None, tail: int, follow: bool
) -> Iterator[Line]:
    """As `lines`, of the container whose folder this is.  Raises NotReadable."""
    from pathlib import Path

    from veneer.engine.containers.inspecting import log_path

    path = log_path(folder, container)
    if not path:
        raise NotReadable("configured logging driver does not support reading")
    return lines(folder, Path(path), since=since, until=until, tail=tail, follow=follow)


def lines(
    folder: Path,
    path: Path,
    *,
    since: float | None = None,
    until: float | None = None,
    tail: int = ALL,
    follow: bool = False,
    check: Callable[[], object] = lambda: None,
) -> Iterator[Line]:
    """The lines in their order, from the last `tail` ones on; only those from `since` to `until` (Unix seconds).

    `folder` is the container's.  With `follow` those too that come, until the container has ended; `check` is called
    now and then, and may raise.
    """
    # Looked at before the files: what ends between the two has written all it will.
    live = follow and states.is_held(folder, states.ALIVE)
    files = _Files(path)
    try:
        files.open(tail)
        while True:
            for line in files.read():
                at = _seconds(line.time) if since is not None or until is not None else 0.0
                if until is not None and at > until:
                    return
                if since is None or at >= since:
                    yield line
            if not live or (until is not None and time.time() > until):
                return
            check()
            time.sleep(_TICK_SECONDS)
            live = states.is_held(folder, states.ALIVE)
    finally:
        files.close()


class _Files:
    """The files of one log, read from the oldest to the youngest, and on when a new one begins."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fds: list[int] = []
        self._rest = b""

    def open(self, tail: int) -> None:
        """Have the next line read be the last but `tail`."""
        for fd in self._all():
            if tail == ALL:
                self._fds.insert(0, fd)
            elif tail == 0:
                self._fds.insert(0, fd)
                os.lseek(fd, 0, os.SEEK_END)
                return
            else:
                start, found = _last(fd, tail)
                os.lseek(fd, start, os.SEEK_SET)
                self._fds.insert(0, fd)
                tail -= found
                if tail == 0:
                    return

    def _all(self) -> Iterator[int]:
        """The youngest first, each opened when it is asked for.

        A rotation while we open would show a file twice: files are told apart by what they are.  It renames them one
        by one, the oldest first, so one name may be free and the next taken: only two free ones are the end.
        """
        seen: list[os.stat_result] = []
        free = 0
        for number in itertools.count():
            name = self._path if number == 0 else self._path.with_name(f"{self._path.name}.{number}")
            try:
                fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                free += 1
                if free == 2:
                    return
                continue
            free = 0
            found = os.fstat(fd)
            if any(os.path.samestat(found, each) for each in seen):
                os.close(fd)
                continue
            seen.append(found)
            yield fd

    def read(self) -> Iterator[Line]:
        """The lines that are there and were not read."""
        while self._fds or self._open_next(None):
            fd = self._fds[0]
            while data := os.read(fd, _CHUNK):
                *whole, self._rest = (self._rest + data).split(b"\n")
                for text in whole:
                    with contextlib.suppress(ValueError, KeyError):  # cut off by a power cut
                        yield _line(text)
            if len(self._fds) > 1:
                os.close(self._fds.pop(0))
                self._rest = b""
            # Where it was replaced it is read once more: something may have come before that.
            elif not self._open_next(fd):
                return

    def _open_next(self, fd: int | None) -> bool:
        """Whether other files have come after the one that was read to its end; several may have, at once."""
        newer, whole = self._newer(fd)
        for _ in range(_TRIES):
            if whole:
                break
            for each in newer:
                os.close(each)
            time.sleep(_TICK_SECONDS)
            newer, whole = self._newer(fd)
        self._fds += newer
        return bool(newer)

    def _newer(self, fd: int | None) -> tuple[list[int], bool]:
        """The files after one, the oldest first; False where rotations may have hidden some, for it was not met."""
        newer: list[int] = []
        for found in self._all():
            if fd is not None and os.path.samestat(os.fstat(found), os.fstat(fd)):
                os.close(found)
                return newer, True
            newer.insert(0, found)
        # One that has no name any more was deleted, and so was all before it.
        return newer, fd is None or os.fstat(fd).st_nlink == 0

    def close(self) -> None:
        for fd in self._fds:
            os.close(fd)


def _last(fd: int, wanted: int) -> tuple[int, int]:
    """Where the last `wanted` lines of a file begin, and how many there are."""
    end = os.fstat(fd).st_size
    position, found = end, 0
    while position > 0:
        start = max(0, position - _CHUNK)
        data = os.pread(fd, position - start, start)
        at = len(data)
        while (at := data.rfind(b"\n", 0, at)) >= 0:
            if start + at + 1 < end:
                found += 1
                if found == wanted:
                    return start + at + 1, found
        position = start
    return 0, found + (1 if end else 0)


def _line(text: bytes) -> Line:
    found = json.loads(text)
    return Line(2 if found["stream"] == "stderr" else 1, found.get("log", ""), found["time"], found.get("attrs") or {})


def _seconds(text: str) -> float:
    from veneer.oci.timestamp import parse

    return parse(text) or 0.0
