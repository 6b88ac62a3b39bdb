"""Where an archive is written: members into a tar, or files into a directory."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol

from veneer.changeset.entry import Entry, Kind
from veneer.changeset.tar_writer import BLOCK, member_header
from veneer.errors import Conflict, NotFound, Unavailable

_CHUNK = 1 << 20


class NoPlaceToWrite(NotFound):
    """The directory an archive should be written to is not there."""


class OutputFailed(Unavailable):
    """The archive cannot be written: no space, no permission, nobody reads."""


class InTheWay(Conflict):
    """The directory for an OCI layout has something in it already."""


class Output(Protocol):
    """Where a member's bytes are written to; all that is given is taken."""

    def write(self, data: bytes | bytearray | memoryview, /) -> int: ...


class _Counted:
    """An output that knows how much it got."""

    def __init__(self, send: Callable[[memoryview], None]) -> None:
        self._send = send
        self.size = 0

    def write(self, data: bytes | bytearray | memoryview, /) -> int:
        self._send(memoryview(data))
        self.size += len(data)
        return len(data)

    def check(self, name: str, size: int) -> None:
        """Raises OutputFailed where it was not `size` bytes."""
        if self.size != size:
            raise OutputFailed(f"{name}: {self.size} bytes instead of {size}", hint="veneer system check --deep")


class Sink(Protocol):
    """Takes an archive's members, each directory before what is in it."""

    def document(self, name: str, data: bytes) -> None: ...
    def file(self, name: str, fd: int, size: int) -> None:
        """`size` bytes from the start of `fd`."""
        ...

    def written(self, name: str, size: int, write: Callable[[Output], None]) -> None:
        """The `size` bytes that `write` writes to what it is given."""
        ...


@contextlib.contextmanager
def written_whole(out: Path | BinaryIO) -> Iterator[BinaryIO]:
    """A stream to write to; a path gets its file when the `with` ends well, and none otherwise.

    Raises NoPlaceToWrite, OutputFailed.
    """
    if not isinstance(out, Path):
        yield out
        return
    if not out.parent.is_dir():
        raise NoPlaceToWrite(f"open {out}: no such directory")
    if out.exists() and not out.is_file():
        # A device or pipe is written to as it is: there is nothing to put in its place.
        with _reported(out), open(out, "wb", buffering=0) as stream:
            yield stream
        return
    draft = out.parent / f".{out.name}.{os.urandom(6).hex()}"
    try:
        with _reported(out):
            with open(draft, "xb", buffering=0) as stream:
                yield stream
            draft.rename(out)
    finally:
        draft.unlink(missing_ok=True)


@contextlib.contextmanager
def _reported(out: Path) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputFailed(f"cannot write {out}: {error.strerror}", hint="try another place with -o") from error


class TarSink:
    """An archive as one tar: times, owners and modes are constant, so the same members give the same bytes."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._folders: set[str] = set()
        try:
            self._fd: int | None = out.fileno()
            out.flush()
        except (OSError, AttributeError):  # a BytesIO, say
            self._fd = None

    def document(self, name: str, data: bytes) -> None:
        self._header(name, Kind.REGULAR, 0o644, len(data))
        self._send(data + bytes(-len(data) % BLOCK))

    def file(self, name: str, fd: int, size: int) -> None:
        self._header(name, Kind.REGULAR, 0o644, size)
        self._copy(fd, size)
        self._send(bytes(-size % BLOCK))

    def written(self, name: str, size: int, write: Callable[[Output], None]) -> None:
        self._header(name, Kind.REGULAR, 0o644, size)
        output = _Counted(self._send)
        write(output)
        output.check(name, size)
        self._send(bytes(-size % BLOCK))

    def link(self, name: str, target: str) -> None:
        """A symbolic link."""
        self._folders_of(name)
        self._send(member_header(Entry(name.encode(), Kind.SYMLINK, 0o777, link=target.encode())))

    def finish(self) -> None:
        self._send(bytes(2 * BLOCK))

    def _header(self, name: str, kind: Kind, mode: int, size: int = 0) -> None:
        self._folders_of(name)
        self._send(member_header(Entry(name.encode(), kind, mode, size=size)))

    def _folders_of(self, name: str) -> None:
        parts = name.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            folder = "/".join(parts[:depth])
            if folder not in self._folders:
                self._folders.add(folder)
                self._send(member_header(Entry(folder.encode(), Kind.DIRECTORY, 0o755)))

    def _send(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        while view:
            written = self._out.write(view) if self._fd is None else os.write(self._fd, view)
            view = view[written if written is not None else len(view) :]

    def _copy(self, fd: int, size: int) -> None:
        if self._fd is not None:
            copy(fd, self._fd, size)
            return
        for offset in range(0, size, _CHUNK):
            self._send(os.pread(fd, min(_CHUNK, size - offset), offset))


def copy(source: int, target: int, size: int) -> None:
    """The first `size` bytes of a file to where another one stands.  Raises OutputFailed if there are fewer."""
    offset = 0
    while offset < size:
        wanted = min(64 * _CHUNK, size - offset)
        try:
            # In the kernel: from page cache to file or pipe without a copy through this process.
            count = os.sendfile(target, source, offset, wanted)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            # The target cannot be spliced to, such as a file opened for appending.
            count = os.write(target, os.pread(source, min(_CHUNK, wanted), offset))
        if count == 0:
            raise OutputFailed(f"a stored file ended after {offset} of {size} bytes", hint="veneer system check")
        offset += count


class DirectorySink:
    """An archive as a directory, which is made; a new one, or an empty one."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> DirectorySink:
        if not self._path.parent.is_dir():
            raise NoPlaceToWrite(f"open {self._path}: no such directory")
        self._path.mkdir(exist_ok=True)
        if any(self._path.iterdir()):
            raise InTheWay(f"{self._path} is not empty", hint="name a new directory")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def document(self, name: str, data: bytes) -> None:
        with _reported(self._path):
            self._target(name).write_bytes(data)

    def file(self, name: str, fd: int, size: int) -> None:
        with _reported(self._path), open(self._target(name), "wb", buffering=0) as out:
            copy(fd, out.fileno(), size)

    def written(self, name: str, size: int, write: Callable[[Output], None]) -> None:
        with _reported(self._path), open(self._target(name), "wb", buffering=0) as out:

            def send(data: memoryview) -> None:
                while data:
                    data = data[out.write(data) :]

            output = _Counted(send)
            write(output)
        output.check(name, size)

    def _target(self, name: str) -> Path:
        target = self._path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        return target
