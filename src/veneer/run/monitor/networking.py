"""A container's network while its monitor lives: the namespace, the ports it holds, what was set up in between."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from socket import socket
    from typing import Any

    from veneer.run.monitor.assembly import Assembly

_PLANNED = ("bridge", "slirp")


class Networking:
    """What the job's `network` plan asks for; it stays the same when the container is started again."""

    def __init__(self, job: Mapping[str, Any]) -> None:
        self._plan: dict[str, Any] = job.get("network") or {"mode": "none"}
        self._folder = str(job["folder"])
        self._namespace = -1
        self._path = ""
        self._held: list[socket] = []
        self._is_set_up = False
        self.settings: dict[str, Any] = {}

    def open(self, assembly: Assembly) -> str:
        """Make it; what the process is to be given: "none", "host", or the path of a namespace.

        Raises NetworkFailed, NoNetwork, PortTaken, NotJoinable.
        """
        mode = self._plan["mode"]
        if mode == "container":
            return assembly.joined(str(self._plan["container"]), "net")
        if mode in _PLANNED:
            from veneer.run.network import namespace, ports

            self._namespace = namespace.make()
            self._path = f"/proc/{os.getpid()}/fd/{self._namespace}"
            self._held = ports.hold(self._plan)
        if mode in _PLANNED or self._plan.get("networks"):
            from veneer.run import network

            self.settings = network.setup(self._plan, self._path, self._folder, self._held)
            self._is_set_up = True
        return self._path or str(mode)

    def serve_names(self) -> None:
        """Have a name server in the container, which was put on a network with names; nothing if it has one."""
        if self._is_set_up and self._path:
            from veneer.run.network import connection

            connection.serve_names(self._folder, self._path)

    def close(self, folder: Path) -> None:
        """Take it away."""
        if self._is_set_up:
            from veneer.run import network

            self._is_set_up = False
            network.teardown(self._plan, self._path, folder)
        for each in self._held:
            each.close()
        if self._namespace >= 0:
            os.close(self._namespace)
        self._held, self._namespace = [], -1
