"""Files out of an image onto this machine: one file as it is, or a directory as a tar."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO

from veneer.analysis.view import NotThere
from veneer.changeset.entry import Entry, Kind
from veneer.engine.looking.contents import content
from veneer.errors import Conflict

if TYPE_CHECKING:
    from veneer.analysis.tree import MergedTree, Node
    from veneer.engine.looking.subject import Subject


class InTheWay(Conflict):
    """Where a file is to be written there is one."""


def extract(subject: Subject, path: bytes, at: int, target: str) -> int:
    """Write what is at `path` with the lowest `at` layers to `target`, which must not be there; the bytes written.

    See `write`.  Nothing is left where it fails.  Raises InTheWay, and as `write`.
    """
    try:
        out = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except FileExistsError:
        raise InTheWay(f"{target} is there already", hint="choose another name") from None
    try:
        with open(out, "wb") as file:
            return write(subject, path, at, file)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(target)
        raise


def write(subject: Subject, path: bytes, at: int, out: BinaryIO) -> int:
    """Write what is at `path` with the lowest `at` layers; the bytes written.

    A path that those layers hide is what the last of them had.  A directory becomes a tar of what is to be seen in it,
    owners and modes as in the image.  Raises NotThere, NoContent, ContentGone, OtherContent.
    """
    tree = subject.table.up_to(at).tree
    node = tree.find(path) if path else None
    if not path or (node is not None and node.kind is Kind.DIRECTORY):
        return _as_tar(subject, tree, path, out)
    layer, number = _entry(subject, path, at) if node is None else (node.layer, node.number)
    with content(subject, layer, number) as source:
        size = os.fstat(source.fileno()).st_size
        shutil.copyfileobj(source, out, 1 << 20)
    return size


def _entry(subject: Subject, path: bytes, at: int) -> tuple[int, int]:
    """The last copy of a hidden path."""
    copies = [copy for copy in subject.table.find(path)[0] if copy.layer < at]
    if not copies:
        raise NotThere(f"/{path.decode(errors='backslashreplace')} is in none of the lowest {at} layers")
    return copies[-1].layer, copies[-1].number


def _as_tar(subject: Subject, tree: MergedTree, path: bytes, out: BinaryIO) -> int:
    """The tree beneath a directory; a file with several names there is written once, and linked."""
    from veneer.changeset.tar_writer import TarWriter

    writer = TarWriter(out)
    written: dict[tuple[int, int], bytes] = {}
    skipped = len(path) + 1 if path else 0
    for node in _beneath(tree, path):
        name = node.path[skipped:]
        stored = tree.content(node)
        entry: Entry = replace(tree.entry(node), path=name, opaque=False, implied=False)
        if entry.kind is not Kind.REGULAR:
            writer.add(entry)
        elif stored in written:
            writer.add(replace(entry, kind=Kind.HARDLINK, link=written[stored], size=0, digest=b""))
        else:
            written[stored] = name
            with content(subject, *stored) as source:
                writer.add(entry, source.fileno())
    writer.finish()
    return writer.size


def _beneath(tree: MergedTree, path: bytes) -> Iterator[Node]:
    """All that is to be seen beneath a directory, directories before what is in them."""
    prefix = path + b"/" if path else b""
    return (node for node in tree if node.path.startswith(prefix))
