"""Contents of a layer that is only looked at: hashed while it is read, or once somebody asks for their digests.

To hash every content takes two thirds of the time that inflating takes, and what is asked is mostly about names, sizes
and owners.  So large contents wait, unless the layers read so far have another of that size at the same path, with
which it will be compared.  Whoever asks for a digest gets the true one, if need be by reading the layer again.
"""

from __future__ import annotations

import contextlib
import operator
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from veneer.changeset import compression, metadata
from veneer.changeset.entry import Entry
from veneer.changeset.index import LayerIndex
from veneer.changeset.tar import BadArchive, TarReader

if TYPE_CHECKING:
    from veneer.changeset.compression import Source
    from veneer.changeset.limits import Limits

    Stream = Callable[[], contextlib.AbstractContextManager[Source]]

SMALL = 64 << 10
"""Contents up to so many bytes never wait: most files are no larger, and they are a fifth of the bytes."""
_NOT_YET = bytes(32)
_known: Any = vars(Entry)["digest"]


class Unread:
    """The contents of one layer that were not hashed: the number of the tar's member by path.

    `seen`: the size of the first large file at each path, shared by the layers of one image while they are read.
    """

    def __init__(self, seen: dict[bytes, int]) -> None:
        self._seen = seen
        self.members: dict[bytes, int] = {}

    def may_wait(self, path: bytes, size: int, member: int) -> bool:
        """Whether the content of a file needs no hashing now; if so, it is noted."""
        if size <= SMALL:
            return False
        first = self._seen.get(path)
        if first is None:
            self._seen[path] = size
        if first == size:
            return False
        self.members[path] = member
        return True


class UnreadIndex(LayerIndex):
    """The index of a layer some of whose contents are `unread`; `stream` opens the layer once more."""

    def __init__(self, data: memoryview, unread: Unread, stream: Stream, limits: Limits, what: str) -> None:
        super().__init__(data, f"index of {what}")
        self._contents = _Contents(unread, stream, limits, what)

    def digest(self, number: int) -> bytes:
        found = self._recorded(number)
        return found if found != _NOT_YET else self._contents.digest(self.path(number))

    def _entry(self, number: int, path: bytes) -> Entry:
        found = super()._entry(number, path)
        if self._recorded(number) != _NOT_YET:
            return found
        later = _UnreadEntry(
            path, found.kind, found.mode, found.uid, found.gid, found.size, found.mtime_ns, found.link, found.device,
            found.xattrs,
        )  # fmt: skip
        object.__setattr__(later, "find", lambda: self.digest(number))
        return later

    def close(self) -> None:
        self._contents.close()
        super().close()


class _Contents:
    """A layer read once more, up to the content that was asked for last; for several threads."""

    def __init__(self, unread: Unread, stream: Stream, limits: Limits, what: str) -> None:
        self._members = unread.members
        self._wanted = frozenset(unread.members.values())
        self._found: dict[int, bytes] = {}
        self._stream = stream
        self._limits = limits
        self._what = what
        self._open = contextlib.ExitStack()
        self._reader: TarReader | None = None
        self._lock = threading.Lock()

    def digest(self, path: bytes) -> bytes:
        member = self._members[path]
        with self._lock:
            while member not in self._found:
                self._go_on()
            return self._found[member]

    def _go_on(self) -> None:
        """Go to the next content that is not known, and hash it."""
        reader = self._reader = self._reader or self._opened()
        try:
            while reader.next():
                if reader.number in self._wanted:
                    self._found[reader.number] = metadata.content_digest(reader)
                    return
        except compression.BadCompression as error:
            raise compression.BadCompression(f"{self._what}: {error.message}", hint=error.hint) from error
        raise BadArchive(f"{self._what}: it has fewer members than when it was read before")

    def _opened(self) -> TarReader:
        plain = compression.decompressed(self._open.enter_context(self._stream()))
        reader = TarReader(plain, limits=self._limits, what=self._what, hashed=False, ahead=True)
        self._open.callback(reader.close)
        return reader

    def close(self) -> None:
        with self._lock:
            self._open.close()


class _UnreadEntry(Entry):
    """An entry whose content is hashed when its digest is asked for."""

    __slots__ = ("find",)
    find: Callable[[], bytes]

    @property
    def digest(self) -> bytes:
        known: bytes = _known.__get__(self)
        if not known:
            known = self.find()
            _known.__set__(self, known)
        return known

    @digest.setter
    def digest(self, digest: bytes) -> None:
        _known.__set__(self, digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Entry) and _fields(self) == _fields(other)

    __hash__ = Entry.__hash__


_fields = operator.attrgetter(*Entry.__slots__)
