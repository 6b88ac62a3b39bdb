"""Cache mounts: the directories of `RUN --mount=type=cache`, which live as long as nobody prunes them.

cache-mounts/<folder>/data is one directory of an ID; <folder> itself is what users lock, so that nothing that runs in
a step can be in the way.  Of one ID there are several where steps side by side each wanted it for themselves.
Source for the sharing modes: moby/buildkit solver/llbsolver/mounts/mount.go.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from veneer.errors import InvalidRequest
from veneer.store.durability import crashpoint, file_errors
from veneer.values import Value

if TYPE_CHECKING:
    from veneer.store.store import Store

FOLDER = "cache-mounts"
SHARING = ("shared", "private", "locked")
_TICK_SECONDS = 0.05
"""How often who waits for a cache looks again."""


class UnknownSharing(InvalidRequest):
    """A way to share a cache mount that there is not."""


class CacheMount(Value):
    """One directory of an ID.  `created` and `used` are Unix seconds, `uses` how often a step had it."""

    __slots__ = ()
    folder: str
    id: str
    created: float
    used: float
    uses: int


class CacheMounts:
    """The cache mounts of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._catalog = store.catalog

    def directory(self, folder: str) -> Path:
        """Where the files of one are."""
        return self._store.root / FOLDER / folder / "data"

    def list(self) -> list[CacheMount]:
        """Every cache mount, the oldest first."""
        rows = self._catalog.rows("SELECT folder, id, created, used, uses FROM cache_mount ORDER BY created, folder")
        return [CacheMount(*row) for row in rows]

    def size(self, folder: str) -> int:
        """The bytes of one's files, each once; about as many while a step is changing them."""
        from veneer.drivers.treecopy import TreeChanged, usage

        try:
            return usage(self.directory(folder)).size
        except (TreeChanged, FileNotFoundError, NotADirectoryError):
            return size_meanwhile(self.directory(folder))

    @contextlib.contextmanager
    def acquire(
        self,
        id: str,
        sharing: str = "shared",
        *,
        fill: Callable[[Path], object] | None = None,
        check: Callable[[], object] = lambda: None,
    ) -> Iterator[Path]:
        """A directory of that ID to use in this `with`.

        `sharing`: "shared" with whoever else shares it; "private", another one if somebody has it; "locked", waits
        until nobody has it.  `fill` is given a new one, empty and of mode 0755, before anybody else sees it.
        `check` is called now and then while this waits, and may raise.  Raises UnknownSharing.
        """
        if sharing not in SHARING:
            raise UnknownSharing(f"unknown cache sharing mode {sharing!r}", hint=f"one of {', '.join(SHARING)}")
        folder, held = self._take(id, sharing, fill, check)
        try:
            yield self.directory(folder)
        finally:
            os.close(held)

    def _take(
        self, id: str, sharing: str, fill: Callable[[Path], object] | None, check: Callable[[], object]
    ) -> tuple[str, int]:
        how = fcntl.LOCK_SH if sharing == "shared" else fcntl.LOCK_EX
        while True:
            # One chooser at a time, so that two who share do not each make one.
            with self._store.locked(f"cache mount {id}"):
                folders = [mount.folder for mount in self.list() if mount.id == id]
                for folder in folders:
                    held = self._hold(folder, how | fcntl.LOCK_NB)
                    if held is not None:
                        self._note(folder)
                        return folder, held
                present = [folder for folder in folders if self._is_whole(folder)]
                if not present or sharing != "locked":
                    return self._make(id, how, fill)
            held = self._awaited(present[0], how, check)
            if held is not None:
                self._note(present[0])
                return present[0], held

    def _awaited(self, folder: str, how: int, check: Callable[[], object]) -> int | None:
        """As `_hold`, when nobody else has it any more; no waiting that could not be given up."""
        while self._is_whole(folder):
            check()
            held = self._hold(folder, how | fcntl.LOCK_NB)
            if held is not None:
                return held
            time.sleep(_TICK_SECONDS)
        return None

    def _hold(self, folder: str, how: int) -> int | None:
        """A descriptor that holds the folder's lock; None if that is taken, or the folder is gone."""
        path = self._store.root / FOLDER / folder
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(fd, how)
            # Pruned while we waited: what we hold has another name now, or none.
            if self._is_whole(folder) and os.path.samestat(os.fstat(fd), os.stat(path)):
                return fd
        except BlockingIOError:
            os.close(fd)
            return None
        except FileNotFoundError:
            os.close(fd)
            return None
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
        return None

    def _is_whole(self, folder: str) -> bool:
        return os.path.isdir(self.directory(folder))

    def _make(self, id: str, how: int, fill: Callable[[Path], object] | None) -> tuple[str, int]:
        folder, now = os.urandom(16).hex(), time.time()
        root = self._store.root / FOLDER
        with self._store.lease("cache mount") as lease, file_errors(self._store.root):
            draft = lease.file("cache-mount")
            (draft / "data").mkdir(parents=True)
            (draft / "data").chmod(0o755)
            if fill is not None:
                fill(draft / "data")
            root.mkdir(mode=0o710, exist_ok=True)
            held = os.open(draft, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(held, how)
                with self._catalog.transaction(durable=False) as transaction:
                    # Named and entered in one step, for a collection takes a folder without a row for rubbish.
                    draft.rename(root / folder)
                    crashpoint("cache-mount-named")
                    transaction.execute("INSERT INTO cache_mount VALUES (?, ?, ?, ?, 1)", (folder, id, now, now))
            except BaseException:
                os.close(held)
                raise
        return folder, held

    def _note(self, folder: str) -> None:
        with self._catalog.transaction(durable=False) as transaction:
            transaction.execute(
                "UPDATE cache_mount SET used = ?, uses = uses + 1 WHERE folder = ?", (time.time(), folder)
            )

    def is_used(self, folder: str) -> bool:
        """Whether a step has it right now."""
        held = self._hold(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if held is None:
            return self._is_whole(folder)
        os.close(held)
        return False

    def remove(self, folder: str) -> bool:
        """Remove one that nobody uses; whether it is gone."""
        held = self._hold(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if held is None and self._is_whole(folder):
            return False
        try:
            with self._catalog.transaction() as transaction:
                transaction.execute("DELETE FROM cache_mount WHERE folder = ?", (folder,))
            # A file without a row is swept by whoever comes next, should we be killed here.
            with contextlib.suppress(FileNotFoundError):
                doomed = self._store.root / "trash" / f"cache-mount-{folder}-{os.urandom(3).hex()}"
                (self._store.root / FOLDER / folder).rename(doomed)
        finally:
            if held is not None:
                os.close(held)
        return True


def size_meanwhile(path: Path) -> int:
    """The size of a tree whose files come and go."""
    found: dict[tuple[int, int], int] = {}
    with contextlib.suppress(FileNotFoundError):
        for _, _, names, fd in os.fwalk(path):
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                    found[status.st_dev, status.st_ino] = status.st_size
    return sum(found.values())
