"""What is in a file of a layer: taken from the layer's directory, or from its tar where that is nearer or all there is.

Whatever it is taken from, it is what the layer's index says, by size and SHA-256, or nobody gets it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, BinaryIO

from veneer.changeset.entry import Kind
from veneer.errors import Corrupt, InvalidRequest, Unavailable
from veneer.values import Value

if TYPE_CHECKING:
    import io

    from veneer.changeset.compression import Source
    from veneer.changeset.entry import Entry
    from veneer.changeset.tar import TarReader
    from veneer.engine.looking.subject import Subject

    Tar = Callable[[], contextlib.AbstractContextManager[Source]]

_PIECE = 1 << 20


class NoContent(InvalidRequest):
    """What has no bytes of its own: a directory, a symlink, a device."""


class ContentGone(Unavailable):
    """Where the bytes of a layer's files are, nobody can tell any more."""


class OtherContent(Corrupt):
    """A file of a layer is not what the layer's index says."""


class TooMuchContent(InvalidRequest):
    """A file that is to be read whole and is too large for it."""


class LayerBytes(Value):
    """Where the files of one layer are: `directory` has them as files ("": none has), `tar` opens it as a stream."""

    __slots__ = ()
    directory: str = ""
    tar: Tar | None = None


NOWHERE = LayerBytes()
MOST_READ = 64 << 20
"""Bytes of one file that is read whole."""


def content(subject: Subject, layer: int, number: int) -> BinaryIO:
    """The bytes of entry `number` of `layer` (0 is the base), to be read at any place and closed by the caller.

    A hard link stands for its file.  Of a layer that is only a stream, all of it up to the file is read.
    Raises NoContent, ContentGone, OtherContent.
    """
    layer, number = subject.table.content(layer, number)
    entry = subject.indexes[layer].entry(number)
    shown = f"/{entry.path.decode(errors='backslashreplace')} of layer {layer + 1}"
    if entry.kind is not Kind.REGULAR:
        led = entry.link.decode(errors="backslashreplace")
        raise NoContent(f"{shown} is a {entry.kind.name.lower()}, which has no content",
                        hint=f"it points to {led}, where nothing is" if entry.kind is Kind.SYMLINK else "")  # fmt: skip
    where = subject.bytes_of(layer)
    found = _from_directory(where.directory, entry) if where.directory else None
    if found is not None:
        return found
    if where.tar is None:
        if where.directory:
            raise OtherContent(f"{shown} is not what the layer's table of contents says",
                               hint="veneer system check tells what else is wrong")  # fmt: skip
        raise ContentGone(f"{shown}: nothing tells where its bytes are")
    with where.tar() as source:
        found = _from_tar(source, entry, shown)
    if found is None:
        raise OtherContent(f"{shown} is not in the layer", hint="veneer system check tells what else is wrong")
    return found


def several(subject: Subject, wanted: Iterable[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
    """What is in many files, whole, by (layer, number) as they were asked for.

    A layer that is only a stream is read once for all that are in it.  Raises as `content` does, and TooMuchContent.
    """
    found: dict[tuple[int, int], bytes] = {}
    missing: dict[int, dict[bytes, list[tuple[int, int]]]] = {}
    for key in wanted:
        layer, number = subject.table.content(*key)
        entry = subject.indexes[layer].entry(number)
        if entry.size > MOST_READ:
            shown = entry.path.decode(errors="backslashreplace")
            raise TooMuchContent(f"/{shown} of layer {layer + 1} has {entry.size} bytes, more than {MOST_READ} at once")
        directory = subject.bytes_of(layer).directory
        file = _from_directory(directory, entry) if directory else None
        if file is not None:
            with file:
                found[key] = file.read()
        else:
            missing.setdefault(layer, {}).setdefault(entry.digest, []).append(key)
    for layer, digests in missing.items():
        found |= _read_through(subject, layer, digests)
    return found


def _read_through(
    subject: Subject, layer: int, digests: dict[bytes, list[tuple[int, int]]]
) -> dict[tuple[int, int], bytes]:  # fmt: skip
    """The files with these digests, out of a layer's tar."""
    from veneer.changeset.compression import opened
    from veneer.changeset.tar import TarReader

    where = subject.bytes_of(layer)
    if where.tar is None:
        raise ContentGone(f"files of layer {layer + 1}: nothing tells where their bytes are")
    index = subject.indexes[layer]
    sizes = {index.sizes[subject.table.content(*keys[0])[1]] for keys in digests.values()}
    found: dict[tuple[int, int], bytes] = {}
    left = set(digests)
    with where.tar() as source:
        reader = TarReader(opened(source)[1], what=f"layer {layer + 1}", hashed=False)
        try:
            while left and reader.next():
                if reader.kind is Kind.REGULAR and reader.size in sizes:
                    with _copied(reader) as file:
                        data = file.read()
                    digest = hashlib.sha256(data).digest()
                    if digest in left:
                        left.discard(digest)
                        found.update(dict.fromkeys(digests[digest], data))
        finally:
            reader.close()
    if left:
        raise OtherContent(f"{len(left)} files are not in layer {layer + 1}",
                           hint="veneer system check tells what else is wrong")  # fmt: skip
    return found


def _from_directory(directory: str, entry: Entry) -> BinaryIO | None:
    """The file, if it is there, may be read and has the content it should have."""
    from veneer.changeset.safepath import DIRECTORY, open_beneath

    try:
        root = os.open(directory, DIRECTORY)
    except OSError:
        return None
    try:
        file = open(open_beneath(root, entry.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb")  # noqa: SIM115
    except OSError:
        return None  # not there, not for this user: the layer's tar may have it
    finally:
        os.close(root)
    if os.fstat(file.fileno()).st_size == entry.size and hashlib.file_digest(file, "sha256").digest() == entry.digest:
        file.seek(0)
        return file
    file.close()
    return None


def _from_tar(source: Source, entry: Entry, shown: str) -> BinaryIO | None:
    """The first file of a layer's tar, compressed or not, with the content of `entry`; what it is called is no matter,
    for names of members may lead through symlinks."""
    from veneer.changeset.compression import opened
    from veneer.changeset.tar import TarReader

    reader = TarReader(opened(source)[1], what=f"the layer with {shown}", hashed=False)
    try:
        while reader.next():
            if reader.kind is Kind.REGULAR and reader.size == entry.size:
                found = _copied(reader)
                if hashlib.file_digest(found, "sha256").digest() == entry.digest:
                    found.seek(0)
                    return found
                found.close()
    finally:
        reader.close()
    return None


def _copied(reader: TarReader) -> io.BufferedRandom:
    """A member's content in a nameless file, its holes too."""
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(tempfile.TemporaryFile())
        for offset, length in reader.segments if reader.segments is not None else ((0, reader.left),):
            file.seek(offset)
            while length:
                piece = reader.take_at_most(min(length, _PIECE))
                file.write(piece)
                length -= len(piece)
        file.truncate(reader.size)
        file.seek(0)
        stack.pop_all()
        return file
    raise AssertionError("an ExitStack lets errors through")
