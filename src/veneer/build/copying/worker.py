"""A process that copies entries for a crew: jobs come over a socket, tar pieces go back through shared memory.

    ("memory", buffers)                fds: the memory, the pipe of free buffers
    ("begin", latest_ns, replacing)    fd: the layer's directory
    ("tree", rules)                    fd: a tree to copy from, in the order of their numbers
    ("copy", runs)                     answered by any number of pieces, then by what the items became
    ("end",)

    ("piece", length)   ("done", items)   ("failed", module, class, message, hint)   ("os", errno, text, name)

A piece is the start of the next buffer in turn; for each that it is done with the crew writes a byte to the pipe.
"""

from __future__ import annotations

import mmap
import os
import signal
import socket
import sys
from typing import Any

from veneer.build.copying.buffer import BUFFER, Tar
from veneer.build.copying.copier import Copier, Rules
from veneer.changeset.worker import Message, receive, send
from veneer.errors import VeneerError


class Worker:
    """The serving side of one socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._memory = memoryview(b"")
        self._free = -1
        self._buffers = self._next = 0
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
                self._buffers = values[0]
                self._memory = memoryview(mmap.mmap(fds[0], self._buffers * BUFFER))
                os.close(fds[0])
                self._free = fds[1]
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
        """Hand a piece over; the next buffer, once it is free."""
        send(self._connection, ("piece", len(piece)))
        self._next = (self._next + 1) % self._buffers
        if not os.read(self._free, 1):
            os._exit(0)  # nobody is there to work for
        return self._memory[self._next * BUFFER : (self._next + 1) * BUFFER]

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
