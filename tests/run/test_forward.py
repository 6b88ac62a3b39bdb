"""A socket in a container passes on what an agent outside says."""

from __future__ import annotations

import os
import socket
import stat
import threading
from pathlib import Path

from tests.run.conftest import Containers
from veneer.run.bundle import Bundle
from veneer.run.forward import Forwarder


def talk(bundle: Bundle, path: str, data: bytes) -> bytes:
    """What comes back for `data` from the socket in the bundle."""

    def talked() -> bytes:
        os.chdir(os.path.dirname(path))
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(os.path.basename(path))
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while more := connection.recv(1 << 16):
                answer += more
            return answer

    return bundle.enclosure.inside(talked)


def echo(listener: socket.socket, times: int) -> None:
    """An agent that answers in capitals."""
    for _ in range(times):
        connection, _ = listener.accept()
        with connection:
            while data := connection.recv(1 << 16):
                connection.sendall(data.upper())


def test_whatever_is_said_is_passed_on_both_ways_several_times(containers: Containers, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(tmp_path / "agent"))
        listener.listen()
        thread = threading.Thread(target=lambda: echo(listener, 2))
        thread.start()
        with containers.bundle() as bundle:
            with Forwarder(bundle, os.fspath(tmp_path / "agent"), mode=0o640, uid=7, gid=8) as forwarder:
                assert talk(bundle, forwarder.path, b"hello" * 100_000) == b"HELLO" * 100_000
                assert talk(bundle, forwarder.path, b"again") == b"AGAIN"
                status = bundle.enclosure.inside(lambda: os.stat(forwarder.path))
                assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (7, 8, 0o640)
            thread.join()


def test_connections_beyond_the_limit_wait_for_their_turn(containers: Containers, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(tmp_path / "agent"))
        listener.listen()
        thread = threading.Thread(target=lambda: echo(listener, 2))
        thread.start()
        with containers.bundle() as bundle:
            with Forwarder(bundle, os.fspath(tmp_path / "agent"), mode=0o600, uid=0, gid=0, most=1) as forwarder:

                def turns() -> bytes:
                    first, second, third = (socket.socket(socket.AF_UNIX) for _ in range(3))
                    with first, second, third:
                        for each in (first, second, third):
                            each.connect(forwarder.path)
                        second.sendall(b"second")
                        first.close()
                        return second.recv(16)

                assert bundle.enclosure.inside(turns) == b"SECOND"
            thread.join()


def test_an_agent_that_is_gone_is_a_connection_that_ends(containers: Containers, tmp_path: Path) -> None:
    with (
        containers.bundle() as bundle,
        Forwarder(bundle, os.fspath(tmp_path / "none"), mode=0o600, uid=0, gid=0) as forwarder,
    ):
        try:
            assert talk(bundle, forwarder.path, b"") == b""
        except ConnectionError:
            pass  # which of the two it is depends on who was faster
