"""The name server of a container on networks with names: 127.0.0.11, as in docker, in the container's own namespace.

A thread of the container's monitor: it knows the names of the container's networks (names) and passes everything else
on to the host's name servers.  It ends with the monitor, and so needs no process of its own, none of another's lifetime
and no reloading.  Why not aardvark-dns: docs/decisions/0015-networks.md.
"""

from __future__ import annotations

import _thread
import os
import select
import socket
import time

from veneer.run.network import dns, firewall, namespace
from veneer.run.network.names import Names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

ADDRESS = "127.0.0.11"
_PATIENCE_SECONDS = 4.0
_MOST_WAITING = 256
_MOST_CONNECTIONS = 16
_LARGEST = 64 << 10

_REDIRECT = """
table ip veneer_names {{
    chain ours {{
        type nat hook output priority -100;
        ip daddr {address} udp dport 53 dnat to {address}:{udp}
        ip daddr {address} tcp dport 53 dnat to {address}:{tcp}
    }}
}}
"""
"""The port 53 itself stays free for a name server that runs in the container."""


class _Asked:
    """A question that was passed on: to `servers` in turn, by `sockets` of which one waits for the answer."""

    def __init__(self, message: bytes, client: Any, servers: list[str]) -> None:
        self.message = message
        self.client = client
        self.servers = servers
        self.socket: socket.socket | None = None
        self.deadline = 0.0


class Resolver:
    """Answers in the namespace at `path`, until `close`."""

    def __init__(self, plan: Mapping[str, Any], path: str) -> None:
        self._names = Names(plan["root"], plan["id"])
        self._servers = list(plan.get("servers") or ())
        self._connections = 0
        self._host = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._inside = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._wake, self._woken = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)[::-1]
        with namespace.Entered(f"/proc/self/fd/{self._inside}"):
            self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            self._udp.bind((ADDRESS, 0))
            self._tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            self._tcp.bind((ADDRESS, 0))
            self._tcp.listen(_MOST_CONNECTIONS)
            ports = {"udp": self._udp.getsockname()[1], "tcp": self._tcp.getsockname()[1]}
            # A program that is started has the namespace of the thread that starts it.
            firewall.load(_REDIRECT.format(address=ADDRESS, **ports))
        self._done = _thread.allocate_lock()
        self._done.acquire()
        _thread.start_new_thread(self._run, ())

    def close(self) -> None:
        """Answer no more."""
        os.write(self._wake, b"x")
        self._done.acquire()
        os.close(self._wake)

    # ---- the thread

    def _run(self) -> None:
        waiting: dict[int, _Asked] = {}
        poll = select.poll()
        for fd in (self._udp.fileno(), self._tcp.fileno(), self._woken):
            poll.register(fd, select.POLLIN)
        try:
            while self._turn(poll, waiting):
                pass
        finally:
            for asked in waiting.values():
                if asked.socket is not None:
                    asked.socket.close()
            for each in (self._udp, self._tcp):
                each.close()
            for fd in (self._woken, self._host, self._inside):
                os.close(fd)
            self._done.release()

    def _turn(self, poll: select.poll, waiting: dict[int, _Asked]) -> bool:
        soonest = min((asked.deadline for asked in waiting.values()), default=None)
        wait = None if soonest is None else max(0.0, soonest - time.monotonic()) * 1000
        for fd, _ in poll.poll(wait):
            if fd == self._woken:
                return False
            if fd == self._udp.fileno():
                self._question(poll, waiting)
            elif fd == self._tcp.fileno():
                self._connection()
            elif asked := waiting.get(fd):
                self._answer(poll, waiting, fd, asked)
        now = time.monotonic()
        for fd in [fd for fd, asked in waiting.items() if asked.deadline <= now]:
            self._next(poll, waiting, fd)
        return True

    def _question(self, poll: select.poll, waiting: dict[int, _Asked]) -> None:
        try:
            message, client = self._udp.recvfrom(_LARGEST)
        except OSError:
            return  # a client that did not wait
        known = self._known(message)
        if known is not None:
            if known:
                self._reply(dns.truncated(known), client)
            return
        if len(waiting) < _MOST_WAITING:
            self._ask(poll, waiting, _Asked(message, client, list(self._servers)))
        else:
            self._fail(message, client)

    def _known(self, message: bytes) -> bytes | None:
        """The response that is known here; b"" for what is no question, None for what others are to be asked."""
        asked = dns.question(message)
        if asked is None:
            return b""
        if asked.class_ != dns.IN:
            return None
        if asked.kind == dns.PTR and (address := dns.reverse_address(asked.name)):
            name = self._names.name_of(address)
            return None if name is None else dns.name_answer(message, asked, name)
        addresses = self._names.addresses(asked.name)
        if addresses is None:
            return None
        return dns.address_answer(message, asked, addresses)

    def _reply(self, response: bytes, client: Any) -> None:
        try:
            self._udp.sendto(response, client)
        except OSError:
            return  # a client that did not wait

    def _fail(self, message: bytes, client: Any) -> None:
        asked = dns.question(message)
        if asked is not None:
            self._reply(dns.failure(message, asked, dns.SERVER_FAILED), client)

    # ---- others are asked

    def _ask(self, poll: select.poll, waiting: dict[int, _Asked], asked: _Asked) -> None:
        while asked.servers:
            server = asked.servers.pop(0)
            try:
                made = self._socket(server, socket.SOCK_DGRAM)
                made.setblocking(False)
                made.connect((server, 53))
                made.send(asked.message)
            except OSError:
                continue  # not reachable: the next one
            asked.socket, asked.deadline = made, time.monotonic() + _PATIENCE_SECONDS
            waiting[made.fileno()] = asked
            poll.register(made.fileno(), select.POLLIN)
            return
        self._fail(asked.message, asked.client)

    def _socket(self, server: str, kind: int) -> socket.socket:
        """A socket to ask a server with: from the container's network, as its own questions go, or from the host's
        for servers that only the host reaches."""
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        local = server.startswith("127.") or server == "::1"
        with namespace.Entered(f"/proc/self/fd/{self._host if local else self._inside}"):
            return socket.socket(family, kind)

    def _answer(self, poll: select.poll, waiting: dict[int, _Asked], fd: int, asked: _Asked) -> None:
        made = asked.socket
        if made is None:
            return
        try:
            response = made.recv(_LARGEST)
        except OSError:
            self._next(poll, waiting, fd)
            return
        if response[:2] != asked.message[:2]:
            return
        self._drop(poll, waiting, fd)
        self._reply(response, asked.client)

    def _drop(self, poll: select.poll, waiting: dict[int, _Asked], fd: int) -> _Asked:
        asked = waiting.pop(fd)
        poll.unregister(fd)
        if asked.socket is not None:
            asked.socket.close()
        return asked

    def _next(self, poll: select.poll, waiting: dict[int, _Asked], fd: int) -> None:
        self._ask(poll, waiting, self._drop(poll, waiting, fd))

    # ---- over TCP, each in a thread of its own: it is rare

    def _connection(self) -> None:
        try:
            client, _ = self._tcp.accept()
        except OSError:
            return
        if self._connections >= _MOST_CONNECTIONS:
            client.close()
            return
        self._connections += 1
        _thread.start_new_thread(self._converse, (client,))

    def _converse(self, client: socket.socket) -> None:
        try:
            with client:
                client.settimeout(_PATIENCE_SECONDS)
                while message := _framed(client):
                    response = self._known(message)
                    response = self._forward(message) if response is None else response
                    if not response:
                        return
                    client.sendall(len(response).to_bytes(2, "big") + response)
        except OSError:
            return  # the client's business
        finally:
            self._connections -= 1

    def _forward(self, message: bytes) -> bytes:
        for server in self._servers:
            try:
                with self._socket(server, socket.SOCK_STREAM) as made:
                    made.settimeout(_PATIENCE_SECONDS)
                    made.connect((server, 53))
                    made.sendall(len(message).to_bytes(2, "big") + message)
                    return _framed(made)
            except OSError:
                continue  # not reachable: the next one
        asked = dns.question(message)
        return b"" if asked is None else dns.failure(message, asked, dns.SERVER_FAILED)


def _framed(connection: socket.socket) -> bytes:
    """One message, which has its length before it; b"" at the end."""
    head = _exactly(connection, 2)
    return _exactly(connection, int.from_bytes(head, "big")) if head else b""


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            return b""
        data += more
    return data
