"""A process that copies entries for a crew: jobs come over a socket, tar pieces go back through shared memory.

    ("memory", buffers)                fds: the memory, the pipe of free buffers
    ("begin", latest_ns, replacing)    fd: the layer's directory
    ("tree", rules)                    fd: a tree to copy from, in the order of their numbers
    ("copy", runs)                     answered by any number of pieces, then by what the items became
    ("end",)

    ("piece", buffer, length)   ("done", items)   ("failed", module, class, message, hint)   ("os", errno, text, name)

A piece is the start of one of the buffers; the crew writes the number of each that it is done with to the pipe.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import select
import signal
import socket
import sys
from typing import Any

from veneer.build.copying.buffer import BUFFER, Tar
from veneer.build.copying.copier import Copier
from veneer.build.copying.items import Rules
from veneer.changeset.worker import Message, receive, send
from veneer.errors import VeneerError


class Worker:
    """The serving side of one socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._memory = memoryview(b"")
        self._free = -1
        self._free_buffers: list[int] = []
        self._buffer = 0
        self._target = -1
        self._latest_ns: int | None = None
        self._replacing = False
        self._trees: list[tuple[int, Rules]] = []
        self._tar: Tar
        self._copier: Copier | None = None

    def serve(self) -> None:
        """Do what is asked until the other end closes."""
        while (received := receive(self._connection)) is not None:
            (word, *values), fds = received
            if word == "memory":
                self._memory = memoryview(mmap.mmap(fds[0], values[0] * BUFFER))
                os.close(fds[0])
                self._free = fds[1]
                os.set_blocking(self._free, False)
                self._free_buffers = list(range(values[0] - 1, 0, -1))
                self._tar = Tar(self._memory[:BUFFER], self._full)
            elif word == "begin":
                [self._target] = fds
                self._latest_ns, self._replacing = values
            elif word == "tree":
                self._trees.append((fds[0], Rules(*values[0])))
            elif word == "copy":
                send(self._connection, self._copied(values[0]))
            else:
                self._end()

    def _copied(self, runs: tuple[Any, ...]) -> Message:
        if self._copier is None:
            self._copier = Copier(
                self._target, self._trees, self._tar, latest_ns=self._latest_ns, replacing=self._replacing, umask=0
            )  # fmt: skip
        try:
            done = [each for run in runs for each in self._copier.run(run)]
            self._tar.flush()
        except VeneerError as error:
            kind = type(error)
            return ("failed", kind.__module__, kind.__qualname__, error.message, error.hint)
        except OSError as error:
            return ("os", error.errno or 0, error.strerror or str(error), os.fsdecode(error.filename or ""))
        return ("done", tuple(done))

    def _full(self, piece: memoryview) -> memoryview:
        """Hand a piece over; another buffer, once one is free."""
        send(self._connection, ("piece", self._buffer, len(piece)))
        with contextlib.suppress(BlockingIOError):
            self._take_back()
        while not self._free_buffers:
            select.select([self._free], (), ())
            self._take_back()
        # The one that came back last: it is still in the processor's cache.
        self._buffer = self._free_buffers.pop()
        return self._memory[self._buffer * BUFFER : (self._buffer + 1) * BUFFER]

    def _take_back(self) -> None:
        freed = os.read(self._free, 256)
        if not freed:
            os._exit(0)  # nobody is there to work for
        self._free_buffers += freed

    def _end(self) -> None:
        if self._copier is not None:
            self._copier.close()
            self._copier = None
        for fd in (self._target, *(fd for fd, _ in self._trees)):
            os.close(fd)
        self._trees = []


def main() -> None:
    """The worker's whole life.  It ends with the process that started it, whose end of the socket closes."""
    # A terminal's Ctrl-C goes to the whole group; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.umask(0)
    with socket.socket(fileno=0) as connection:
        try:
            Worker(connection).serve()
        except (BrokenPipeError, ConnectionResetError):
            sys.exit(1)  # the parent is gone, and nobody is left to be told
