"""The monitor from its first instruction to its last; see docs/decisions/0014-the-monitor.md."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import sys

from veneer.errors import VeneerError
from veneer.run.monitor import failures, protocol
from veneer.run.monitor.connection import Connection
from veneer.run.monitor.life import Life
from veneer.run.monitor.loop import Loop
from veneer.run.monitor.namespaces import enter, rename
from veneer.run.monitor.server import Server

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TITLE = b"veneer-monitor"
LOG = "monitor.log"
"""In the container's folder: what went wrong with the monitor itself."""


def main() -> None:
    """Wait for a job on standard input, a socket, and do it."""
    os.closerange(3, 1 << 30)
    os.chdir("/")
    os.umask(0o022)
    if os.sched_getscheduler(0) != os.SCHED_OTHER:
        # A caller in real time has no container that is: the kernel lets none into a group without a share of it.
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    _prepare()
    caller = socket.socket(fileno=os.dup(0))
    request, locks = _request(caller)
    if request is None:
        return
    job = request["job"]
    try:
        host_proc = enter(own_pids=not str(job["document"]["HostConfig"].get("PidMode") or ""))
    except VeneerError as error:
        caller.sendall(protocol.message(protocol.ANSWER, {"error": failures.told(error)}))
        return
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    try:
        _watch(job, request.get("attach"), caller, host_proc, locks)
    except Exception as error:  # noqa: BLE001 - the last that can be said of it
        _note(job, error)
        sys.exit(1)


def forked() -> None:
    """As `main`, in a child of a command that had a name, variables and standard streams of its own."""
    rename(TITLE)
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115 - as long as we live
    sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
    main()


def _prepare() -> None:
    """Load, while the caller still finds out what the job is, what almost every job needs."""
    import encodings.ascii  # noqa: F401

    from veneer.run import seccomp  # noqa: F401
    from veneer.run.monitor import logfile  # noqa: F401
    from veneer.store import events  # noqa: F401

    # What is there stays; looked through by nobody, its pages are not copied for the child.
    gc.collect()
    gc.freeze()


def _request(caller: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    """What is to be done (None if the caller has thought better of it), and the descriptors that hold its locks."""
    frames = protocol.Frames()
    locks: list[int] = []
    while True:
        data, fds, _, _ = socket.recv_fds(caller, 64 << 10, 1)
        locks += fds
        if not data:
            return None, locks
        for _, content in frames.feed(data):
            return protocol.parsed(content), locks


def _watch(
    job: dict[str, Any], attach: list[bool] | None, caller: socket.socket, host_proc: int, locks: list[int]
) -> None:
    loop = Loop()
    loop.report = lambda error: _note(job, error)
    life = Life(loop, job, host_proc)

    def let_go() -> None:
        # The container has a monitor now, as everybody can see.
        while locks:
            os.close(locks.pop())

    life.on_begin = let_go
    server = Server(loop, life)
    connection = Connection(loop, caller)
    server.keep(connection)

    async def begin() -> None:
        try:
            server.listen()
            wanted = attach or [False, False, False]
            await life.begin(
                connection if attach else None, (wanted[0], wanted[1], wanted[2]),
                lambda: connection.answer({"id": job["id"]}),
            )  # fmt: skip
        except BaseException as error:
            connection.answer({"error": failures.told(error)})
            if not isinstance(error, VeneerError):
                raise
            life.over.set(life.state.exit_code)

    task = loop.spawn(begin())
    task.then(lambda: life.over.set(1) if task.error is not None else None)
    loop.run(life.over)
    server.finish()
    loop.run(server.idle)


def _note(job: dict[str, Any], error: BaseException) -> None:
    import traceback

    # On a disk that is full, or gone, nobody is left to tell it to.
    with contextlib.suppress(OSError), open(f"{job['folder']}/{LOG}", "a", encoding="utf-8") as log:
        log.write("".join(traceback.format_exception(error)))
