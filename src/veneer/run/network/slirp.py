"""A way out of a container's own network: slirp4netns, beside the container, without privileges on the host.

The program makes a network device in the container's namespace and answers what is sent there from sockets of its
own, in the host's network; ports of the host are published by telling it over its socket.  In a RUN step it runs inside
the enclosure (whose warden has the namespace) and ends with it, beside a container it is a child of the monitor's.
Nothing of the host is changed, as root neither.  Why this program: docs/decisions/0012-where-a-run-happens.md.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import socket
from collections.abc import Iterator, Mapping

from veneer.run.network.failures import NetworkFailed, NoNetwork, NoProtocol, PortTaken
from veneer.run.network.slirp_addresses import ADDRESS
from veneer.run.runtime import SEARCHED

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from pathlib import Path
    from typing import Any

    from veneer.run.enclosure import Enclosure

PROGRAM = "slirp4netns"
NAMESPACE = "/proc/1/ns/net"
"""The enclosure's network, for programs that see its /proc."""
DEVICE = "/dev/net/tun"
"""What the program needs to open; some hosts keep it for root."""
_PATIENCE_SECONDS = 30.0
_MTU = 65520
_MOST_SAID = 4 << 10


def program() -> str:
    """The program's path.  Raises NoNetwork."""
    path = shutil.which(PROGRAM, path=SEARCHED)
    if path is None:
        raise NoNetwork(f"a RUN with a network needs {PROGRAM}, and it is not installed",
                        hint=f"apt-get install {PROGRAM}, or build with --network none (or host)")  # fmt: skip
    return path


class Connection:
    """A network that is being made; see `connecting`."""

    def __init__(self, ready: int, said: int) -> None:
        self._ready = ready
        self._said = said

    def wait(self) -> None:
        """Return when it is up.  Raises NetworkFailed."""
        _wait(self._ready, self._said, "build with")


def _wait(ready: int, said: int, way_out: str) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(ready, selectors.EVENT_READ)
        if selector.select(_PATIENCE_SECONDS) and os.read(ready, 1) == b"1":
            return
    end = os.pread(said, _MOST_SAID, max(0, os.fstat(said).st_size - _MOST_SAID))
    lines = end.decode(errors="replace").strip().splitlines()
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        raise NetworkFailed(
            f"{PROGRAM} could not make the network: this user may not open {DEVICE}",
            hint=f"let an administrator chmod 666 {DEVICE}, or {way_out} --network none (or host)",
        )
    raise NetworkFailed(f"{PROGRAM} could not make the network: {lines[-1] if lines else 'it said nothing'}",
                        hint=f"{way_out} --network none, or host")  # fmt: skip


@contextlib.contextmanager
def connecting(enclosure: Enclosure, path: str) -> Iterator[Connection]:
    """Give the enclosure's network a way out, for this `with`; it is up after `wait`."""
    ready, theirs = os.pipe()
    # What it says goes into memory: a pipe that nobody reads would stop it one day, and the container's network.
    said = os.memfd_create(PROGRAM, os.MFD_CLOEXEC)
    try:
        words = [
            path, "--configure", f"--mtu={_MTU}", "--disable-host-loopback", "--netns-type=path",
            f"--ready-fd={theirs}", enclosure.network, "tap0",
        ]  # fmt: skip
        try:
            enclosure.start(words, errors=said, fds=(theirs,))
        finally:
            os.close(theirs)
        yield Connection(ready, said)
    finally:
        os.close(ready)
        os.close(said)


# ---- beside a container


class Beside:
    """slirp4netns at a container's side; `close` ends it, as does the end of the monitor."""

    def __init__(self, process: subprocess.Popen[bytes], folder: str) -> None:
        self._process = process
        self._folder = folder

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self._folder}/{_API}")

    def publish(self, port: Mapping[str, Any]) -> None:
        """Have what comes for a port of the host go to the container.  Raises PortTaken, NetworkFailed, NoProtocol."""
        if port["proto"] == "sctp":
            raise NoProtocol(f"port {port['container_port']}/sctp cannot be published: slirp4netns knows tcp and udp",
                             hint="run it as root, or leave the port out")  # fmt: skip
        answer = self._ask({
            "execute": "add_hostfwd",
            "arguments": {
                "proto": port["proto"], "host_addr": port["host_ip"], "host_port": port["host_port"],
                "guest_addr": ADDRESS, "guest_port": port["container_port"],
            },
        })  # fmt: skip
        if "error" in answer:
            raise PortTaken(
                f"Bind for {port['host_ip']}:{port['host_port']} failed: port is already allocated",
                hint="publish another port of the host; a plain user has those from 1024 on",
            )

    def _ask(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_PATIENCE_SECONDS)
            fd = os.open(self._folder, os.O_PATH | os.O_CLOEXEC)
            try:
                # By a descriptor: a socket's path may have no more than 107 bytes.
                connection.connect(f"/proc/self/fd/{fd}/{_API}")
            finally:
                os.close(fd)
            connection.sendall(json.dumps(request).encode())
            connection.shutdown(socket.SHUT_WR)
            said = b""
            while more := connection.recv(1 << 16):
                said += more
        try:
            answer: Mapping[str, Any] = json.loads(said)
        except ValueError:
            raise NetworkFailed(f"{PROGRAM} did not understand that a port is to be published") from None
        return answer


_API = "slirp.socket"


def start(plan: Mapping[str, Any], path: str, folder: str | Path) -> Beside:
    """Give the namespace at `path` a way out, and its ports to the plan's; up when this returns.

    Raises NoNetwork, NetworkFailed, PortTaken.
    """
    import subprocess

    found = shutil.which(PROGRAM, path=SEARCHED)
    if found is None:
        raise NoNetwork(f"a plain user's container needs {PROGRAM} for a network, and it is not installed",
                        hint=f"apt-get install {PROGRAM}, or run with --network none (or host)")  # fmt: skip
    ready, theirs = os.pipe()
    said = os.memfd_create(PROGRAM, os.MFD_CLOEXEC)
    where = os.fspath(folder)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{where}/{_API}")
    namespace = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # Its directory is where its socket goes: by a bare name, which is never too long.
        process = subprocess.Popen(
            [
                found, "--configure", f"--mtu={_MTU}", "--disable-host-loopback", "--netns-type=path",
                f"--api-socket={_API}", f"--ready-fd={theirs}", f"/proc/self/fd/{namespace}", "tap0",
            ],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said, cwd=where,
            env={"PATH": SEARCHED}, pass_fds=(theirs, namespace), start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        theirs = -1
        beside = Beside(process, where)
        try:
            _wait(ready, said, "run with")
            for port in plan["ports"]:
                beside.publish(port)
        except BaseException:
            beside.close()
            raise
        return beside
    finally:
        for fd in (ready, said, namespace, theirs):
            if fd >= 0:
                os.close(fd)
