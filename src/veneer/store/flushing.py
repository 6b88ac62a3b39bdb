"""A file system's changes on their way to its disk: begun early, waited for at the end.

The kernel leaves what was written in memory for half a minute or more.  Whoever goes on working for a while has it
begin at once, so that the disk is not idle meanwhile and there is little left to wait for.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from veneer.store.durability import file_errors

WORTHWHILE = 16 << 20
"""Bytes newly written that are worth beginning for."""


class Flusher:
    """Flushes the file system that holds `root`.  Thread-safe."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._failure: OSError | None = None

    def begin(self) -> None:
        """Have all that was written so far go to the disk, without waiting; nothing if that is under way already."""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="veneer-flush", daemon=True)
                self._thread.start()

    def flush(self) -> None:
        """Return when all that was written so far is on the disk.

        Raises what `file_errors` makes of the system's errors, those of what was begun early too: the kernel tells of
        an error once.
        """
        self.close()
        failure, self._failure = self._failure, None
        with file_errors(self._root):
            if failure is not None:
                raise failure
            self._sync()

    def close(self) -> None:
        """Wait for what is under way; idempotent."""
        with self._lock:
            if self._thread is not None:
                self._thread.join()
                self._thread = None

    def _run(self) -> None:
        try:
            self._sync()
        except OSError as error:
            self._failure = error

    def _sync(self) -> None:
        from veneer.changeset.syscalls import syncfs

        fd = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            syncfs(fd)
        finally:
            os.close(fd)
