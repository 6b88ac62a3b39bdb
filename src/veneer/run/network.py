"""A way out of a container's own network: slirp4netns, beside the container, without privileges on the host.

The namespace is the enclosure's (its warden's): the program makes a network device in it and answers what is sent
there from sockets of its own.  It runs inside the enclosure and in the host's network, and ends with the enclosure.
Nothing of the host is changed, as root neither.  Why this program: docs/decisions/0012-where-a-run-happens.md.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
from collections.abc import Iterator

from veneer.errors import Unavailable, Unsupported
from veneer.run.runtime import SEARCHED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.run.enclosure import Enclosure

PROGRAM = "slirp4netns"
NAMESPACE = "/proc/1/ns/net"
"""The enclosure's network, for programs that see its /proc."""
DEVICE = "/dev/net/tun"
"""What the program needs to open; some hosts keep it for root."""
DNS = "10.0.2.3"
"""Where slirp4netns passes questions on to the host's own name servers, loopback ones too."""
_PATIENCE_SECONDS = 30.0
_MTU = 65520
_MOST_SAID = 4 << 10


class NoNetwork(Unsupported):
    """There is no program here that could give a container a network."""


class NetworkFailed(Unavailable):
    """The program is here, and could not give the container a network."""


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
        with selectors.DefaultSelector() as selector:
            selector.register(self._ready, selectors.EVENT_READ)
            if selector.select(_PATIENCE_SECONDS) and os.read(self._ready, 1) == b"1":
                return
        end = os.pread(self._said, _MOST_SAID, max(0, os.fstat(self._said).st_size - _MOST_SAID))
        lines = end.decode(errors="replace").strip().splitlines()
        if not os.access(DEVICE, os.R_OK | os.W_OK):
            raise NetworkFailed(
                f"{PROGRAM} could not make the network: this user may not open {DEVICE}",
                hint=f"let an administrator chmod 666 {DEVICE}, or build with --network none (or host)",
            )
        raise NetworkFailed(f"{PROGRAM} could not make the network: {lines[-1] if lines else 'it said nothing'}",
                            hint="build with --network none, or host")  # fmt: skip


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
