"""A stream in pieces of one size, hashed as they come; read here, or ahead in a thread of its own.

Inflating and hashing let go of the interpreter's lock.  Ahead, they take one core while the entries that came before
are written from another, and a single large layer is not bound to one of them.  Where entries are not written, what
else there is to do is little: then the hashing is better done there, and the thread inflates alone.
"""

from __future__ import annotations

import hashlib
import queue
import threading

from veneer.changeset.compression import Source

SIZE = 1 << 20  # bytes; a multiple of tar's block, so headers never straddle two fillings
_BUFFERS = 4
"""So many buffers go round: one is looked at, the others are filled meanwhile."""


class Fillings:
    """The pieces of `source`: all are of SIZE bytes but the last."""

    def __init__(self, source: Source, *, hashed: bool) -> None:
        self._readinto = source.readinto
        self._hash = hashlib.sha256() if hashed else None
        self._buffer = memoryview(bytearray(SIZE))

    def next(self) -> memoryview:
        """The next piece, empty at the stream's end.  It is good until the next call."""
        return self._filled(self._buffer)

    def _filled(self, buffer: memoryview) -> memoryview:
        """`buffer`, as much of it as the stream could fill."""
        piece = self._read(buffer)
        if self._hash is not None:
            self._hash.update(piece)
        return piece

    def _read(self, buffer: memoryview) -> memoryview:
        readinto = self._readinto
        have = readinto(buffer)
        if have:
            while have < SIZE:
                count = readinto(buffer[have:])
                if not count:
                    break
                have += count
        return buffer[:have]

    def hexdigest(self) -> str:
        """SHA-256 of all that was read; of the whole stream once next() came to its end."""
        assert self._hash is not None, "made with hashed=False"
        return self._hash.hexdigest()

    def close(self) -> None:
        """Let go of the stream."""


class FillingsAhead(Fillings):
    """The same, from a thread that is up to three pieces ahead.  It hashes them too, unless `hash_here`.

    A stream of less than one piece costs no thread.  close() ends the thread and waits for it: by then nothing may
    keep it in the source's readinto() (see GrowingSource.interrupt).
    """

    def __init__(self, source: Source, *, hashed: bool, hash_here: bool = False) -> None:
        super().__init__(source, hashed=hashed)
        self._hash_here = hash_here and hashed
        self._thread: threading.Thread | None = None
        self._free: queue.SimpleQueue[memoryview | None] = queue.SimpleQueue()
        self._ready: queue.SimpleQueue[memoryview | BaseException] = queue.SimpleQueue()
        self._shown = self._buffer
        self._ended = False

    def next(self) -> memoryview:
        if self._ended:
            return self._shown[:0]
        if self._thread is None:
            piece = self._filled(self._buffer)
            if len(piece) == SIZE:
                self._start()
        else:
            self._free.put(self._shown)
            got = self._ready.get()
            if isinstance(got, BaseException):
                self._ended = True
                raise got
            self._shown = piece = got
            if self._hash_here and self._hash is not None:
                self._hash.update(piece)
        self._ended = len(piece) < SIZE
        return piece

    def _start(self) -> None:
        for _ in range(_BUFFERS - 1):
            self._free.put(memoryview(bytearray(SIZE)))
        self._thread = threading.Thread(target=self._run, name="read-ahead", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while (buffer := self._free.get()) is not None and not self._ended:
                piece = self._read(buffer) if self._hash_here else self._filled(buffer)
                self._ready.put(piece)
                if len(piece) < SIZE:
                    return
        except BaseException as error:  # noqa: BLE001 -- whatever it is, next() raises it where it belongs
            self._ready.put(error)

    def close(self) -> None:
        self._ended = True
        if self._thread is not None:
            self._free.put(None)
            self._thread.join()
