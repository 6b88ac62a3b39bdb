"""Carries a plan out: a draft's directory is filled, and its index and diff ID are known when it is full.

Directories are made by this process, ahead of what goes into them; what goes into them is copied here or, where it is
much, by a crew of processes, in jobs of the layer's order.  The tar's hash is made as their pieces come in.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time
from collections.abc import Iterator
from typing import BinaryIO

from veneer.build.context import checksum
from veneer.build.context.failures import SourceChanged, shown
from veneer.build.context.hashing import owner, remember
from veneer.build.context.scan import INODE, MODE, OWNER, SIZE, WIDTH, Folder, owner_in
from veneer.build.context.select import Root
from veneer.build.copying.buffer import BUFFER, Tar
from veneer.build.copying.copier import Copier, hidden_name
from veneer.build.copying.items import Copied, Rules, Run
from veneer.build.copying.plan import MADE, Child, Place, Plan, is_linked, is_single, row_at
from veneer.changeset import metadata
from veneer.changeset.common_header import header
from veneer.changeset.entry import Entry, Kind
from veneer.changeset.index_builder import IndexBuilder
from veneer.changeset.metadata import drop_default_acl, umask
from veneer.changeset.pack_sink import Packed
from veneer.changeset.safepath import DIRECTORY, open_beneath, remove_tree
from veneer.changeset.tar_writer import BLOCK, member_header
from veneer.changeset.whiteout import PREFIX, WhiteoutStyle
from veneer.oci.digest import DiffID, Digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from veneer.build.copying.crew import Crew
    from veneer.store.drafts import Draft

    Lend = Callable[[int, int], contextlib.AbstractContextManager[Crew | None]]

_JOB_ITEMS = 128
_JOB_BYTES = BUFFER
_TOLD_BYTES = 256 << 20
"""Who is told has the disk begin, and until it has what is there, whoever makes files waits now and then: not often."""
_NOTHING = bytes(32)


class Job:
    """A stretch of the layer: what a worker is told, and what each of its answers is about.

    `children` are its entries: directories, which are made already, and what is copied; the first `items` are noted.
    """

    __slots__ = ("children", "items", "runs", "size")

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self.children: list[tuple[bytes, Child, tuple[int, ...]] | Place] = []
        self.items = 0
        self.size = 0


class Filling:
    """One layer on its way into one draft."""

    def __init__(self, draft: Draft, plan: Plan, *, latest_ns: int | None) -> None:
        self._draft = draft
        self._plan = plan
        self._latest_ns = latest_ns
        self._started = time.time_ns()
        self._index = IndexBuilder()
        self._hash = hashlib.sha256()
        self._tar_size = self._size = self._entries = self._told = 0
        self._firsts: dict[tuple[int, int], list[tuple[bytes, Child]]] = {}
        self._links: list[tuple[bytes, bytes]] = []
        self._rows: dict[bytes, tuple[int, ...]] = {}
        self._places: list[Place] = []
        self._replacing = draft.style is WhiteoutStyle.ERASE
        self._root = -1
        self._wrote: Callable[[int], None]

    def run(
        self, index: BinaryIO, crew: Lend, wrote: Callable[[int], None] = lambda size: None
    ) -> Packed:  # fmt: skip
        """Fill the draft; its index goes to `index`.  `crew` lends processes for so many entries and bytes, `wrote` is
        told now and then how many bytes went into files since.

        Raises SourceNotFound, SourceChanged, BadContext, Unpackable, OSError.
        """
        self._root = os.open(self._draft.directory, DIRECTORY)
        self._wrote = wrote
        try:
            drop_default_acl(self._root)
            for origin in self._plan.origins:
                for root in origin.roots:
                    for folder in root.folder.walk() if root.folder is not None else ():
                        if folder.sums is None:
                            remember(origin.tree, folder)
            items, size = self._extent()
            with crew(items, size) as workers:
                if workers is None:
                    self._here()
                else:
                    self._by(workers)
            self._link()
            self._dress()
        finally:
            os.close(self._root)
        self._learn()
        self._hashed(memoryview(bytes(2 * BLOCK)))
        self._index.write(index)
        diff_id = DiffID(Digest.sha256(self._hash.hexdigest()))
        return Packed(diff_id, self._tar_size, self._size, self._entries)

    def _extent(self) -> tuple[int, int]:
        """How many entries there are about, and how many bytes."""
        items = size = 0
        for origin in self._plan.origins:
            for root in origin.roots:
                if root.folder is None:
                    items, size = items + 1, size + root.row[SIZE]
                for folder in root.folder.walk() if root.folder is not None else ():
                    items += len(folder.names)
                    size += sum(folder.rows[SIZE::WIDTH])
        return items, size

    def _hashed(self, piece: memoryview) -> None:
        self._hash.update(piece)
        self._tar_size += len(piece)
        if self._tar_size - self._told >= _TOLD_BYTES:
            self._wrote(self._tar_size - self._told)
            self._told = self._tar_size

    # ---- who copies

    def _here(self) -> None:
        buffer = memoryview(bytearray(BUFFER))

        def full(piece: memoryview) -> memoryview:
            self._hashed(piece)
            return buffer

        tar = Tar(buffer, full)
        copier = Copier(
            self._root, self._trees(), tar, latest_ns=self._latest_ns, replacing=self._replacing, umask=umask()
        )  # fmt: skip
        with contextlib.closing(copier):
            for job in self._jobs():
                for run in job.runs:
                    self._took(job, copier.run(run))
                self._listed(job)
        tar.flush()

    def _by(self, crew: Crew) -> None:
        crew.begin(self._root, self._trees(), latest_ns=self._latest_ns, replacing=self._replacing)
        for job, copied in crew.work(self._jobs(), self._hashed):
            self._took(job, copied)
            self._listed(job)

    def _trees(self) -> list[tuple[int, Rules]]:
        """What a Copier is given of the origins; nothing moves from one file system to another."""
        device = os.fstat(self._root).st_dev
        return [
            (
                origin.tree.fd,
                origin.rules.replaced(ours=origin.rules.ours and os.fstat(origin.tree.fd).st_dev == device),
            )
            for origin in self._plan.origins
        ]

    def _listed(self, job: Job) -> None:
        """Note the directories that come next in a job, before what is in them: the index has the layer's order."""
        children = job.children
        while job.items < len(children) and isinstance(place := children[job.items], Place):
            job.items += 1
            if place.listed:
                self._entries += 1
                fields = (place.path, Kind.DIRECTORY, place.mode, place.uid, place.gid, 0, place.mtime_ns)
                self._index.add(*fields, xattrs=place.xattrs)
            else:
                self._index.add(place.path, Kind.DIRECTORY, 0o755, implied=True)

    def _took(self, job: Job, copied: list[Copied]) -> None:
        """Note what items became; answers come in the order of their items."""
        add = self._index.add
        for each in copied:
            self._listed(job)
            path, child, listed = job.children[job.items]  # type: ignore[misc]
            job.items += 1
            kind, mode, uid, gid, size, mtime_ns, link, rdev, xattrs, total, content, row = each
            add(
                path, kind, mode, uid, gid, size, mtime_ns, link, content if kind == Kind.REGULAR else b"", rdev, xattrs
            )
            self._entries += 1
            if kind == Kind.REGULAR:
                self._size += size
            elif kind == Kind.SYMLINK:
                self._size += len(link)
            if kind == Kind.HARDLINK:
                self._links.append((link, path))
                if self._rows[link][:4] != row[:4]:
                    raise SourceChanged(f"{shown(path)}: its file changed while it was copied")
            elif is_linked(row):
                self._rows[path] = row
            _, holder, number = child
            if isinstance(holder, Root):
                holder.sum, holder.digest, holder.row = total, content, row
            else:
                assert holder.sums is not None and holder.digests is not None
                holder.sums[32 * number : 32 * number + 32] = total
                holder.digests[32 * number : 32 * number + 32] = content
                if row != listed:
                    holder.rows[number * WIDTH : number * WIDTH + WIDTH] = holder.rows.__class__("q", row)

    # ---- what is to be copied

    def _jobs(self) -> Iterator[Job]:
        """The layer in its order, cut into jobs; directories are made on the way."""
        job, run, place_of_run = Job(), None, (-1, b"", b"")
        items: list[tuple[Any, ...] | bytes] = []
        for place, name, child in self._plan.walk():
            if child is None:
                block = self._directory(place)
                job.children.append(place)
                if block:
                    job.runs.append((-1, block, b"", ()))
                    run = None
                continue
            row = row_at(child)
            item, source = self._item(place, name, child, row)
            here = (child[0], source, place.path)
            if run is None or here != place_of_run:
                items = []
                run, place_of_run = (*here, items), here
                job.runs.append(run)
            items.append(item)
            job.children.append((place.child(name), child, row))
            job.size += row[SIZE]
            if len(job.children) >= _JOB_ITEMS or job.size >= _JOB_BYTES:
                yield job
                job, run = Job(), None
        if job.children:
            yield job

    def _item(
        self, place: Place, name: bytes, child: Child, row: tuple[int, ...]
    ) -> tuple[tuple[Any, ...] | bytes, bytes]:  # fmt: skip
        """What a Run has of it, and the directory it is in; `row` is what it was listed as."""
        _, holder, at = child
        known: tuple[int, ...] = ()
        if isinstance(holder, Folder):
            source, own = holder.path, holder.names[at]
            assert holder.sums is not None and holder.digests is not None
            if own == name and is_single(row) and holder.sums[32 * at : 32 * at + 32] == _NOTHING:
                return own, source
            given = holder.child(own)
            total, content = bytes(holder.sums[32 * at : 32 * at + 32]), bytes(holder.digests[32 * at : 32 * at + 32])
            if total != _NOTHING:
                known = row
        else:
            source, _, own = holder.path.rpartition(b"/")
            given, total, content = holder.given, holder.sum, holder.digest
            if total:
                known = row
        first = self._first(place.child(name), child, row) if is_linked(row) else b""
        return (own, given, name, row[MODE], known, total, content, first), source

    def _first(self, path: bytes, child: Child, row: tuple[int, ...]) -> bytes:
        """The path in the layer of another name of the same file that comes before; b"" for the first."""
        others = self._firsts.setdefault((child[0], row[INODE]), [])
        device = self._device(child) if others else 0
        for first, other in others:
            if self._device(other) == device:  # a number is a file's on its own file system only
                return first
        others.append((path, child))
        return b""

    def _device(self, child: Child) -> int:
        number, holder, at = child
        path = holder.path if isinstance(holder, Root) else holder.child(holder.names[at])
        status = self._plan.origins[number].tree.status(path)
        if status is None:
            raise SourceChanged(f"{shown(path)}: was there when it was listed, and is not any more")
        return status.st_dev

    def _directory(self, place: Place) -> bytes:
        """Make a directory; its blocks in the tar."""
        if place.path.rpartition(b"/")[2].startswith(PREFIX):
            raise hidden_name(place.path)
        try:
            os.mkdir(place.path, MADE, dir_fd=self._root)
        except FileExistsError:
            # A driver that copies what is below; where the plan has a directory, nothing else stays.
            if not stat.S_ISDIR(os.stat(place.path, dir_fd=self._root, follow_symlinks=False).st_mode):
                self._replace(place.path)
        self._places.append(place)
        if not place.listed:
            return b""
        fields = (place.path, Kind.DIRECTORY, place.mode, place.uid, place.gid, 0, place.mtime_ns)
        return header(*fields) if not place.xattrs else member_header(Entry(*fields, xattrs=place.xattrs))

    def _replace(self, path: bytes) -> None:
        directory, _, name = path.rpartition(b"/")
        fd = open_beneath(self._root, directory, DIRECTORY)
        try:
            remove_tree(fd, name, path)
            os.mkdir(name, MADE, dir_fd=fd)
        finally:
            os.close(fd)

    # ---- when all is copied

    def _link(self) -> None:
        for first, path in self._links:
            try:
                os.link(first, path, src_dir_fd=self._root, dst_dir_fd=self._root, follow_symlinks=False)
            except FileExistsError:
                directory, _, name = path.rpartition(b"/")
                fd = open_beneath(self._root, directory, DIRECTORY)
                try:
                    remove_tree(fd, name, path)
                finally:
                    os.close(fd)
                os.link(first, path, src_dir_fd=self._root, dst_dir_fd=self._root, follow_symlinks=False)

    def _dress(self) -> None:
        """Give the directories their attributes, now that nothing in them changes any more."""
        own, made = (os.geteuid(), os.getegid()), MADE & ~umask()
        for place in self._places:
            if (place.uid, place.gid) == own and place.mode == made and not place.xattrs and not self._replacing:
                # As it was made.  It is ours alone, and so are those that it is in: no link can be on the way.
                os.utime(place.path or b".", ns=(place.mtime_ns, place.mtime_ns), dir_fd=self._root)
                continue
            fd = open_beneath(self._root, place.path, DIRECTORY)
            try:
                if (place.uid, place.gid) != own or self._replacing:
                    metadata.chown(fd, place.uid, place.gid)
                os.fchmod(fd, place.mode)
                for name, value in place.xattrs:
                    os.setxattr(fd, name, value)
                os.utime(fd, ns=(place.mtime_ns, place.mtime_ns))
            finally:
                os.close(fd)

    def _learn(self) -> None:
        """Have every checksum of the sources known, and remembered for the next time."""
        for origin in self._plan.origins:
            tree = origin.tree
            for root in origin.roots:
                if root.folder is None:
                    continue
                if not root.sum:
                    head = checksum.header(root.given + b"/", root.row[MODE], owner(tree, root.row[OWNER]))
                    root.sum = hashlib.sha256(head).digest()
                for folder in root.folder.walk():
                    _complete(tree.normalised, folder)
                    if tree.memory is not None:
                        tree.memory.learn(folder, self._started)


def _complete(normalised: bool, folder: Folder) -> None:
    """Fill in the checksums of what is not copied one by one: directories and sockets."""
    assert folder.sums is not None
    for number, name in enumerate(folder.names):
        mode, number_32 = folder.rows[number * WIDTH + MODE], 32 * number
        if folder.sums[number_32 : number_32 + 32] != _NOTHING:
            continue
        path, own = folder.child(name), folder.rows[number * WIDTH + OWNER]
        if stat.S_ISDIR(mode):
            pair = (0, 0) if normalised else owner_in(own)
            total = hashlib.sha256(checksum.header(path + b"/", mode, pair)).digest()
        elif stat.S_ISSOCK(mode):
            total = hashlib.sha256(b"socket" + path).digest()
        else:
            continue  # another source has put something else in its place
        folder.sums[number_32 : number_32 + 32] = total
