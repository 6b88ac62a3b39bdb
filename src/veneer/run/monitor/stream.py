"""The caller's end of a stream: what a container or an exec prints, what it is given to read, how it ends."""

from __future__ import annotations

import collections
import select
import socket

from veneer.errors import Unavailable
from veneer.run.monitor import failures, protocol
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_CHUNK = 64 << 10
_GONE = "the container's monitor was killed, and the container with it"


class MonitorGone(Unavailable):
    """The monitor ended while it was talked to: it was killed, and the container with it."""

    exit_code = 137


class Streams(Value):
    """Which of the standard streams somebody wants."""

    __slots__ = ()
    stdin: bool = False
    stdout: bool = True
    stderr: bool = True


class Ended(Value):
    """The process has ended, with this exit code; everything it printed has been read."""

    __slots__ = ()
    code: int


class Stream:
    """A connection that carries the standard streams; `id` is the exec's, or the container's.

    Made by `Launch.start`, `Client.attach`, `Client.exec`.  Nothing here waits but `read()`, so that one thread can
    serve both directions: look with select at `fileno()`, for writing too while `wants_write`; then `flush()`, and
    `read(wait=False)` until it gives None.  Not for several threads at once.
    """

    def __init__(self, connection: socket.socket, id: str) -> None:
        self.id = id
        self._socket = connection
        self._socket.setblocking(False)
        self._frames = protocol.Frames()
        self._waiting: collections.deque[tuple[int, bytes]] = collections.deque()
        self._unsent = bytearray()
        self._ended: Ended | None = None

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        """The descriptor to look at with select."""
        return self._socket.fileno()

    def close(self) -> None:
        """Let go: for a container that is to detach, for an exec it goes on as well."""
        self._socket.close()

    def read(self, *, wait: bool = True) -> tuple[int, bytes] | Ended | None:
        """The next piece as (1 or 2, bytes), or how it ended; with a terminal everything is 1.

        None where nothing is there and we are not to `wait`.  Raises MonitorGone.
        """
        while not self._waiting:
            if self._ended is not None:
                return self._ended
            self.flush()
            if not self._receive():
                if not wait:
                    return None
                select.select([self._socket], [self._socket] if self._unsent else [], [])
        kind, content = self._waiting.popleft()
        if kind != protocol.ENDED:
            return kind, content
        self._ended = Ended(int(protocol.parsed(content)["code"]))
        return self._ended

    def write(self, data: bytes) -> None:
        """Give it to standard input as soon as may be; whoever goes on while `wants_write` fills our memory."""
        for start in range(0, len(data), _CHUNK):
            self._unsent += protocol.frame(protocol.STDIN, memoryview(data)[start : start + _CHUNK])
        self.flush()

    def close_input(self) -> None:
        """No more input will come.  A terminal takes no notice."""
        self._unsent += protocol.frame(protocol.CLOSE_INPUT, b"")
        self.flush()

    def resize(self, rows: int, columns: int) -> None:
        """The terminal's size from now on."""
        self._unsent += protocol.message(protocol.RESIZE, {"rows": rows, "columns": columns})
        self.flush()

    @property
    def wants_write(self) -> bool:
        """Whether something written has not been taken yet."""
        return bool(self._unsent)

    def flush(self) -> None:
        """Send what can be sent now.  What a process that has ended did not read is thrown away."""
        while self._unsent:
            try:
                sent = self._socket.send(memoryview(self._unsent)[:_CHUNK])
            except BlockingIOError:
                return
            except (BrokenPipeError, ConnectionResetError):
                self._unsent.clear()
                return
            del self._unsent[:sent]

    def _receive(self) -> bool:
        try:
            data = self._socket.recv(_CHUNK)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            data = b""
        if not data:
            raise MonitorGone(_GONE)
        self._waiting.extend(self._frames.feed(data))
        return True


def ask(connection: socket.socket, request: dict[str, Any], *, fds: Sequence[int] = ()) -> dict[str, Any]:
    """Send a request, with copies of the descriptors `fds`, and wait for its answer, of which nothing is taken that
    follows it.

    Raises what the answer says went wrong, and MonitorGone.
    """
    try:
        message = protocol.message(protocol.REQUEST, request)
        sent = socket.send_fds(connection, [message], fds) if fds else 0
        connection.sendall(memoryview(message)[sent:])
        kind, length = protocol.header(_exactly(connection, protocol.HEADER_SIZE))
        content = protocol.parsed(_exactly(connection, length))
    except (BrokenPipeError, ConnectionResetError):
        raise MonitorGone(_GONE) from None
    if kind != protocol.ANSWER:
        raise protocol.BadFrame(f"an answer of kind {kind}")
    if error := content.get("error"):
        raise failures.raised(error)
    return content


def _exactly(connection: socket.socket, length: int) -> bytes:
    found = bytearray()
    while len(found) < length:
        data = connection.recv(length - len(found))
        if not data:
            raise MonitorGone(_GONE)
        found += data
    return bytes(found)
