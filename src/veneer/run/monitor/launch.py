"""A monitor started, and handed its job.

It comes to be at once, and loads while the caller still finds out what the job is.  For a program that uses veneer its
interpreter is started by posix_spawn, which works beside threads, and lean: without site-packages, user settings,
environment.  The command, which has one thread and has opened nothing yet, forks instead (docs/decisions/0014): what it
has loaded need not be loaded again, which is a third of the time that a short container takes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import sys

from veneer.errors import Unsupported
from veneer.run.monitor.failures import MonitorFailed
from veneer.run.monitor.stream import MonitorGone, Stream, Streams, ask

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PROGRAM = f"{os.path.dirname(os.path.abspath(__file__))}/program.py"
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
_INTERPRETERS = {signal.SIGKILL, signal.SIGSTOP, signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ}
"""Signals that nobody can have handled, or that every interpreter handles itself."""
_MOST_SAID = 4 << 10


class NoInterpreter(Unsupported):
    """The program that uses veneer was not started by a Python interpreter that could be started once more."""


class Launch:
    """A monitor that waits for its job; a context manager, at whose end it is gone unless it was given one.

    With `by_fork`, for a caller of one thread that has opened nothing another process may not have, it is our child.
    """

    def __init__(self, *, by_fork: bool = False) -> None:
        ours, theirs = socket.socketpair()
        # What it says when it cannot even begin goes into memory: nobody reads a pipe while it lives.
        self._said = os.memfd_create("veneer-monitor", os.MFD_CLOEXEC)
        # Where our standard streams are closed their numbers may be ours, and one would be written over the other.
        numbers = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3) for fd in (theirs.fileno(), self._said)]
        try:
            self._pid = _forked(*numbers) if by_fork and _can_fork() else _spawned(*numbers)
        except BaseException:
            ours.close()
            os.close(self._said)
            raise
        finally:
            theirs.close()
            for fd in numbers:
                os.close(fd)
        self._socket: socket.socket | None = ours

    def __enter__(self) -> Launch:
        return self

    def __exit__(self, *_: object) -> None:
        if self._socket is not None:
            self._socket.close()  # which ends one that has no job
            self._socket = None
        os.close(self._said)
        # What we started has handed over to its child, the monitor, or is about to end.
        with contextlib.suppress(ChildProcessError):  # the program we are in has seen to it
            os.waitpid(self._pid, 0)

    def start(self, job: dict[str, Any], *, attach: Streams | None = None, lock: int = -1) -> Stream | None:
        """Hand over the job (see docs/decisions/0014-the-monitor.md), and return when the container's process runs.

        With `attach` the stream of it, from its first byte on.  The monitor is given a copy of `lock`, a descriptor
        that holds the container's lock: were we killed now, nobody would take the container for one that nobody starts.
        Raises what went wrong: NoSuchCommand, CannotExecute, ContainerFailed, BadMountPoint, UnknownUser, ...
        """
        connection, self._socket = self._socket, None
        if connection is None:
            raise ValueError("a launch starts one container")
        try:
            ask(
                connection,
                {"do": "start", "job": job, "attach": attach and [attach.stdin, attach.stdout, attach.stderr]},
                fds=[lock] if lock >= 0 else [],
            )
        except MonitorGone as error:
            connection.close()
            raise MonitorFailed(f"the container's monitor could not begin: {self._last_words()}") from error
        except BaseException:
            connection.close()
            raise
        if attach is None:
            connection.close()
            return None
        return Stream(connection, str(job["id"]))

    def _last_words(self) -> str:
        end = os.pread(self._said, _MOST_SAID, max(0, os.fstat(self._said).st_size - _MOST_SAID))
        lines = end.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it was killed"


def _spawned(connection: int, said: int) -> int:
    """Start an interpreter for a monitor; its number.  Raises NoInterpreter."""
    if not sys.executable:
        raise NoInterpreter("a container needs a Python interpreter to watch it, and sys.executable names none",
                            hint="set sys.executable to the path of one")  # fmt: skip
    return os.posix_spawn(
        sys.executable,
        [sys.executable, "-I", "-S", "-X", "utf8", _PROGRAM],
        _ENVIRONMENT,
        file_actions=[
            (os.POSIX_SPAWN_DUP2, connection, 0), (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_DUP2, said, 2),
        ],
        setsigmask=(),
        setsigdef=set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP},
    )  # fmt: skip


def _can_fork() -> bool:
    """Whether a child of ours would be as an interpreter of its own: names are UTF-8, and nobody else is at work."""
    return sys.getfilesystemencoding() == "utf-8" and len(os.listdir("/proc/self/task")) == 1


def _forked(connection: int, said: int) -> int:
    """Fork a monitor; its number."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.dup2(connection, 0)
        os.dup2(said, 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        for number in signal.valid_signals() - _INTERPRETERS:
            if signal.getsignal(number) is not signal.SIG_DFL:
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

        from veneer.run.monitor.main import forked

        forked()
    except BaseException as error:  # noqa: BLE001 - our caller's code must not go on in this process
        os.write(2, f"{type(error).__name__}: {error}".encode(errors="replace"))
        os._exit(1)
    os._exit(0)
