"""A container's log in docker's json-file format, which ends a file where it is large enough and begins the next.

`{"log":"text\\n","stream":"stdout","time":"..."}` a line; lines of more than 16 KiB are split, and only the last piece
has the line feed.  Sources: moby daemon/logger/copier.go, jsonfilelog, loggerutils/logfile.go.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
from json.encoder import encode_basestring

from veneer.run.monitor.state import rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

MAX_LINE = 16 << 10
_NAMES = {1: "stdout", 2: "stderr"}
_ESCAPED = str.maketrans({char: f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"})
"""What Go escapes besides; Python's names for the others are as good."""


class LogFile:
    """Gets what a container prints, in pieces, and writes it down.

    `max_size` in bytes, 0 for no limit; of `max_files` files, the one written and those before it (`.1` is the
    youngest).  `attributes` go into every line.  A disk that is full loses what it cannot take, and nothing else.
    """

    def __init__(
        self, path: Path, *, max_size: int = 0, max_files: int = 1, attributes: dict[str, Any] | None = None
    ) -> None:
        self.path = path
        self._max_size = max_size
        self._max_files = max(1, max_files)
        self._tail = _tail(attributes)
        self._begun: dict[int, bytes] = {}
        self.lost = 0
        """Bytes that could not be written."""
        self.problem = ""
        """Why."""
        self._torn = False
        """Whether it ends with half a line, which could not be cut off."""
        self._open()

    def write(self, stream: int, data: bytes) -> None:
        """Write down every line that is whole; the rest waits for its end."""
        begun = self._begun.pop(stream, b"")
        if begun:
            data = begun + data
        lines = []
        start = 0
        end = len(data)
        while start < end:
            at = data.find(b"\n", start, start + MAX_LINE)
            if at >= 0:
                lines.append(data[start : at + 1])
                start = at + 1
            elif end - start >= MAX_LINE:
                lines.append(data[start : start + MAX_LINE])
                start += MAX_LINE
            else:
                self._begun[stream] = data[start:]
                break
        if lines:
            self._put(stream, lines)

    def end(self) -> None:
        """The streams have ended: write down what has no line feed."""
        for stream, data in self._begun.items():
            self._put(stream, [data])
        self._begun.clear()

    def close(self) -> None:
        os.close(self._fd)

    def _put(self, stream: int, lines: list[bytes]) -> None:
        tail = f',"stream":"{_NAMES[stream]}"{self._tail},"time":"{rfc3339()}"}}\n'
        batch: list[bytes] = []
        size = self._size
        for line in lines:
            if self._max_size and size >= self._max_size:
                self._append(b"".join(batch))
                self._rotate()
                batch, size = [], 0
            text = encode_basestring(line.decode("utf-8", "replace")).translate(_ESCAPED)
            batch.append(f'{{"log":{text}{tail}'.encode())
            size += len(batch[-1])
        self._append(b"".join(batch))

    def _append(self, text: bytes) -> None:
        why = errno.ENOSPC  # what else would make a file take less
        written = whole = 0
        try:
            if self._torn:
                self._cut()
            written = whole = os.write(self._fd, text)
            if written < len(text):
                whole = text.rfind(b"\n", 0, written) + 1
        except OSError as error:
            why = error.errno or 0
        self._size += whole
        if whole < len(text):
            self.problem = os.strerror(why)
            self.lost += len(text) - whole
            if written > whole:
                self._torn = True
                with contextlib.suppress(OSError):  # the disk fails altogether: it is tried again before the next line
                    self._cut()

    def _cut(self) -> None:
        """Take away half a line, which would spoil the next one as well."""
        os.ftruncate(self._fd, self._size)
        self._torn = False

    def _open(self) -> None:
        self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        self._size = os.fstat(self._fd).st_size

    def _rotate(self) -> None:
        # First: where there is no room for another file, this one goes on, and takes what it can.
        new = self.path.with_name(f"{self.path.name}.new")
        try:
            os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640))
        except OSError as error:
            self.problem = os.strerror(error.errno or 0)
            return
        os.close(self._fd)
        names = [self.path, *(self.path.with_name(f"{self.path.name}.{n}") for n in range(1, self._max_files))]
        with contextlib.suppress(FileNotFoundError):
            names[-1].unlink()
        for before, after in reversed([*itertools.pairwise(names)]):
            with contextlib.suppress(FileNotFoundError):
                before.rename(after)
        new.rename(self.path)
        self._open()


def _tail(attributes: dict[str, Any] | None) -> str:
    import json

    return f',"attrs":{json.dumps(attributes, separators=(",", ":"))}' if attributes else ""
