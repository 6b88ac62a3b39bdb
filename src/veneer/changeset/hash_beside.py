"""A SHA-256 that a thread of its own calculates, while whoever reads the bytes does something else with them."""

from __future__ import annotations

import hashlib
import threading
from queue import SimpleQueue


class HashBeside:
    """A context manager, at whose end the thread has ended.

    What is given to `update` must stay as it is until `wait` has returned.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._given: SimpleQueue[memoryview | None] = SimpleQueue()
        self._taken: SimpleQueue[None] = SimpleQueue()
        self._left = 0
        self._thread = threading.Thread(target=self._work, name="veneer-hash")

    def __enter__(self) -> HashBeside:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._given.put(None)
        self._thread.join()

    def update(self, data: memoryview) -> None:
        """Have these bytes hashed next; returns at once."""
        self._given.put(data)
        self._left += 1

    def wait(self) -> None:
        """Everything given is hashed."""
        while self._left:
            self._taken.get()
            self._left -= 1

    def digest(self) -> bytes:
        """The hash of everything given."""
        self.wait()
        return self._hash.digest()

    def _work(self) -> None:
        while (data := self._given.get()) is not None:
            self._hash.update(data)
            self._taken.put(None)
