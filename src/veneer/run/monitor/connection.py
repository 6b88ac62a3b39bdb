"""One caller: what he sends taken apart into frames, what he is sent kept until he takes it, and both within limits."""

from __future__ import annotations

import contextlib
import socket

from veneer.run.monitor import protocol
from veneer.run.monitor.loop import READ, WRITE, Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

HIGH = 256 << 10
"""With more than this to be sent to one of its readers, nothing is read from a process."""
_CHUNK = 64 << 10


class Connection:
    """`on_frame` gets kind and content of every frame, `on_close` is called when he has gone."""

    def __init__(self, loop: Loop, connected: socket.socket) -> None:
        connected.setblocking(False)
        self._loop = loop
        self._socket = connected
        self._fd = connected.fileno()
        self._frames = protocol.Frames()
        self._unsent = bytearray()
        self._reading = True
        self._finishing = False
        self.is_open = True
        self.on_frame: Callable[[int, bytes], object] = lambda *_: None
        self.on_close: Callable[[], object] = lambda: None
        self.after_close: Callable[[], object] = lambda: None
        self.on_room: Callable[[], object] = lambda: None
        """Called when there is room again after `is_full`."""
        self._watch()

    @property
    def is_full(self) -> bool:
        """Whether he has to take something before he is given more."""
        return len(self._unsent) > HIGH

    def send(self, data: bytes) -> None:
        """Have him get it as soon as he takes it."""
        if not self.is_open:
            return
        self._unsent += data
        self._flush()

    def answer(self, content: dict[str, Any]) -> None:
        self.send(protocol.message(protocol.ANSWER, content))

    def send_fd(self, fd: int) -> None:
        """Hand over a descriptor, with one byte.  Only where nothing else waits to be sent."""
        with contextlib.suppress(OSError):  # he has gone, or is not who he says: then he gets nothing
            socket.send_fds(self._socket, [b"\0"], [fd])

    def hold(self, *, reading: bool) -> None:
        """Whether to take what he sends."""
        self._reading = reading
        self._watch()

    def take(self) -> None:
        """Take what he has sent already."""
        if self.is_open:
            self._receive()

    def finish(self) -> None:
        """Close when he has taken everything."""
        self._finishing = True
        self._flush()

    def close(self) -> None:
        """Let him go, now."""
        if self.is_open:
            self.is_open = False
            self._loop.watch(self._fd, 0, _nothing)
            self._socket.close()
            self._unsent.clear()
            self.on_close()
            self.after_close()

    def _watch(self) -> None:
        if self.is_open:
            events = (READ if self._reading else 0) | (WRITE if self._unsent else 0)
            self._loop.watch(self._fd, events, self._ready)

    def _ready(self, events: int) -> None:
        if events & WRITE:
            self._flush()
        if events & READ and self.is_open:
            self._receive()

    def _receive(self) -> None:
        try:
            data = self._socket.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        try:
            for kind, content in self._frames.feed(data):
                self.on_frame(kind, content)
                if not self.is_open:
                    return
        except protocol.BadFrame:
            self.close()  # whoever talks so is nobody to be answered

    def _flush(self) -> None:
        was_full = self.is_full
        while self._unsent and self.is_open:
            try:
                sent = self._socket.send(memoryview(self._unsent)[:_CHUNK])
            except BlockingIOError:
                break
            except OSError:
                self.close()
                return
            del self._unsent[:sent]
        if self._finishing and not self._unsent:
            self.close()
            return
        self._watch()
        if was_full and not self.is_full:
            self.on_room()


def _nothing(_: int) -> None:
    """Nobody is called any more."""
