"""Published ports where the kernel does not send packets on: what reaches a held socket is passed on byte for byte.

That is what comes for ::1, which no rule can send to a bridge, and what comes for IPv6 addresses of the host when the
container has none.  A thread of the container's monitor, which sleeps otherwise; memory is bounded: a side that does
not read stops the other.
"""

from __future__ import annotations

import _thread
import os
import select
import socket
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    Target = Callable[[], tuple[str, int] | None]

_BUFFER = 64 << 10
_IDLE_SECONDS = 90.0
_MOST_CLIENTS = 1024
_READ, _WRITE = select.POLLIN, select.POLLOUT
_GONE = select.POLLHUP | select.POLLERR


class _Half:
    """One direction of a connection: what was read from `source` and not yet written to `target`."""

    def __init__(self, source: socket.socket, target: socket.socket) -> None:
        self.source = source
        self.target = target
        self.data = b""
        self.ended = False

    def read(self) -> None:
        try:
            self.data = self.source.recv(_BUFFER)
        except BlockingIOError:
            return
        self.ended = not self.data

    def write(self) -> None:
        try:
            self.data = self.data[self.target.send(self.data) :]
        except BlockingIOError:
            return


class _Connection:
    """A client's connection and ours to the container."""

    def __init__(self, client: socket.socket, inside: socket.socket) -> None:
        self.sockets = (client, inside)
        self.halves = (_Half(client, inside), _Half(inside, client))
        self.connected = False
        self._shut: set[_Half] = set()

    def wanted(self, side: socket.socket) -> int:
        """What `side` has to be watched for."""
        if not self.connected:
            return _WRITE if side is self.sockets[1] else 0
        flags = 0
        for half in self.halves:
            if half.source is side and not half.data and not half.ended:
                flags |= _READ
            if half.target is side and half.data:
                flags |= _WRITE
        return flags

    def move(self, side: socket.socket, events: int) -> bool:
        """Do what can be done; False when it is over.  Raises OSError when one of the two is gone."""
        if not self.connected:
            if side is self.sockets[1] and events:
                code = side.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code:
                    raise OSError(code, os.strerror(code))
                self.connected = True
            elif events & _GONE:
                return False
            return True
        if events & select.POLLERR:
            return False
        for half in self.halves:
            if half.source is side and events & (_READ | select.POLLHUP) and not half.data and not half.ended:
                half.read()
            if half.data and (half.target is side or half.source is side):
                half.write()
            if half.ended and not half.data and half not in self._shut:
                self._shut.add(half)
                half.target.shutdown(socket.SHUT_WR)
        return len(self._shut) < 2

    def close(self) -> None:
        for each in self.sockets:
            each.close()


class _Client:
    """Somebody who sends datagrams, and our socket to the container for what is theirs."""

    def __init__(self, listener: socket.socket, address: Any, inside: socket.socket) -> None:
        self.listener = listener
        self.address = address
        self.inside = inside
        self.last = time.monotonic()


class Relay:
    """Passes on what reaches `sockets`, each to where its function says now (None: nowhere), until `close`."""

    def __init__(self, sockets: Sequence[tuple[socket.socket, Target]]) -> None:
        self._poll = select.poll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._connections: set[_Connection] = set()
        self._clients: dict[tuple[int, Any], _Client] = {}
        self._wake, self._woken = os.pipe2(os.O_CLOEXEC)[::-1]
        self._over = False
        # Of our own: the sockets may be closed by whoever holds them while this thread still looks.
        self._listeners = [held.dup() for held, _ in sockets]
        self._watch(self._woken, self._stop, _READ)
        for listener, (_, target) in zip(self._listeners, sockets, strict=True):
            stream = listener.type == socket.SOCK_STREAM
            handler = self._accepting(listener, target) if stream else self._receiving(listener, target)
            self._watch(listener.fileno(), handler, _READ)
        self._done = _thread.allocate_lock()
        self._done.acquire()
        _thread.start_new_thread(self._run, ())

    def close(self) -> None:
        """Pass nothing on any more."""
        os.write(self._wake, b"x")
        self._done.acquire()
        os.close(self._wake)

    def _stop(self, _: int) -> None:
        self._over = True

    def _run(self) -> None:
        try:
            while not self._over:
                for fd, events in self._poll.poll(_IDLE_SECONDS * 1000 if self._clients else None):
                    handler = self._handlers.get(fd)
                    if handler is not None:
                        handler(events)
                self._forget_the_idle()
        finally:
            for connection in self._connections:
                connection.close()
            for client in self._clients.values():
                client.inside.close()
            for listener in self._listeners:
                listener.close()
            os.close(self._woken)
            self._done.release()

    def _watch(self, fd: int, handler: Callable[[int], None], events: int) -> None:
        self._handlers[fd] = handler
        self._poll.register(fd, events)

    def _unwatch(self, fd: int) -> None:
        if self._handlers.pop(fd, None) is not None:
            self._poll.unregister(fd)

    # ---- streams

    def _accepting(self, listener: socket.socket, where: Target) -> Callable[[int], None]:
        def accept(_: int) -> None:
            try:
                client, _address = listener.accept()
            except OSError:
                return  # who was gone again
            target = where()
            if target is None or len(self._connections) >= _MOST_CLIENTS:
                client.close()
                return
            inside = _socket(target, socket.SOCK_STREAM)
            client.setblocking(False)
            inside.connect_ex(target)
            connection = _Connection(client, inside)
            self._connections.add(connection)
            for side in connection.sockets:
                self._watch(side.fileno(), self._moving(connection, side), connection.wanted(side))

        return accept

    def _moving(self, connection: _Connection, side: socket.socket) -> Callable[[int], None]:
        def move(events: int) -> None:
            try:
                goes_on = connection.move(side, events)
            except OSError:
                goes_on = False  # one of the two reset it, and so the other is told
            if goes_on:
                for each in connection.sockets:
                    wanted = connection.wanted(each)
                    # A side that hung up and of which nothing is wanted would wake us for ever.
                    if wanted:
                        self._poll.register(each.fileno(), wanted)
                    else:
                        self._pause(each.fileno())
                return
            for each in connection.sockets:
                self._pause(each.fileno())
                self._handlers.pop(each.fileno(), None)
            self._connections.discard(connection)
            connection.close()

        return move

    def _pause(self, fd: int) -> None:
        try:
            self._poll.unregister(fd)
        except KeyError:
            return

    # ---- datagrams

    def _receiving(self, listener: socket.socket, where: Target) -> Callable[[int], None]:
        def receive(_: int) -> None:
            try:
                data, address = listener.recvfrom(_BUFFER)
                key = (listener.fileno(), address)
                client = self._clients.get(key)
                if client is None:
                    target = where()
                    if target is None or len(self._clients) >= _MOST_CLIENTS:
                        return
                    inside = _socket(target, socket.SOCK_DGRAM)
                    inside.connect(target)
                    client = self._clients[key] = _Client(listener, address, inside)
                    self._watch(inside.fileno(), self._answering(client), _READ)
                client.last = time.monotonic()
                client.inside.send(data)
            except OSError:
                return  # nobody listens inside: a datagram may be lost

        return receive

    def _answering(self, client: _Client) -> Callable[[int], None]:
        def answer(_: int) -> None:
            try:
                data = client.inside.recv(_BUFFER)
                client.last = time.monotonic()
                client.listener.sendto(data, client.address)
            except OSError:
                return  # nobody listens on one of the two sides

        return answer

    def _forget_the_idle(self) -> None:
        before = time.monotonic() - _IDLE_SECONDS
        for key in [key for key, client in self._clients.items() if client.last < before]:
            client = self._clients.pop(key)
            self._unwatch(client.inside.fileno())
            client.inside.close()


def _socket(target: tuple[str, int], kind: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
    return socket.socket(family, kind | socket.SOCK_NONBLOCK)
