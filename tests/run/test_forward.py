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


def test_whatever_is_said_is_passed_on_both_ways_several_times(containers: Containers, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(tmp_path / "agent"))
        listener.listen()

        def serve() -> None:
            for _ in range(2):
                connection, _ = listener.accept()
                with connection:
                    while data := connection.recv(1 << 16):
                        connection.sendall(data.upper())

        thread = threading.Thread(target=serve)
        thread.start()
        with containers.bundle() as bundle:
            with Forwarder(bundle, os.fspath(tmp_path / "agent"), mode=0o640, uid=7, gid=8) as forwarder:
                assert talk(bundle, forwarder.path, b"hello" * 100_000) == b"HELLO" * 100_000
                assert talk(bundle, forwarder.path, b"again") == b"AGAIN"
                status = bundle.enclosure.inside(lambda: os.stat(forwarder.path))
                assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (7, 8, 0o640)
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
