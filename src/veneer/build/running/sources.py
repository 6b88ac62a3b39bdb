"""What `from=` and `source=` of a mount mean: a directory or file of the context, of a stage, of an image.

Source: moby/buildkit dockerfile2llb convert_runmount.go; docker/dockerfile reference, RUN --mount.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import stat
from collections.abc import Iterator
from pathlib import Path

from veneer.build.context.scan import MODE, MTIME, OWNER, Folder, Tree, row_of
from veneer.build.context.select import Root, Selection, missing
from veneer.build.meant import meant, opened_tree
from veneer.run.bundle import own

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from veneer.build.caching.mounted import Row
    from veneer.build.language.instructions import RunMount
    from veneer.build.meant import Meant
    from veneer.build.stage import StageRun
    from veneer.drivers.mount import Mount
    from veneer.run.bundle import Bundle

KEYWORD = "RUN --mount"


class Source:
    """What a mount shows: `inner`, a path, of the context or file system that is meant."""

    def __init__(self, stage: StageRun, mount: RunMount, found: Meant) -> None:
        self._stage = stage
        self._given = mount
        self._meant = found
        self._context = found.context
        self._top = found.top
        self.inner = os.fsencode(posixpath.normpath("/" + mount.source).lstrip("/"))

    @property
    def name(self) -> str:
        """What people call it: where it is from, and where it is in that, as in `the build context:/sub/file`."""
        place = self._given.from_ or "the build context"
        return f"{place}:/{os.fsdecode(self.inner)}" if self.inner else place

    def fact(self) -> tuple[str, list[Row]]:
        """What the cache knows it by: docker's checksum; of a whole file system, which that is; "" if a dry run cannot
        know.  Where it is a checksum, also its files; see mounted.py.

        Raises SourceNotFound.
        """
        if self._meant.unforeseen:
            return "", []
        if self._context is None and not self.inner:
            return f"layers:{self._top}", []
        from veneer.build.caching.mounted import listed

        with opened_tree(self._stage, self._meant) as tree:
            real, status = self._found(tree)
            folder = tree.folder(real) if stat.S_ISDIR(status.st_mode) else None
            selection = Selection(tree, [Root(b"", self.inner, real, row_of(status), folder)])
            return selection.checksum(), listed(selection)

    def mounted(self, bundle: Bundle, stack: contextlib.ExitStack, *, writable: bool) -> tuple[str, bool]:
        """Its path in the bundle, and whether it is a directory; `stack` takes away what that needs on the disk.

        What is written to a `writable` one is thrown away.  Raises SourceNotFound.
        """
        with opened_tree(self._stage, self._meant) as tree:
            real, status = self._found(tree)
            if self._context is None:
                mounts, folder = self._stage.store.layers.mounts(self._top), None
            else:
                place = Path(os.path.abspath(self._context.root)) / os.fsdecode(real)
                folder = tree.folder(real) if stat.S_ISDIR(status.st_mode) else None
                if folder is None:  # one file of a directory
                    place = place.parent
                mounts, real = [_bind(place)], real.rpartition(b"/")[2] if folder is None else b""
            hidden = [] if folder is None else list(_hidden(tree, folder))
            if hidden or writable:
                mounts = self._over(mounts[0], folder, hidden, stack, writable=writable)
        return bundle.tree(mounts, real)

    @contextlib.contextmanager
    def copied(self) -> Iterator[Path]:
        """A path at which it can be read, for this `with`; of a context without regard to what is ignored."""
        with opened_tree(self._stage, self._meant) as tree:
            yield Path(f"/proc/self/fd/{tree.fd}") / (os.fsdecode(self._found(tree)[0]) or ".")

    def _found(self, tree: Tree) -> tuple[bytes, os.stat_result]:
        """The real path and status of what is mounted."""
        found = tree.resolve(self.inner)
        if found is None or (found[0] and tree.ignore and _is_hidden(tree, *found)):
            raise missing(tree, self.inner, KEYWORD)
        return found

    def _over(
        self, below: Mount, folder: Folder | None, hidden: list[bytes], stack: contextlib.ExitStack, *, writable: bool
    ) -> Sequence[Mount]:
        """The same tree without what is hidden, and with a place for what is written."""
        from veneer.drivers.mount import Mount, opened
        from veneer.drivers.treecopy import delete_tree
        from veneer.drivers.userns import privileged

        scratch = self._stage.session.lease.file("mount")
        scratch.mkdir(0o700)
        stack.callback(delete_tree, scratch)
        lowers = list(below.lowers) or [below.source]
        if hidden and folder is not None:
            mask = scratch / "mask"
            _mask(mask, folder, hidden)
            lowers.insert(0, str(mask))
        options = below.options or (() if privileged() else ("userxattr",))
        if not writable:
            return [Mount.overlay(lowers, options=options, data=below.data)]
        upper, work = scratch / "upper", scratch / "work"
        work.mkdir()
        with opened([below]) as root:
            _like(upper, os.fstat(root))
        if below.type == "fuse":  # its layers are not spelt as overlay spells
            return [below.replaced(upper=upper, work=work, readonly=False)]
        return [Mount.overlay(lowers, upper=upper, work=work, options=options, data=below.data)]


def source_of(stage: StageRun, mount: RunMount) -> Source:
    """What a mount shows.  Raises StageError, NoSuchContext, and what getting an image raises."""
    return Source(stage, mount, meant(stage, mount.from_))


def _bind(directory: Path) -> Mount:
    from veneer.drivers.mount import Mount

    return Mount.bind(directory, readonly=True)


def _is_hidden(tree: Tree, real: bytes, status: os.stat_result) -> bool:
    if not tree.ignore.excludes(real):
        return False
    return not stat.S_ISDIR(status.st_mode) or not tree.folder(real).names


def _hidden(tree: Tree, folder: Folder) -> Iterator[bytes]:
    """The paths at and below `folder` that the tree keeps out of sight, relative to it."""
    from veneer.changeset.safepath import DIRECTORY

    if not tree.ignore:
        return
    start = len(folder.path) + 1 if folder.path else 0
    for each in folder.walk():
        fd = tree.open(each.path, DIRECTORY)
        try:
            there = set(map(os.fsencode, os.listdir(fd)))
        finally:
            os.close(fd)
        for name in sorted(there.difference(each.names)):
            yield each.child(name)[start:]


def _mask(mask: Path, folder: Folder, hidden: list[bytes]) -> None:
    """A layer that deletes `hidden`: overlay shows it over the directory that `folder` is."""
    wanted = {b""}
    for path in hidden:
        parts = path.split(b"/")[:-1]
        wanted |= {b"/".join(parts[:count]) for count in range(1, len(parts) + 1)}
    start = len(folder.path) + 1 if folder.path else 0
    rows = {each.path[start:]: each.row for each in folder.walk()}
    for path in sorted(wanted):
        directory = mask / os.fsdecode(path)
        directory.mkdir()
        directory.chmod(stat.S_IMODE(rows[path][MODE]))
        own(directory, rows[path][OWNER] >> 32, rows[path][OWNER] & 0xFFFFFFFF)
    for path in hidden:
        os.mknod(mask / os.fsdecode(path), stat.S_IFCHR, os.makedev(0, 0))
    for path in wanted:
        os.utime(mask / os.fsdecode(path), ns=(rows[path][MTIME], rows[path][MTIME]))


def _like(directory: Path, status: os.stat_result) -> None:
    directory.mkdir()
    directory.chmod(stat.S_IMODE(status.st_mode))
    own(directory, status.st_uid, status.st_gid)
    os.utime(directory, ns=(status.st_atime_ns, status.st_mtime_ns))
