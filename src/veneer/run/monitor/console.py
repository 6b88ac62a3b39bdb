"""The terminal of a process: the runtime makes it in the container, and sends its master's descriptor to a socket.

Source: OCI runtime, --console-socket; runc docs/terminals.md.
"""

from __future__ import annotations

import os
import socket

from veneer.run.failures import ContainerFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.run.monitor.assembly import Assembly

_PATIENCE_SECONDS = 10.0


class Console:
    """A socket that waits for one terminal; a context manager."""

    def __init__(self, assembly: Assembly, name: str) -> None:
        self.path = assembly.path(name)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(self.path)
        self._socket.listen(1)
        self._socket.settimeout(_PATIENCE_SECONDS)

    def __enter__(self) -> Console:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        os.unlink(self.path)

    def terminal(self) -> int:
        """The descriptor; for when the runtime has ended well, and so has sent it.  Raises ContainerFailed."""
        try:
            sender, _ = self._socket.accept()
            with sender:
                sender.settimeout(_PATIENCE_SECONDS)
                _, fds, _, _ = socket.recv_fds(sender, 4096, 1)
        except TimeoutError:
            fds = []
        if not fds:
            raise ContainerFailed("the runtime made no terminal")
        os.set_inheritable(fds[0], False)
        return fds[0]
