"""Archives as random access: members by name, whatever the archive is and however it arrives.

A plain tar file and a directory are read in place.  What comes compressed or through a pipe can be read only
once, so its members go into the store's scratch space, the large ones as blobs at once.
Members are only ever looked up by the clean names of their own archive; links are followed inside it alone.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from veneer.changeset import compression
from veneer.changeset.bounds import BoundedPlain
from veneer.changeset.compression import Source
from veneer.changeset.entry import Kind
from veneer.changeset.header import BLOCK, checksum_holds
from veneer.changeset.tar import BadArchive, TarReader, shown
from veneer.distribution.archive_plan import InvalidArchive, NotInArchive
from veneer.errors import NotFound
from veneer.oci.strictjson import MAX_DOCUMENT

if TYPE_CHECKING:
    from veneer.oci.digest import BlobDigest
    from veneer.store.leases import Lease
    from veneer.store.store import Store

MAX_LINKS = 8
_IN_MEMORY = 64 << 10
"""Members up to this many bytes stay in memory when an archive can be read only once."""
_ALL_IN_MEMORY = 16 << 20
"""All of those together; what comes later is stored whatever its size."""
MAX_NAMES = 32 << 20
"""Bytes that the names and links of an archive's members may take together; compressed they cost next to nothing."""


class NoSuchArchive(NotFound):
    """There is no file or directory at the archive's path."""


class Archive(Protocol):
    """Documents (see archive_plan) whose large members can be read, or are blobs already."""

    what: str

    def __contains__(self, name: object) -> bool: ...
    def read(self, name: str) -> bytes: ...
    def blob(self, name: str) -> BlobDigest | None:
        """The stored blob with this member's bytes, where reading the archive made it one."""
        ...

    def open(self, name: str) -> contextlib.AbstractContextManager[tuple[Source, int]]:
        """A member's bytes and their number.  Raises NotInArchive."""
        ...


def clean_name(name: bytes) -> str | None:
    """A member's name as its archive's documents spell it; None for one that leaves the archive."""
    parts = [part for part in name.decode("utf-8", "surrogateescape").split("/") if part not in ("", ".")]
    return None if ".." in parts else "/".join(parts)


@contextlib.contextmanager
def open_archive(store: Store, lease: Lease, source: Path | BinaryIO) -> Iterator[Archive]:
    """The archive at a path or in a stream.  Raises NoSuchArchive, InvalidArchive."""
    if not isinstance(source, Path):
        what = str(getattr(source, "name", "") or "archive")
        start = _place_in_file(source)
        if start is not None and _is_plain(source.fileno(), start):
            yield TarArchive(source.fileno(), what, start)
            source.seek(0, os.SEEK_END)  # as if it had been read
        else:
            yield SpooledArchive(store, lease, _RawSource(source), what)
        return
    if source.is_dir():
        directory = DirectoryArchive(source)
        try:
            yield directory
        finally:
            directory.close()
        return
    with _opened(source) as file:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode) and _is_plain(file.fileno(), 0):
            yield TarArchive(file.fileno(), str(source))
        else:
            yield SpooledArchive(store, lease, _RawSource(file), str(source))


def _opened(path: Path) -> io.FileIO:
    try:
        return open(os.open(path, os.O_RDONLY | os.O_CLOEXEC), "rb", buffering=0)
    except OSError as error:
        raise NoSuchArchive(f"open {path}: {(error.strerror or '').lower()}") from None


@contextlib.contextmanager
def archive_apart(source: Path | BinaryIO) -> Iterator[Archive]:
    """The same without a store: what can be read only once goes to a nameless file."""
    if not isinstance(source, Path):
        with _in_file(source, str(getattr(source, "name", "") or "archive")) as archive:
            yield archive
    elif source.is_dir():
        with contextlib.closing(DirectoryArchive(source)) as directory:
            yield directory
    else:
        with _opened(source) as file, _in_file(file, str(source)) as archive:
            yield archive


@contextlib.contextmanager
def _in_file(source: BinaryIO, what: str) -> Iterator[Archive]:
    if (start := _place_in_file(source)) is not None and _is_plain(source.fileno(), start):
        yield TarArchive(source.fileno(), what, start)
        return
    import tempfile

    with tempfile.TemporaryFile(buffering=0) as spool:
        plain, buffer = BoundedPlain(_RawSource(source), what), memoryview(bytearray(1 << 20))
        count = 0
        while count < BLOCK and (more := plain.readinto(buffer[count:])):
            count += more
        _must_be_tar(buffer[:count], what)
        while count:
            spool.write(buffer[:count])
            count = plain.readinto(buffer)
        yield TarArchive(spool.fileno(), what)


def _must_be_tar(start: memoryview, what: str) -> None:
    """Raises BadArchive for what begins like no tar with something in it: a stream that may have no end is not kept."""
    block = start[:BLOCK]
    if len(block) < BLOCK or not any(block) or not checksum_holds(block, bytes(block[148:156])):
        raise BadArchive(f"{what}: this is not a tar archive", hint="docker save and veneer save make one")


def _place_in_file(stream: BinaryIO) -> int | None:
    """Where a stream stands, if it is a regular file and nothing else: only that can be read in any order."""
    # By exact type: what merely has a descriptor, as a GzipFile does, need not give the bytes behind it.
    raw = stream.raw if type(stream) is io.BufferedReader else stream
    if type(raw) is not io.FileIO or not stat.S_ISREG(os.fstat(raw.fileno()).st_mode):
        return None
    return stream.tell()


def _is_plain(fd: int, start: int) -> bool:
    return compression.sniff(os.pread(fd, 16, start)) is compression.Compression.NONE


class _RawSource:
    """Any binary stream as a Source."""

    def __init__(self, stream: BinaryIO) -> None:
        self._readinto = getattr(stream, "readinto", None)
        self._stream = stream

    def readinto(self, buffer: memoryview | bytearray, /) -> int:
        if self._readinto is not None:
            return self._readinto(buffer) or 0
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class _Region:
    """A stretch of an open file as a Source; several may be read at once."""

    def __init__(self, fd: int, offset: int, size: int) -> None:
        self._fd = fd
        self._offset = offset
        self._end = offset + size

    def readinto(self, buffer: memoryview | bytearray, /) -> int:
        left = self._end - self._offset
        if left <= 0:
            return 0
        count = os.preadv(self._fd, [memoryview(buffer)[:left]], self._offset)
        self._offset += count
        return count

    def skip(self, count: int, /) -> int:
        count = min(count, self._end - self._offset)
        self._offset += count
        return count


def _readable(name: str) -> str:
    """A member's name for people, whatever an archive's documents made of it."""
    return shown(name.encode("utf-8", "surrogateescape"))


class _Links:
    """The links of a tar archive: member name -> member name; and how much all its names take."""

    def __init__(self, what: str) -> None:
        self.what = what
        self._targets: dict[str, str] = {}
        self._weight = 0

    def admit(self, reader: TarReader) -> str | None:
        """The present member's clean name, None if it leaves the archive.  Raises InvalidArchive for too many."""
        self._weight += len(reader.path) + len(reader.link) + 64
        if self._weight > MAX_NAMES:
            raise InvalidArchive(
                f"{self.what}: the names of its {reader.number} members so far are more than an image's"
            )
        name = clean_name(reader.path)
        if name:
            self._targets.pop(name, None)  # of two members of one name the last counts, link or not
        return name

    def add(self, reader: TarReader, name: str) -> None:
        base = name.rpartition("/")[0] if reader.kind is Kind.SYMLINK else ""
        target: list[str] = base.split("/") if base else []
        for part in reader.link.decode("utf-8", "surrogateescape").split("/"):
            if part == ".." and target:
                target.pop()
            elif part not in ("", ".", ".."):
                target.append(part)
        self._targets[name] = "/".join(target)

    def follow(self, name: str) -> str:
        """Where a name ends up.  Raises InvalidArchive for a ring of links."""
        for _ in range(MAX_LINKS):
            if name not in self._targets:
                return name
            name = self._targets[name]
        raise InvalidArchive(f"{self.what}: {_readable(name)}: more than {MAX_LINKS} links in a row")


@dataclass(frozen=True, slots=True)
class _Place:
    offset: int
    size: int


class TarArchive:
    """A plain tar in a regular file from byte `start` on, its members found by one walk over the headers."""

    def __init__(self, fd: int, what: str, start: int = 0) -> None:
        self.what = what
        self._fd = fd
        self._places: dict[str, _Place] = {}
        self._links = _Links(what)
        size = os.fstat(fd).st_size - start
        if any(block := os.pread(fd, BLOCK, start)):  # an empty tar is one
            _must_be_tar(memoryview(block), what)
        for member in TarReader(_Region(fd, start, size), what=what, hashed=False):
            name = self._links.admit(member)
            if not name:
                continue
            if member.kind is Kind.REGULAR and member.segments is None:
                self._places[name] = _Place(start + member.offset, member.size)
            elif member.kind in (Kind.SYMLINK, Kind.HARDLINK):
                self._links.add(member, name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._links.follow(name) in self._places

    def _place(self, name: str) -> _Place:
        place = self._places.get(self._links.follow(name))
        if place is None:
            raise NotInArchive(f"{self.what}: {_readable(name)} is not in the archive")
        return place

    def read(self, name: str) -> bytes:
        place = self._place(name)
        if place.size > MAX_DOCUMENT:
            raise InvalidArchive(
                f"{self.what}: {_readable(name)}: {place.size} bytes, a document may have {MAX_DOCUMENT}"
            )
        return os.pread(self._fd, place.size, place.offset)

    def blob(self, name: str) -> BlobDigest | None:
        return None

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[tuple[Source, int]]:
        place = self._place(name)
        yield _Region(self._fd, place.offset, place.size), place.size


class SpooledArchive:
    """A tar that can be read only once: members up to 64 KiB in memory, the others stored as blobs at once.

    Blobs that no image turns out to need go with the next collection, like those of any broken-off load.
    """

    def __init__(self, store: Store, lease: Lease, source: Source, what: str) -> None:
        self.what = what
        self._store = store
        self._small: dict[str, bytes] = {}
        self._blobs: dict[str, tuple[BlobDigest, int]] = {}
        self._links = _Links(what)
        self._in_memory = 0
        for member in TarReader(BoundedPlain(source, what), what=what, hashed=False):
            name = self._links.admit(member)
            if not name:
                continue
            if member.kind in (Kind.SYMLINK, Kind.HARDLINK):
                self._links.add(member, name)
            elif member.kind is Kind.REGULAR and member.segments is None:
                self._keep(lease, member, name)

    def _keep(self, lease: Lease, member: TarReader, name: str) -> None:
        size = member.size
        self._small.pop(name, None)
        self._blobs.pop(name, None)
        if size <= _IN_MEMORY and self._in_memory + size <= _ALL_IN_MEMORY:
            self._small[name] = member.read(_IN_MEMORY)
            self._in_memory += size
            return
        with self._store.blobs.writer(lease, size=size) as writer:
            while piece := member.take():
                writer.write(piece)
            self._blobs[name] = (writer.commit(), size)

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str):
            return False
        final = self._links.follow(name)
        return final in self._small or final in self._blobs

    def read(self, name: str) -> bytes:
        final = self._links.follow(name)
        if final in self._small:
            return self._small[final]
        if final in self._blobs:
            return self._store.blobs.read(self._blobs[final][0], MAX_DOCUMENT)
        raise NotInArchive(f"{self.what}: {_readable(name)} is not in the archive")

    def blob(self, name: str) -> BlobDigest | None:
        found = self._blobs.get(self._links.follow(name))
        return found[0] if found else None

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[tuple[Source, int]]:
        final = self._links.follow(name)
        if final in self._blobs:
            digest, size = self._blobs[final]
            with self._store.blobs.open(digest) as file:
                yield _RawSource(file), size
        else:
            data = self.read(name)
            yield _RawSource(io.BytesIO(data)), len(data)


class DirectoryArchive:
    """A directory with an OCI layout or an unpacked archive in it; no link in it is followed."""

    def __init__(self, path: Path) -> None:
        self.what = str(path)
        self._root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        os.close(self._root)

    def _open(self, name: str) -> int:
        """A descriptor of the regular file `name`, each step of the way without following links."""
        *folders, last = name.split("/")
        if ".." in folders or last in ("", ".", ".."):
            raise NotInArchive(f"{self.what}: {_readable(name)} is no member name")
        held = self._root
        try:
            for folder in folders:
                step = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=held)
                if held != self._root:
                    os.close(held)
                held = step
            # O_NONBLOCK: a FIFO in the place of a file must not make us wait for its writer.
            fd = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=held)
        except OSError as error:
            raise NotInArchive(f"{self.what}: {_readable(name)}: {error.strerror}") from None
        finally:
            if held != self._root:
                os.close(held)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise InvalidArchive(f"{self.what}: {_readable(name)} is not a regular file")
        return fd

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str):
            return False
        try:
            os.close(self._open(name))
        except NotInArchive:
            return False
        return True

    def read(self, name: str) -> bytes:
        with self.open(name) as (source, size):
            if size > MAX_DOCUMENT:
                raise InvalidArchive(
                    f"{self.what}: {_readable(name)}: {size} bytes, a document may have {MAX_DOCUMENT}"
                )
            data = bytearray(size)
            have = 0
            while have < size and (count := source.readinto(memoryview(data)[have:])):
                have += count
            return bytes(data[:have])

    def blob(self, name: str) -> BlobDigest | None:
        return None

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[tuple[Source, int]]:
        fd = self._open(name)
        try:
            size = os.fstat(fd).st_size
            yield _Region(fd, 0, size), size
        finally:
            os.close(fd)
