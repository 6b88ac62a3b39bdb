"""Whatever is done to a container that runs: asked of its monitor, over the socket in the container's folder."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator

from veneer.errors import Conflict
from veneer.run.monitor import state
from veneer.run.monitor.stream import MonitorGone, Stream, ask

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any


class NotRunning(Conflict):
    """What was asked needs a container that runs."""


class AlreadyPaused(Conflict):
    """The container is paused already."""


class NotPaused(Conflict):
    """The container is not paused."""


class IsPaused(Conflict):
    """What was asked cannot be done to a container that is paused."""


def connect(folder: Path) -> Client:
    """The monitor of the container whose folder this is.  Raises NotRunning."""
    client = Client(folder)
    client.connection().close()
    return client


class Client:
    """Speaks with one monitor; every request has a connection of its own, so threads may share it.

    Every method raises NotRunning where the monitor has ended before it was asked, MonitorGone where it was killed
    meanwhile, and what else it says.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def kill(self, signal: int) -> None:
        """Send the container's first process a signal.  Raises NotRunning."""
        self._do("kill", signal=signal)

    def stop(self, timeout: float | None = None, signal: int | None = None) -> None:
        """Return when the container has stopped, and will not be started again by its restart policy.

        First it gets `signal` and `timeout` seconds (its own, or docker's SIGTERM and 10; a negative number: for ever),
        then SIGKILL.
        """
        self._do("stop", timeout=timeout, signal=signal)

    def pause(self) -> None:
        """Have the kernel stop all its processes.  Raises AlreadyPaused, NoLimits."""
        self._do("pause")

    def unpause(self) -> None:
        """Have them go on.  Raises NotPaused."""
        self._do("unpause")

    @contextlib.contextmanager
    def freeze(self) -> Iterator[None]:
        """All its processes stand still for this `with`; however we end, they go on.

        One that is paused already stays so; one that is to be started again is not before the end.
        """
        with self.connection() as connection:
            self._asked(connection, {"do": "freeze"})
            try:
                yield
            finally:
                # It would go on without this, too, but somewhat later: whoever does something to it next would find it
                # standing still.
                with contextlib.suppress(MonitorGone):
                    ask(connection, {"do": "thaw"})

    def update(self, resources: dict[str, Any] | None = None, restart: dict[str, Any] | None = None) -> None:
        """Change limits (`resources` is the runtime-spec's LinuxResources, what is not in it stays) and restart policy.

        `restart` is docker's, as in the job: {"name", "count"}.
        """
        self._do("update", resources=resources, restart=restart)

    def exec(self, request: dict[str, Any]) -> Stream:
        """Run one more program in the container.

        `request` is docker's ExecConfig: Cmd, Env, User, WorkingDir, Privileged, Tty, AttachStdin, AttachStdout,
        AttachStderr, Detach, ConsoleSize ([rows, columns]).  Returns when it runs; the stream's Ended has its exit
        code.  With Detach the stream has ended when it is returned, code 0.  Raises NoSuchCommand, CannotExecute,
        ContainerFailed, UnknownUser, IsPaused.
        """
        return self._stream("exec", request=request)

    def attach(self, *, stdin: bool = False, stdout: bool = True, stderr: bool = True, logs: bool = False) -> Stream:
        """What the container prints from now on (with `logs`: from the start of its log file), and its input."""
        return self._stream("attach", attach=[stdin, stdout, stderr], logs=logs)

    def resize(self, rows: int, columns: int, exec: str = "") -> None:
        """The size of its terminal, or of that of one of its execs."""
        self._do("resize", rows=rows, columns=columns, exec=exec)

    def wait(self, condition: str = "not-running") -> int:
        """Return the exit code when the container is "not-running", at its "next-exit", or when it is "removed"."""
        with self.connection() as connection:
            code = int(self._asked(connection, {"do": "wait", "condition": condition})["code"])
            if condition == "removed":
                while connection.recv(1 << 10):  # the monitor stays for as long as it has to do with the removal
                    pass
        if condition == "removed":
            with contextlib.suppress(FileNotFoundError):  # gone
                lock = state.hold(self.folder, state.CARETAKER)
                if lock is not None:
                    os.close(lock)
        return code

    def pids(self) -> list[int]:
        """The numbers, on the host, of all processes of the container."""
        return [int(pid) for pid in self._do("pids")["pids"]]

    def serve_names(self) -> None:
        """Have a name server in the container, for the networks with names that its saved plan has by now."""
        self._do("names")

    def rename(self, name: str) -> None:
        """What it is called in events from now on."""
        self._do("rename", name=name)

    def execs(self) -> list[str]:
        """The IDs of the execs that run."""
        return [str(each) for each in self._do("execs")["execs"]]

    def root(self) -> int:
        """A descriptor of the container's root directory as the container sees it, without what is mounted below it.

        The caller closes it.
        """
        with self.connection() as connection:
            return self._descriptor(connection, "root")

    @contextlib.contextmanager
    def view(self) -> Iterator[int]:
        """A descriptor of the container's root directory, for this `with`; with the volumes and binds it has in it."""
        with self.connection() as connection:
            fd = self._descriptor(connection, "view")
            try:
                yield fd
            finally:
                os.close(fd)

    def _descriptor(self, connection: socket.socket, verb: str) -> int:
        self._asked(connection, {"do": verb})
        _, fds, _, _ = socket.recv_fds(connection, 1, 1)
        if not fds:
            raise MonitorGone("the container's monitor ended before it could show the container's files")
        os.set_inheritable(fds[0], False)
        return fds[0]

    def connection(self) -> socket.socket:
        """A new connection.  Raises NotRunning."""
        # By way of the directory's descriptor: a socket's path may have no more than 107 bytes.
        found = socket.socket(socket.AF_UNIX)
        try:
            folder = os.open(self.folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                found.connect(f"/proc/self/fd/{folder}/{state.SOCKET}")
            finally:
                os.close(folder)
        except (FileNotFoundError, ConnectionRefusedError):
            found.close()
            raise NotRunning(f"Container {self.folder.name} is not running") from None
        except BaseException:
            found.close()
            raise
        return found

    def _do(self, verb: str, **arguments: Any) -> dict[str, Any]:
        with self.connection() as connection:
            return self._asked(connection, {"do": verb, **arguments})

    def _asked(self, connection: socket.socket, request: dict[str, Any]) -> dict[str, Any]:
        try:
            return ask(connection, request)
        except MonitorGone:
            if state.last_written(self.folder).is_live:
                raise
            # It had ended as it should, a moment before it could have been asked.
            raise NotRunning(f"Container {self.folder.name} is not running") from None

    def _stream(self, verb: str, **arguments: Any) -> Stream:
        connection = self.connection()
        try:
            return Stream(connection, str(self._asked(connection, {"do": verb, **arguments})["id"]))
        except BaseException:
            connection.close()
            raise
