"""A host's network of one's own: no test sees the machine's devices and rules, or the other tests', nor changes them.

This thread, what it starts and what it calls are in a network namespace that goes with the test, with everything in it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from veneer.run.network import namespace, netlink

T = TypeVar("T")
OUTSIDE, HOST = "203.0.113.2", "203.0.113.1"
OUTSIDE6, HOST6 = "2001:db8::2", "2001:db8::1"


@contextlib.contextmanager
def private_host() -> Iterator[None]:
    """Be there for this `with`; its loopback is up, and nothing else is there."""
    fd = namespace.make()
    try:
        with namespace.Entered(f"/proc/self/fd/{fd}"):
            up("lo")
            yield
    finally:
        os.close(fd)


def up(device: str) -> None:
    with netlink.RouteNetlink() as kernel:
        link = kernel.link(device)
        assert link is not None
        kernel.set_up(link.index)


class Away:
    """Another namespace: `inside` does something there."""

    def __init__(self) -> None:
        self.fd = namespace.make()
        self.path = f"/proc/self/fd/{self.fd}"

    def close(self) -> None:
        os.close(self.fd)

    def inside(self, work: Callable[[], T]) -> T:
        with namespace.Entered(self.path):
            return work()

    def run(self, *words: str) -> str:
        with namespace.Entered(self.path):
            return subprocess.run(words, check=True, capture_output=True, text=True).stdout


@contextlib.contextmanager
def outside() -> Iterator[Away]:
    """Another machine, on a cable with the host: it has OUTSIDE, the host HOST and no route to it but that."""
    far = Away()
    try:
        script = f"""ip link add near type veth peer name far netns /proc/{os.getpid()}/fd/{far.fd}
            ip addr add {HOST}/24 dev near; ip -6 addr add {HOST6}/64 dev near nodad; ip link set near up"""
        subprocess.run(["sh", "-ec", script], check=True, pass_fds=[far.fd])
        far.run("sh", "-ec", f"""ip link set lo up; ip addr add {OUTSIDE}/24 dev far
            ip -6 addr add {OUTSIDE6}/64 dev far nodad; ip link set far up""")  # fmt: skip
        yield far
    finally:
        far.close()


class Server:
    """Answers each connection or datagram with who sent it; `sent` begins with the peer's address."""

    def __init__(self, address: str, port: int, kind: int = socket.SOCK_STREAM) -> None:
        self._socket = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
        if ":" in address:
            self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        self._socket.bind((address, port))
        self.port = self._socket.getsockname()[1]
        if kind == socket.SOCK_STREAM:
            self._socket.listen()
        self._socket.settimeout(0.1)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._stream if kind == socket.SOCK_STREAM else self._datagrams)
        self._thread.start()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._socket.close()

    def _stream(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                connection, address = self._socket.accept()
                with connection:
                    connection.settimeout(60)
                    received = b""
                    while more := connection.recv(1 << 16):
                        received += more
                    connection.sendall(f"{address[0]} {len(received)} ".encode() + received[-8:])

    def _datagrams(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                data, address = self._socket.recvfrom(1 << 16)
                self._socket.sendto(f"{address[0]} {len(data)} ".encode() + data[-8:], address)


def ask(address: str, port: int, data: bytes = b"ping", *, seconds: float = 60.0) -> str:
    """What a Server said to `data`, over TCP.  Raises OSError."""
    with socket.create_connection((address, port), seconds) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while more := connection.recv(1 << 16):
            answer += more
    if not answer:
        raise ConnectionResetError("nothing came back")
    return answer.decode()


def ask_udp(address: str, port: int, data: bytes = b"ping", *, seconds: float = 60.0) -> str:
    """What a Server said to `data`, over UDP.  Raises OSError."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(seconds)
        asking.connect((address, port))
        asking.send(data)
        return asking.recv(1 << 16).decode()


def reaches(address: str, port: int) -> bool:
    """Whether there is an answer, within half a second: for those that must not come."""
    try:
        ask(address, port, seconds=0.5)
    except OSError:
        return False
    return True


def devices() -> set[str]:
    """The names of the devices there are."""
    text = Path("/proc/thread-self/net/dev").read_text()
    return {line.partition(":")[0].strip() for line in text.splitlines()[2:]}
