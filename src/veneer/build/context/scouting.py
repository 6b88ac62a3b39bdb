"""The second half of a large context, looked at by a second process while this one looks at the first.

To look at a file takes the kernel a microsecond and Python two, and no two threads of one interpreter do so side by
side.  The other process is a copy of this one: it lists what it is told to with the same rules and leaves what it saw
in memory that both have.  Whatever it could not look at, this process looks at itself, and tells of.
"""

from __future__ import annotations

import gc
import marshal
import mmap
import os
import select
import signal
import threading
import time
from array import array

from veneer.build.context.scan import Folder, Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_FRESH = 2.0
"""Seconds after which what it saw at the beginning may not be so any more, and is not asked for."""
_PATIENCE = 60_000
"""Milliseconds after which the other process is given up, and its half looked at here."""


class Scout:
    """The other process.  `paths` are the directories it was told to list with all that is beneath them."""

    def __init__(self, tree: Tree, paths: Collection[bytes]) -> None:
        self.paths = frozenset(paths)
        self._lock = threading.Lock()
        self._begun = time.monotonic()
        self._memory = os.memfd_create("veneer-scout", os.MFD_CLOEXEC)
        self._process = os.fork()
        if not self._process:
            _scout(tree, paths, self._memory)

    def folders(self, known: Mapping[bytes, Folder]) -> dict[bytes, Folder]:
        """What it saw, by path, once it is through; empty if that was asked before, or is first asked too late.

        Of a directory that is `known` already, that one is put into those above it.
        """
        with self._lock:
            if not self._process:
                return {}
            if time.monotonic() - self._begun > _FRESH:
                self._end()
                return {}
            made: dict[bytes, Folder] = {}
            inside: list[tuple[Folder, list[bytes]]] = []
            for path, row, names, rows, below in self._seen():
                folder = known.get(path)
                if folder is None:
                    folder = Folder(path, row, names, array("q", rows))
                    inside.append((folder, below))
                made[path] = folder
            for folder, below in inside:
                folder.folders = {name: made[folder.child(name)] for name in below}
            return made

    def _seen(self) -> list[tuple[bytes, tuple[int, ...], list[bytes], bytes, list[bytes]]]:
        try:
            end = os.pidfd_open(self._process)
            try:
                waiting = select.poll()
                waiting.register(end, select.POLLIN)
                if not waiting.poll(_PATIENCE) or self._reap():
                    return []
            finally:
                os.close(end)
            with mmap.mmap(self._memory, 0, access=mmap.ACCESS_READ) as seen:
                found: list[tuple[bytes, tuple[int, ...], list[bytes], bytes, list[bytes]]] = marshal.loads(seen)
            return found
        finally:
            self._end()

    def _reap(self) -> int:
        process, self._process = self._process, 0
        return os.waitpid(process, 0)[1]

    def _end(self) -> None:
        if self._process:
            os.kill(self._process, signal.SIGKILL)
            self._reap()
        os.close(self._memory)

    def close(self) -> None:
        """End it, if nobody needed what it saw; idempotent."""
        with self._lock:
            if self._process:
                self._end()


def scout(tree: Tree, paths: Collection[bytes]) -> Scout | None:
    """Have these directories looked at by another process; None where there is no core for it, or no copy to be had.

    A process of several threads is not copied: what another one holds at that moment would be held for ever.
    """
    return Scout(tree, paths) if paths and len(os.sched_getaffinity(0)) > 1 and _is_alone() else None


def _is_alone() -> bool:
    return len(os.listdir("/proc/self/task")) == 1


def _scout(tree: Tree, paths: Collection[bytes], memory: int) -> None:
    """The other process's life.  Never returns: nothing of this process's is its own to end well."""
    status = 1
    try:
        gc.disable()
        seen = []
        for path in paths:
            for folder in tree.folder(path).walk():
                seen.append((folder.path, folder.row, folder.names, folder.rows.tobytes(), list(folder.folders)))
        with open(memory, "wb", closefd=False) as out:
            out.write(marshal.dumps(seen))
        status = 0
    finally:
        os._exit(status)
