"""The index of a layer that is only looked at: its tar is read once, and nothing is written to a disk.

What the entries mean is decided by the same rules as in `unpack`, with a table of what the layer has made so far in
the place of a directory.  Memory is that table and the index: about 300 bytes an entry.
Source: OCI image-spec layer.md; what stands in unpack.
"""

from __future__ import annotations

from typing import BinaryIO

from veneer.changeset import compression, metadata
from veneer.changeset.bounds import Bounded, Counted
from veneer.changeset.compression import BadCompression, Source
from veneer.changeset.entry import Kind
from veneer.changeset.growing import Interruptible
from veneer.changeset.index_builder import IndexBuilder
from veneer.changeset.limits import Limits
from veneer.changeset.safepath import normal, plain, rooted
from veneer.changeset.tar import TarReader, shown
from veneer.changeset.unread import Unread
from veneer.changeset.whiteout import META_PREFIX, OPAQUE_MARKER, PREFIX, PSEUDO_LINKS
from veneer.changeset.xattrs import iskept
from veneer.oci.digest import DiffID, Digest

_MAX_LINKS = 40
_Attributes = tuple[int, int, int, int, tuple[tuple[bytes, bytes], ...]]
_IMPLIED: _Attributes = (0o755, 0, 0, 0, ())
_NO_LIMITS_GIVEN = Limits()
LOOKED_AT = Limits(name=1 << 16, depth=8192)
"""What is never made on a disk need not fit one."""
MOST_IMPLIED = 256 << 20
"""Bytes of the names of directories without a member: a name of a thousand parts implies a thousand directories."""

MOST_CLIMBERS = 5
"""Names with `..` that are kept of a layer."""


def read_index(
    source: Source, out: BinaryIO, *, limits: Limits = _NO_LIMITS_GIVEN, what: str = "layer", ahead: bool = False,
    unread: Unread | None = None, climbing: list[bytes] | None = None,
) -> DiffID:  # fmt: skip
    """Write the index of the layer that `source` holds, compressed or not, to `out`; the layer's diff ID.

    `ahead` decompresses in a thread of its own: for a source that never makes anybody wait, or is Interruptible and is
    interrupted in the end.  `unread`: contents that it says may wait are not hashed, and have no digest in the index
    (see UnreadIndex).  `climbing`: names with `..`, which are otherwise refused, are taken as `rooted` has them, and
    noted there, from the sixth on (MOST_CLIMBERS) as b"".
    Raises BadArchive or BadCompression naming `what`, the member and the fact.
    """
    counted = Counted(source)
    reader: TarReader | None = None
    try:
        _, plain = compression.opened(counted)
        reader = TarReader(Bounded(plain, counted, limits, what), limits=limits, what=what, ahead=ahead, hash_here=True)
        _Reading(reader, unread, climbing).run().write(out)
        return DiffID(Digest.sha256(reader.hexdigest()))
    except BadCompression as error:
        raise BadCompression(f"{what}: {error}", hint=error.hint) from error
    except (ValueError, OverflowError) as error:
        if reader is None:
            raise
        raise reader.bad(str(error)) from error
    finally:
        if isinstance(source, Interruptible):
            source.interrupt()  # after a failure the thread may wait for a download that takes hours
        if reader is not None:
            reader.close()


class _Reading:
    """One layer while it is read."""

    def __init__(self, reader: TarReader, unread: Unread | None, climbing: list[bytes] | None) -> None:
        self.reader = reader
        self.unread = unread
        self.climbing = climbing
        self.builder = IndexBuilder()
        self.kinds: dict[bytes, int] = {b"": Kind.DIRECTORY}
        """What the layer has at each path so far; WHITEOUT where it deleted something."""
        self.targets: dict[bytes, bytes] = {}
        self.attributes: dict[bytes, _Attributes] = {}
        self.opaque: set[bytes] = set()
        self.pseudo: dict[bytes, tuple[int, int, int, int, int, bytes, tuple[tuple[bytes, bytes], ...]]] = {}
        self.pseudo_names: dict[bytes, bytes] = {}
        self.here = b""
        self.steps = 0
        self.implied_bytes = 0

    def run(self) -> IndexBuilder:
        reader = self.reader
        while reader.next():
            path = plain(reader.path)
            if path is None:
                path = self.named(reader.path)
                if not path:
                    if reader.kind is not Kind.DIRECTORY:
                        raise reader.bad("the root can only be a directory")
                    continue
                if b".wh." in path and self.marker(path):
                    continue
            parent, _, name = path.rpartition(b"/")
            if parent != self.here:
                self.here = self.directory_at(parent)
            path = self.here + b"/" + name if self.here else name
            if reader.kind is Kind.DIRECTORY:
                self.directory(path)
            elif reader.kind is Kind.HARDLINK:
                self.hard_link(path)
            else:
                self.file(path)
        reader.drain()
        for path in self.opaque:
            mode, uid, gid, mtime_ns, xattrs = self.attributes.get(path, _IMPLIED)
            self.builder.add(
                path, Kind.DIRECTORY, mode, uid, gid, 0, mtime_ns, b"", b"", 0, xattrs, True,
                path not in self.attributes,
            )  # fmt: skip
        return self.builder

    def named(self, name: bytes) -> bytes:
        """`normal` of it; names with `..` are noted, where that is asked for."""
        limits = self.reader.limits
        if self.climbing is not None and b".." in name and len(name) <= limits.name and b".." in name.split(b"/"):
            self.climbing.append(name if len(self.climbing) < MOST_CLIMBERS else b"")
            name = rooted(name)
        return normal(name, limits)

    # -- whiteouts -------------------------------------------------------------------------------------------

    def marker(self, path: bytes) -> bool:
        """Note what a whiteout or opaque marker hides; False if `path` is an ordinary name."""
        parent, _, name = path.rpartition(b"/")
        if path.startswith(PSEUDO_LINKS + b"/") and self.reader.kind is Kind.REGULAR:
            self.keep_pseudo(path)
            return True
        parts = parent.split(b"/")
        if any(part.startswith(META_PREFIX) for part in parts):
            return True
        if any(part.startswith(PREFIX) for part in parts):
            raise self.reader.bad("a member below a whiteout")
        if not name.startswith(PREFIX):
            return False
        if name.startswith(META_PREFIX) and name != OPAQUE_MARKER:
            return True
        hidden = name.removeprefix(PREFIX)
        if name != OPAQUE_MARKER and hidden in (b"", b".", b".."):
            raise self.reader.bad("whiteout of no valid name")
        self.here = self.directory_at(parent)
        if name == OPAQUE_MARKER:
            self.opaque.add(self.here)
            return True
        path = self.here + b"/" + hidden if self.here else hidden
        kind = self.kinds.get(path)
        if kind == Kind.DIRECTORY:
            self.opaque.add(path)
        elif kind is None:
            self.kinds[path] = Kind.WHITEOUT
            self.builder.add(path, Kind.WHITEOUT)
        return True

    # -- where a member goes ---------------------------------------------------------------------------------

    def directory_at(self, path: bytes) -> bytes:
        """The directory that `path` leads to, through symlinks of this layer; what is missing of it is implied."""
        if self.kinds.get(path) == Kind.DIRECTORY:
            return path  # what is above a directory of this layer is one, too: whatever replaces that takes all with it
        done = b""
        pending = path.split(b"/")[::-1] if path else []
        links = 0
        while pending:
            name = pending.pop()
            child = done + b"/" + name if done else name
            kind = self.kinds.get(child)
            if kind == Kind.SYMLINK and links < _MAX_LINKS and (target := self.resolved(child)) is not None:
                links += 1
                done = target
                continue
            if kind != Kind.DIRECTORY:
                self.implied(child, kind)
            done = child
        return done

    def implied(self, path: bytes, kind: int | None) -> None:
        self.implied_bytes += len(path)
        if self.implied_bytes > MOST_IMPLIED:
            raise ValueError(f"directories without a member have names of more than {MOST_IMPLIED} bytes in all")
        self.clear(path, kind)
        if kind is not None:
            self.opaque.add(path)
        self.kinds[path] = Kind.DIRECTORY
        self.builder.add(path, Kind.DIRECTORY, 0o755, implied=True)

    def resolved(self, path: bytes) -> bytes | None:
        """The directory of this layer that `path` leads to through this layer's symlinks; None if to none."""
        done: list[bytes] = []
        pending = path.split(b"/")[::-1]
        links = 0
        while pending:
            part = pending.pop()
            self.count(1)
            if part == b"..":
                done = done[:-1]
            elif part not in (b"", b"."):
                candidate = b"/".join((*done, part))
                kind = self.kinds.get(candidate)
                if kind == Kind.SYMLINK and links < _MAX_LINKS:
                    links += 1
                    target = self.targets[candidate]
                    if target.startswith(b"/"):
                        done = []
                    pending.extend(target.split(b"/")[::-1])
                elif kind == Kind.DIRECTORY:
                    done.append(part)
                else:
                    return None
        return b"/".join(done)

    def count(self, steps: int) -> None:
        """Raises ValueError where members cause more looking up than a layer may."""
        self.steps += steps
        if self.steps > self.reader.limits.steps:
            raise ValueError("too many names lead through symlinks or replaced directories of this layer")

    def clear(self, path: bytes, kind: int | None) -> None:
        """Something else takes the place of what the layer had at `path`, a directory with all in it."""
        if kind != Kind.DIRECTORY:
            return
        self.count(len(self.kinds))
        beneath = path + b"/"
        for gone in [known for known in self.kinds if known == path or known.startswith(beneath)]:
            del self.kinds[gone]
            self.attributes.pop(gone, None)
            self.opaque.discard(gone)
        if self.here == path or self.here.startswith(beneath):
            self.here = b""

    # -- members ---------------------------------------------------------------------------------------------

    def xattrs(self) -> tuple[tuple[bytes, bytes], ...]:
        given = self.reader.xattrs
        return tuple(sorted(pair for pair in given if iskept(pair[0]))) if given else ()

    def directory(self, path: bytes) -> None:
        reader = self.reader
        kind = self.kinds.get(path)
        if kind not in (None, Kind.DIRECTORY):
            self.opaque.add(path)  # a whiteout or a file of this layer had hidden what is below
        uid, gid = metadata.ids(reader)
        xattrs = self.xattrs()
        self.kinds[path] = Kind.DIRECTORY
        self.attributes[path] = (reader.mode, uid, gid, reader.mtime_ns, xattrs)
        self.builder.add(path, Kind.DIRECTORY, reader.mode, uid, gid, 0, reader.mtime_ns, xattrs=xattrs)

    def file(self, path: bytes) -> None:
        """A regular file, symlink, device or FIFO."""
        reader, kind = self.reader, self.reader.kind
        uid, gid = metadata.ids(reader)
        size, link, digest, rdev = 0, b"", b"", 0
        xattrs: tuple[tuple[bytes, bytes], ...] = ()
        if kind is Kind.REGULAR:
            size, xattrs = reader.size, self.xattrs()
            if self.unread is None or not self.unread.may_wait(path, size, reader.number):
                digest = metadata.content_digest(reader)
        elif kind is Kind.SYMLINK:
            link = reader.link
            if not link or len(link) >= 4096:
                raise reader.bad(f"symlink with a target of {len(link)} bytes")
            self.targets[path] = link
        elif kind is not Kind.FIFO:
            major, minor = reader.device
            if kind is Kind.CHARACTER and (major, minor) == (0, 0):
                raise reader.bad("character device 0:0, which would be a whiteout in disguise")
            if not (0 <= major < 1 << 12 and 0 <= minor < 1 << 20):
                raise reader.bad(f"device number {major}:{minor} is out of range")
            rdev = major << 32 | minor
        self.take_place(path, kind)
        self.builder.add(path, kind, reader.mode, uid, gid, size, reader.mtime_ns, link, digest, rdev, xattrs)

    def take_place(self, path: bytes, kind: int) -> None:
        if self.kinds.get(path) == Kind.DIRECTORY:
            self.clear(path, Kind.DIRECTORY)
        self.kinds[path] = kind

    def hard_link(self, path: bytes) -> None:
        reader = self.reader
        try:
            target = self.named(reader.link)
        except ValueError as error:
            raise reader.bad(f"hard link to {shown(reader.link)!r}: {error}") from None
        for wrong, fact in ((not target, "the root"), (target.startswith(path + b"/"), "what is below itself"),
                            (target == path, "itself")):  # fmt: skip
            if wrong:
                raise reader.bad(f"hard link to {fact}")
        uid, gid = metadata.ids(reader)
        if target in self.pseudo:
            mode, uid, gid, size, mtime_ns, digest, xattrs = self.pseudo.pop(target)
            self.pseudo_names[target] = path
            self.take_place(path, Kind.REGULAR)
            self.builder.add(path, Kind.REGULAR, mode, uid, gid, size, mtime_ns, b"", digest, 0, xattrs)
            return
        target = self.pseudo_names.get(target, target)
        parent, _, last = target.rpartition(b"/")
        real = self.resolved(parent)
        if real is not None:
            target = real + b"/" + last if real else last
        if self.kinds.get(target) == Kind.DIRECTORY:
            raise reader.bad("hard link to a directory")
        self.take_place(path, Kind.HARDLINK)
        self.builder.add(path, Kind.HARDLINK, reader.mode, uid, gid, 0, reader.mtime_ns, target)

    def keep_pseudo(self, path: bytes) -> None:
        """Keep a file of aufs's pseudo-link folder, until the first link takes its place."""
        reader = self.reader
        if len(self.pseudo) + len(self.pseudo_names) >= reader.limits.remembered:
            raise reader.bad(f"more than {reader.limits.remembered} aufs pseudo-links")
        if b"/" not in path.removeprefix(PSEUDO_LINKS + b"/"):
            uid, gid = metadata.ids(reader)
            digest = metadata.content_digest(reader)
            self.pseudo[path] = (reader.mode, uid, gid, reader.size, reader.mtime_ns, digest, self.xattrs())
