"""Members taken out of a layer's tar; every byte of the others stays as it is.

A layer is read twice: `scan` finds where the unwanted members are, `excise` copies what is between them.  Paths are
understood as unpacking does: through the layer's own symbolic links, and every time a path comes, not the last only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from veneer.changeset.compression import Source, decompressed
from veneer.changeset.entry import Entry, Kind
from veneer.changeset.header import BLOCK, FIELDS, number
from veneer.changeset.limits import Limits
from veneer.changeset.safepath import normal
from veneer.changeset.tar import BadArchive, TarReader
from veneer.changeset.tar_writer import Writable, member_header
from veneer.changeset.whiteout import OPAQUE_MARKER, PREFIX, PSEUDO_LINKS

_CHUNK = 1 << 20
_HEADERS = b"xXgLKV"
_MAX_LINKS = 40


@dataclass(frozen=True, slots=True)
class Cut:
    """The bytes `start` to `end` of the plain tar, one member with its extended headers; `path` is where it goes."""

    start: int
    end: int
    path: bytes


@dataclass(frozen=True, slots=True)
class Scan:
    """What was found: the members to `cut`, in order, how many others there are, and where the last member ends."""

    cuts: tuple[Cut, ...]
    kept: int
    end: int


def scan(source: Source, unwanted: Callable[[bytes], bool], what: str) -> Scan:
    """Find the members of a layer, compressed or not, whose path is `unwanted`.

    A whiteout has the path it deletes, an opaque mark that of its directory.  A file of aufs's pseudo-link folder is
    unwanted with the first of its names that is.  Raises BadArchive, BadCompression.
    """
    reader = TarReader(decompressed(source), what=what)
    paths = _Paths(reader.limits)
    cuts: list[Cut] = []
    pseudo: dict[bytes, Cut] = {}
    end = 0
    while True:
        # What is left of the last member is skipped first, so this is where the next one's headers begin.
        start = end
        if not reader.next():
            break
        end = reader.offset + reader.left + -reader.left % BLOCK
        try:
            path = normal(reader.path, reader.limits)
            target = normal(reader.link, reader.limits) if reader.kind is Kind.HARDLINK else b""
        except ValueError as error:
            raise BadArchive(f"{what}: {error}") from None
        if path.startswith(PSEUDO_LINKS + b"/"):
            pseudo[path] = Cut(start, end, path)
            continue
        place = paths.place(path, reader.kind, reader.link)
        if unwanted(place):
            cuts.append(Cut(start, end, place))
            if target in pseudo:
                cuts.append(pseudo.pop(target))
    found = tuple(sorted(cuts, key=lambda cut: cut.start))
    return Scan(found, reader.number - len(found), end)


class _Paths:
    """Where a layer's members go, following the symbolic links among them as unpacking does."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._links: dict[bytes, bytes] = {}
        self._directories: set[bytes] = {b""}

    def place(self, path: bytes, kind: Kind, link: bytes) -> bytes:
        """Where a member ends up, or what it is a marker for."""
        parent, _, name = path.rpartition(b"/")
        folder = self._folder(parent)
        if name == OPAQUE_MARKER:
            return folder
        marker = name.startswith(PREFIX)
        name = name.removeprefix(PREFIX)
        place = folder + b"/" + name if folder else name
        if not marker:
            if kind is Kind.SYMLINK:
                self._links[place] = link
            else:
                self._links.pop(place, None)
            if kind is Kind.DIRECTORY:
                self._directories.add(place)
        return place

    def _folder(self, path: bytes) -> bytes:
        if path in self._directories:
            return path
        here = b""
        for part in path.split(b"/"):
            place = here + b"/" + part if here else part
            if place in self._links:
                real = self._real(here, self._links[place], _MAX_LINKS)
                if real is not None and real in self._directories:
                    here = real
                    continue
                del self._links[place]
            self._directories.add(place)
            here = place
        return here

    def _real(self, here: bytes, target: bytes, left: int) -> bytes | None:
        """The directory a symlink in `here` leads to by links of this layer; None if nowhere, or too far."""
        if not left:
            return None
        parts = [] if target.startswith(b"/") else [part for part in here.split(b"/") if part]
        for part in target.split(b"/"):
            if part == b"..":
                parts = parts[:-1]
            elif part not in (b"", b"."):
                parts.append(part)
                place = b"/".join(parts)
                if place in self._links:
                    real = self._real(b"/".join(parts[:-1]), self._links[place], left - 1)
                    if real is None:
                        return None
                    parts = [each for each in real.split(b"/") if each]
        return b"/".join(parts)


def excise(source: Source, cuts: Sequence[Cut], end: int, out: Writable, hidden: Sequence[bytes] = ()) -> str:
    """Copy a layer's plain tar, up to `end`, without the `cuts`; the SHA-256 of what was written, in hex.

    Whiteouts of the paths in `hidden` come last.  Global headers in a cut stay, since they are about what follows.
    """
    copy = _Copy(decompressed(source), out)
    for cut in cuts:
        copy.take(cut.start - copy.at)
        for header in copy.global_headers():
            copy.put(header)
        copy.skip(cut.end - copy.at)
    copy.take(end - copy.at)
    for path in hidden:
        directory, slash, name = path.rpartition(b"/")
        copy.put(member_header(Entry(directory + slash + PREFIX + name, Kind.WHITEOUT)))
    copy.put(bytes(2 * BLOCK))
    return copy.hexdigest()


class _Copy:
    """A stream on its way into another one; `at` is how many of its bytes are behind."""

    def __init__(self, source: Source, out: Writable) -> None:
        self._source = source
        self._out = out
        self._hash = hashlib.sha256()
        self._buffer = memoryview(bytearray(_CHUNK))
        self.at = 0

    def put(self, data: bytes | memoryview) -> None:
        self._hash.update(data)
        while data:
            written = self._out.write(data)
            data = data[len(data) if written is None else written :]

    def take(self, count: int) -> None:
        """Write the next `count` bytes; padding that the archive lacks at its end is made up for."""
        for piece in self._read(count):
            self.put(piece)

    def skip(self, count: int) -> None:
        for _ in self._read(count):
            pass

    def global_headers(self) -> Iterator[bytes]:
        """The PAX global headers among the extended headers that stand here; the others are passed over."""
        while True:
            block = self._exactly(BLOCK)
            flag = FIELDS.unpack(block)[7]
            if flag not in _HEADERS:
                return
            length = number(FIELDS.unpack(block)[4])
            content = self._exactly(length + -length % BLOCK)
            if flag == b"g":
                yield block + content

    def hexdigest(self) -> str:
        return self._hash.hexdigest()

    def _exactly(self, count: int) -> bytes:
        return b"".join(bytes(piece) for piece in self._read(count))

    def _read(self, count: int) -> Iterator[memoryview]:
        while count > 0:
            read = self._source.readinto(self._buffer[:count])
            if not read:
                yield memoryview(bytes(count))
                self.at += count
                return
            self.at += read
            count -= read
            yield self._buffer[:read]
