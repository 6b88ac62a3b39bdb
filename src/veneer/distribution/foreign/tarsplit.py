"""The tar a layer came as, from its files and the record of all else that was in it.

The record is gzipped JSON, an object a line: type 2 has bytes of the tar as they were (`payload`), type 1 says that
here is the content of `name`, `size` bytes.  Played back it gives the tar byte for byte.
Sources: vbatts/tar-split tar/storage/{entry,packer}.go, tar/asm/assemble.go.
"""

from __future__ import annotations

import base64
import binascii
import errno
import gzip
import io
import os
import stat
import zlib
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

from veneer.changeset import syscalls
from veneer.distribution.foreign.root import ForeignDamaged
from veneer.errors import InvalidRequest
from veneer.oci import strictjson

if TYPE_CHECKING:
    from pathlib import Path

    from veneer.distribution.foreign.reading import Reading

_CONTENT, _BYTES = 1, 2
_HOW = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_MAGICLINKS
_BUFFER = 1 << 20
_LONGEST = strictjson.MAX_DOCUMENT
"""Bytes of the longest line taken; the bytes between two contents are headers, and the zeros at a tar's end."""


class Replay:
    """A layer's tar as a Source; `size` bytes of it.  `directory` has the files, `record` is the tar-split file.

    What comes out is whatever lies there: whoever reads it has to look at its digest.  Raises ForeignDamaged.
    """

    def __init__(self, reading: Reading, directory: Path, record: Path) -> None:
        self._reading = reading
        self._record = record
        self._root = reading.directory(reading.below(directory))
        try:
            self.size = sum(len(payload) if payload is not None else size for payload, _, size in self._entries())
        except BaseException:
            os.close(self._root)
            raise
        self._pieces = self._bytes()
        self._rest = memoryview(b"")

    def readinto(self, buffer: memoryview | bytearray, /) -> int:
        """The next bytes; 0 at the end."""
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def close(self) -> None:
        """Let go of the directory; idempotent."""
        self._pieces.close()
        if self._root >= 0:
            os.close(self._root)
            self._root = -1

    def _bytes(self) -> Generator[bytes, None, None]:
        for payload, name, size in self._entries():
            if payload is not None:
                yield payload
                continue
            left = size
            with io.FileIO(self._opened(name)) as file:
                while left and (piece := file.read(min(left, _BUFFER))):
                    left -= len(piece)
                    yield piece
            if left:
                raise self._damaged(f"{os.fsdecode(name)!r} is {left} bytes too short")

    def _opened(self, name: bytes) -> int:
        """A layer's file, whose content the tar has."""
        for quietly in (os.O_NOATIME, 0):
            try:
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | quietly
                fd = syscalls.openat2(self._root, name, flags, _HOW)
            except OSError as error:
                if quietly and error.errno == errno.EPERM:
                    continue  # it is somebody else's
                raise self._damaged(f"{os.fsdecode(name)!r} cannot be read: {error.strerror}") from error
            if stat.S_ISREG(os.fstat(fd).st_mode):
                return fd
            os.close(fd)
            break
        raise self._damaged(f"{os.fsdecode(name)!r} is no file")

    def _entries(self) -> Iterator[tuple[bytes | None, bytes, int]]:
        """(bytes of the tar, "", 0) or (None, name, size of a file's content that is not empty)."""
        try:
            record = self._reading.open(self._reading.below(self._record))
            with os.fdopen(record, "rb") as file, gzip.GzipFile(fileobj=file) as lines:
                while line := lines.readline(_LONGEST + 1):
                    entry: dict[str, Any] = strictjson.loads(line, str(self._record))
                    if entry.get("type") == _BYTES:
                        yield base64.b64decode(entry.get("payload") or ""), b"", 0
                    elif entry.get("type") == _CONTENT and entry.get("size"):
                        yield None, _name(entry), _size(entry)
        except (OSError, EOFError, zlib.error, binascii.Error, ValueError, TypeError, InvalidRequest) as error:
            raise self._damaged(str(error)) from error

    def _damaged(self, why: str) -> ForeignDamaged:
        return ForeignDamaged(f"the layer recorded in {self._record} is not whole: {why}", hint="pull the image again")


def _name(entry: dict[str, Any]) -> bytes:
    """A member's name as a path below the layer's directory; one that is no UTF-8 is given in base64."""
    raw = base64.b64decode(entry["name_raw"]) if entry.get("name_raw") else str(entry.get("name", "")).encode()
    return b"/".join(part for part in raw.split(b"/") if part not in (b"", b".")) or b"."


def _size(entry: dict[str, Any]) -> int:
    size = entry["size"]
    if not isinstance(size, int) or not 0 < size < 1 << 62:
        raise ValueError(f"{size!r} is no number of bytes")
    return size
