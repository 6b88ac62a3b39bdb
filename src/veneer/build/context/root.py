"""Where a build's files come from: a directory, an archive from a stream, something fetched."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from veneer.build.context.failures import BadContext, SourceNotFound, shown
from veneer.build.context.ignore import NAME, Ignore
from veneer.build.context.memory import Memory
from veneer.build.context.scan import Tree
from veneer.changeset.safepath import DIRECTORY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.build.context.access import Access

_MAX_READ = 64 << 20


class Context(Tree):
    """A build context that is open.  `root` is where it lies, `name` what the user called it.

    What COPY reads is the Tree it is, without what `.dockerignore` excludes; `read` sees everything.  `dockerfile`
    is the text of one that came alone, with no files beside it; None: it is to be looked for among the files.
    """

    def __init__(
        self, root: Path, fd: int, name: str, ignore: Ignore, memory: Memory, dockerfile: bytes | None = None
    ) -> None:
        super().__init__(fd, "the build context", ignore=ignore, normalised=True, memory=memory)
        self.dockerfile = dockerfile
        self.root = root
        self.root_fd = fd
        self.name = name

    def read(self, path: str | bytes, *, limit: int = _MAX_READ) -> bytes:
        """The content of a file of the context, links followed inside it, ignored or not (a Dockerfile may be).

        Raises SourceNotFound, BadContext for what is no file or too big.
        """
        wanted = os.fsencode(path)
        found = self.resolve(wanted)
        if found is None:
            raise SourceNotFound(f"{shown(wanted)}: no such file or directory in {self.what}")
        real, status = found
        if not stat.S_ISREG(status.st_mode):
            raise BadContext(f"{shown(wanted)}: not a regular file")
        with open(self.open(real, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as file:
            data = file.read(limit + 1)
        if data is None or len(data) > limit:
            raise BadContext(f"{shown(wanted)}: more than {limit} bytes")
        return data


@contextlib.contextmanager
def open_context(
    source: Path | str | BinaryIO | None,
    *,
    scratch: Path,
    memory: Path | None = None,
    dockerfile: str = "",
    access: Access | None = None,
    named: bool = False,
    keep_git_dir: bool = False,
) -> Iterator[Context]:
    """Open the context a user named; leaving closes it and learns what was read for the next time.

    `scratch`: an empty folder of the build, for contexts that have to be fetched or unpacked, with what `access`
    allows.  `memory`: the store's folder of stat memories.  `dockerfile`: its path, because `<Dockerfile>.dockerignore`
    goes first.  `named`: whether it is a `--build-context`.  `keep_git_dir`: a repository's `.git` is part of it.
    Raises BadContext and what fetching raises.
    """
    text: bytes | None = None
    if source is None:
        directory, name, memory = scratch / "context", "", None
        directory.mkdir()
    elif isinstance(source, Path) or (isinstance(source, str) and os.path.isdir(source)):
        directory, name = Path(source), os.fspath(source)
    else:
        from veneer.build.context.remote import made_directory

        place = made_directory(source, scratch, access, named=named, keep_git_dir=keep_git_dir)
        directory, name, text = place.directory, place.name, place.dockerfile
        memory = None  # nothing of a directory that is gone afterwards is worth remembering
    try:
        fd = os.open(directory, DIRECTORY & ~os.O_NOFOLLOW)
    except OSError as error:
        raise BadContext(f"unable to prepare context: path {str(directory)!r}: {error.strerror}") from error
    try:
        remembered = Memory(None) if memory is None else Memory.of(memory, directory, fd)
        context = Context(directory, fd, name, Ignore(), remembered, text)
        context.ignore = read_ignore(context, dockerfile)
        with scouted(context, remembered):
            yield context
        remembered.save()
    finally:
        os.close(fd)


@contextlib.contextmanager
def scouted(context: Context, memory: Memory) -> Iterator[None]:
    """Have half of a context that is known to be large looked at from now on by a second process."""
    if not memory.second_half:
        yield
        return
    from veneer.build.context.scouting import scout

    context.scout = scout(context, memory.second_half)
    try:
        yield
    finally:
        if context.scout is not None:
            context.scout.close()
            context.scout = None


def read_ignore(context: Context, dockerfile: str) -> Ignore:
    """The context's `.dockerignore`: the Dockerfile's own if there is one, else the root's."""
    for name in ([dockerfile + NAME] if dockerfile else []) + [NAME]:
        try:
            data = context.read(name)
        except SourceNotFound:
            continue
        return Ignore.parse(data, source=name)
    return Ignore()
