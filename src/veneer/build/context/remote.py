"""Contexts that are no directory here: archives, Dockerfiles alone, URLs and git repositories, made one in scratch.

What begins like an archive (compressed or not) is one; any other text is a Dockerfile without a context.  Archives are
unpacked by the rules layers are, so that nothing leaves the directory, but `.wh.` names mean nothing in them.
Source: moby/buildkit frontend/dockerui/context.go; docker/cli cli/command/image/build/context.go.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from veneer.build.context.address import is_http, parse_git
from veneer.build.context.failures import BadContext
from veneer.changeset import compression
from veneer.changeset.compression import Compression
from veneer.changeset.header import BLOCK, FIELDS, checksum_holds
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.build.context.access import Access

MAX_DOCKERFILE = 64 << 20
_CHECKSUM = 6  # of the fields


class Place(Value):
    """A context made a directory.  `name` is for people; `dockerfile` is all there is, if it is not None."""

    directory: Path
    name: str
    dockerfile: bytes | None = None


class Joined:
    """A stream whose beginning has been read already."""

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        self._head = head
        self._stream = stream

    def readinto(self, buffer: memoryview | bytearray, /) -> int:
        if not self._head:
            return self._stream.readinto(buffer) or 0  # type: ignore[attr-defined]
        count = min(len(buffer), len(self._head))
        buffer[:count] = self._head[:count]
        self._head = self._head[count:]
        return count

    def read(self, limit: int) -> bytes:
        """All that is left, at most `limit` bytes and one."""
        data = bytearray(self._head)
        while len(data) <= limit and (block := self._stream.read(min(1 << 20, limit + 1 - len(data)))):
            data += block
        return bytes(data)


def made_directory(
    source: str | BinaryIO, scratch: Path, access: Access | None, *, named: bool = False, keep_git_dir: bool = False
) -> Place:
    """The context that a URL, a git address or a stream is; `scratch` is an empty folder of the build.

    `access` is only None for a stream.  `named`: it is a `--build-context`, for which a file behind HTTP is not opened
    but is the one file in it.
    Raises BadContext, BadArchive or BadCompression, BadAddress, and what fetching raises.
    """
    if not isinstance(source, str):
        return received(source, scratch, "standard input")
    address = parse_git(source, context=True)
    if address is not None:
        from veneer.build.context.git import fetch_git

        assert access is not None, "an address needs somebody's access"
        return Place(fetch_git(address, scratch, access, keep_git_dir=keep_git_dir).path, address.shown)
    if not is_http(source):
        raise BadContext(f"unable to prepare context: path {source!r} not found")
    assert access is not None, "a URL needs somebody's access"
    return _from_http(source, scratch, access, named=named)


def _from_http(url: str, scratch: Path, access: Access, *, named: bool) -> Place:
    from veneer.build.context.download import download
    from veneer.distribution.fetch import redacted

    came = download(url, scratch, access.replaced(memory=None))
    file, shown = came.path, redacted(url)
    if named:
        directory = scratch / "context"
        directory.mkdir()
        file.rename(directory / (came.name or "context"))
        os.utime(directory / (came.name or "context"), ns=(came.mtime_ns, came.mtime_ns))
        return Place(directory, shown)
    with open(file, "rb", buffering=0) as stream:
        place = received(stream, scratch, shown)
    file.unlink()
    return place


def received(stream: BinaryIO, scratch: Path, name: str) -> Place:
    """What a stream holds: an archive's files, or a Dockerfile and no files."""
    head = _head(stream)
    joined = Joined(head, stream)
    directory = scratch / "context"
    directory.mkdir(0o755)
    if is_archive(head):
        _unpack(joined, directory, name)
        return Place(directory, name)
    text = joined.read(MAX_DOCKERFILE)
    if not text:
        raise BadContext(
            f"{name} is empty: neither an archive nor a Dockerfile", hint="give a tar archive or a Dockerfile"
        )
    if b"\0" in text[:BLOCK] or len(text) > MAX_DOCKERFILE:
        raise BadContext(f"{name} is neither an archive nor the text of a Dockerfile",
                         hint="a context is a tar archive, plain or with gzip, bzip2, xz or zstd")  # fmt: skip
    return Place(directory, name, text)


def is_archive(head: bytes) -> bool:
    """Whether a file that begins so is an archive: its first 512 bytes, or all there is."""
    if compression.sniff(head) is not Compression.NONE:
        return True
    if len(head) < BLOCK:
        return False
    block = head[:BLOCK]
    return not any(block) or checksum_holds(memoryview(block), FIELDS.unpack(block)[_CHECKSUM])


def _head(stream: BinaryIO) -> bytes:
    head = b""
    while len(head) < BLOCK and (block := stream.read(BLOCK - len(head))):
        head += block
    return head


def _unpack(source: Joined, directory: Path, name: str) -> None:
    from veneer.changeset.safepath import DIRECTORY
    from veneer.changeset.unpack import unpack
    from veneer.changeset.whiteout import WhiteoutStyle

    fd = os.open(directory, DIRECTORY)
    try:
        unpack(source, fd, WhiteoutStyle.PLAIN, index=None, what=f"the context from {name}")
    finally:
        os.close(fd)
