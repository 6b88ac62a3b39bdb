"""More programs in a container that runs: execs, and the probes of its health check."""

from __future__ import annotations

import os
import signal

from veneer.errors import NotFound
from veneer.run.monitor.console import Console
from veneer.run.monitor.health import MAX_OUTPUT
from veneer.run.monitor.loop import Future, Loop
from veneer.run.monitor.streams import Streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from veneer.run.monitor.assembly import Assembly
    from veneer.run.monitor.calls import Calls
    from veneer.run.monitor.connection import Connection

LINGER_SECONDS = 2.0
"""How long streams that somebody keeps open are read after their process has ended, as with docker."""
SUMMARY = 120
"""Of a command in an event."""


class NoSuchExec(NotFound):
    """There is no exec of that name in the container, any more."""


class Output:
    """Stands for a reader, and keeps the beginning of what it is sent."""

    is_full = False

    def __init__(self) -> None:
        self.data = bytearray()

    def send(self, framed: bytes) -> None:
        if len(self.data) <= MAX_OUTPUT:
            self.data += framed[8:]


class Exec:
    """One that runs; `ended` is its exit code, known when everything it printed has been passed on."""

    def __init__(self, id: str, pid: int, streams: Streams) -> None:
        self.id = id
        self.pid = pid
        self.streams = streams
        self.ended: Future[int] = Future()


class Execs:
    """Those of one container, while it runs."""

    def __init__(
        self, loop: Loop, assembly: Assembly, calls: Calls, tell: Callable[[str, dict[str, str]], object]
    ) -> None:
        self.running: dict[str, Exec] = {}
        self._loop = loop
        self._assembly = assembly
        self._calls = calls
        self._tell = tell

    async def start(
        self, name: str, request: Mapping[str, Any], reader: Connection | None = None, answer: Callable[[str], object]
        = lambda _: None, output: Output | None = None
    ) -> Exec:  # fmt: skip
        """Run docker's ExecConfig in the runtime's container `name`.

        `answer` is called with its id before `reader` is sent anything.  Raises what assembling and the runtime raise.
        """
        id = str(request.get("ID") or os.urandom(32).hex())
        terminal = bool(request.get("Tty"))
        process = self._assembly.exec_process(request)
        command = " ".join(process["args"])[:SUMMARY]
        self._tell(f"exec_create: {command}", {"execID": id})
        attached = not request.get("Detach")
        stdin = attached and bool(request.get("AttachStdin"))
        streams = Streams(self._loop, None, terminal=terminal, keeps_input=stdin, once=True)
        pid, ended, master = await started(self._calls.exec, (name, process), streams, self._assembly, f"tty-{id[:16]}")
        self._tell(f"exec_start: {command}", {"execID": id})
        found = Exec(id, pid, streams)
        self.running[id] = found
        answer(id)
        if reader is not None and attached:
            wanted = {key: bool(request.get(f"Attach{key.capitalize()}")) for key in ("stdin", "stdout", "stderr")}
            streams.attach(reader, **wanted)
        if output is not None:
            streams.collect(output)
        streams.started(master)
        if terminal and request.get("ConsoleSize"):
            # A runtime may set it when the program already runs, or not at all.
            streams.resize(*(int(each) for each in request["ConsoleSize"]))
        self._loop.spawn(self._see_out(found, ended))
        return found

    async def probe(self, name: str, command: Sequence[str], seconds: float) -> tuple[int, bytes]:
        """Run a health check; see health.Probe."""
        output = Output()
        request = {"Cmd": list(command)}
        running = await self.start(name, request, output=output)
        if not await self._loop.within(seconds, running.ended):
            self.kill(running)
            return -1, b""
        return running.ended.value(), bytes(output.data)

    def get(self, id: str) -> Exec:
        """Raises NoSuchExec."""
        try:
            return self.running[id]
        except KeyError:
            raise NoSuchExec(f"No such exec instance: {id}") from None

    def kill(self, running: Exec) -> None:
        """End it; what it has started in the background goes on."""
        try:
            os.kill(running.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    async def _see_out(self, running: Exec, ended: Future[int]) -> None:
        code = await ended
        running.streams.ended()
        await self._loop.within(LINGER_SECONDS, running.streams.drained)
        running.streams.abandon()
        self.running.pop(running.id, None)
        self._tell("exec_die", {"execID": running.id, "exitCode": str(code)})
        running.streams.end_readers(code)
        running.ended.set(code)


async def started(
    call: Callable[..., Any], arguments: tuple[Any, ...], streams: Streams, assembly: Assembly, name: str
) -> tuple[int, Future[int], int]:
    """Have the runtime start a process on the streams: its number, its exit code to come, its terminal or -1."""
    if not streams.terminal:
        try:
            pid, ended = await call(*arguments, stdio=streams.stdio)
        except BaseException:
            streams.not_started()
            raise
        return pid, ended, -1
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        with Console(assembly, name) as console:
            pid, ended = await call(*arguments, stdio=(null, null, null), console=console.path)
            return pid, ended, console.terminal()
    finally:
        os.close(null)
