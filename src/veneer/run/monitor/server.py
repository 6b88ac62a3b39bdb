"""The socket in the container's folder: who may ask, and what each verb does.

The socket is its owner's alone (0600, in directories that are 0700).  Whoever connects has to say what he wants soon,
there may be only so many of them, and what one asks for wrongly harms nobody else.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket

from veneer.errors import InvalidRequest, VeneerError
from veneer.run.failures import NoLimits
from veneer.run.monitor import client, failures, groups, protocol, standstill, state
from veneer.run.monitor.connection import Connection
from veneer.run.monitor.loop import READ, Future, Loop
from veneer.run.monitor.namespaces import host_pid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from veneer.run.monitor.life import Life

    Verb = Callable[[Connection, dict[str, Any]], Awaitable[dict[str, Any] | None]]

MAX_CONNECTIONS = 512
PATIENCE_SECONDS = 20.0
"""For a request."""


class BadSignal(InvalidRequest):
    """A number that is no signal's."""


class Server:
    """Serves one container's callers; `idle` is known when all of them have what they were sent."""

    def __init__(self, loop: Loop, life: Life) -> None:
        self._loop = loop
        self._life = life
        self._connections: set[Connection] = set()
        self._busy = 0
        self._closing = False
        self._freezing: set[Connection] = set()
        self._thaws = False
        """Whether it stands still for those alone, and not because somebody has paused it."""
        self.idle: Future[None] = Future()
        self._verbs: dict[str, Verb] = {
            "kill": self._kill, "stop": self._stop, "pause": self._pause, "unpause": self._unpause,
            "freeze": self._freeze, "update": self._update, "exec": self._exec, "attach": self._attach,
            "resize": self._resize, "wait": self._wait, "pids": self._pids, "execs": self._execs, "root": self._root,
            "view": self._view, "names": self._names, "rename": self._rename,
        }  # fmt: skip
        self._socket = socket.socket(socket.AF_UNIX)
        life.on_end = self.close

    def listen(self) -> None:
        """Be there for callers."""
        path = self._life.folder / state.SOCKET
        path.unlink(missing_ok=True)  # of a monitor that was killed
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        before = os.umask(0o177)
        try:
            self._socket.bind(f"/proc/self/fd/{folder}/{path.name}")  # see Client.connection
        finally:
            os.umask(before)
            os.close(folder)
        self._socket.listen(64)
        self._socket.setblocking(False)
        self._loop.watch(self._socket.fileno(), READ, lambda _: self._accept())

    def close(self) -> None:
        """Nobody is let in any more."""
        fd = self._socket.fileno()
        if fd >= 0:
            with contextlib.suppress(OSError):  # it was never listened at
                while self._accept():  # whoever was let in by the kernel before is told how it ended
                    pass
            self._loop.watch(fd, 0, lambda _: None)
            (self._life.folder / state.SOCKET).unlink(missing_ok=True)
            self._socket.close()

    def finish(self) -> None:
        """Let everybody go who waits for nothing that is on its way to him."""
        self._closing = True
        for each in list(self._connections):
            each.take()
            each.finish()
        self._look()

    def keep(self, connection: Connection) -> None:
        """One more caller, who is not to be let go too soon."""
        self._connections.add(connection)
        connection.on_frame = _not_now
        connection.after_close = lambda: self._gone(connection)

    def _add(self, connection: Connection) -> None:
        """One more caller, who has not asked anything yet."""
        self.keep(connection)
        timer = self._loop.later(PATIENCE_SECONDS, connection.close)

        def asked(kind: int, content: bytes) -> None:
            timer.cancel()
            connection.on_frame = _not_now
            if kind != protocol.REQUEST:
                raise protocol.BadFrame(f"a frame of kind {kind} for a request")
            self._loop.spawn(self._serve(connection, protocol.parsed(content)))

        connection.on_frame = asked

    def _accept(self) -> bool:
        """Let one in; whether there was one."""
        try:
            connected, _ = self._socket.accept()
        except (BlockingIOError, ConnectionAbortedError):  # he has gone already
            return False
        if len(self._connections) >= MAX_CONNECTIONS:
            connected.close()
        else:
            self._add(Connection(self._loop, connected))
        return True

    def _gone(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._look()

    def _look(self) -> None:
        if self._closing and not self._connections:
            self.idle.set(None)

    async def _serve(self, connection: Connection, request: dict[str, Any]) -> None:
        verb = self._verbs.get(str(request.get("do")))
        try:
            if verb is None:
                raise protocol.BadFrame(f"no verb {request.get('do')!r}")
            answer = await verb(connection, request)
        except VeneerError as error:
            answer = {"error": failures.told(error)}
        except Exception as error:  # noqa: BLE001 - of a request of the wrong shape, or ours: it must end nothing else
            answer = {"error": failures.told(error)}
            self._loop.report(error)
        if answer is not None:
            connection.answer(answer)
            if answer.get("error"):
                connection.finish()

    async def _kill(self, _: Connection, request: dict[str, Any]) -> dict[str, Any]:
        life, number = self._life, protocol.number(request, "signal", signal.SIGKILL)
        ours = life.stop_signal
        # Whoever kills it so does not want it to come back; any other signal is between him and its process.
        if (not ours or number in (ours, signal.SIGKILL)) and life.end_soon():
            return {}
        life.require_running()
        if not 0 < number <= signal.NSIG:
            raise BadSignal(f"Invalid signal: {number}")
        life.signal(number)
        if number == signal.SIGKILL:
            await life.die()
        life.tell("kill", {"signal": str(number)})
        return {}

    async def _stop(self, _: Connection, request: dict[str, Any]) -> dict[str, Any]:
        seconds = request.get("timeout")
        await self._life.stop(None if seconds is None else float(seconds), protocol.number(request, "signal"))
        return {}

    async def _pause(self, _: Connection, request: dict[str, Any]) -> dict[str, Any]:
        life = self._life
        life.require_running()
        if life.state.status == state.PAUSED:
            raise client.AlreadyPaused(f"Container {life.id} is already paused")
        self._require_groups("pause")
        await life.stillness.pause()
        return {}

    async def _unpause(self, _: Connection, request: dict[str, Any]) -> dict[str, Any]:
        life = self._life
        waits = not life.stillness.let_go.is_set
        await life.stillness.released()
        if waits and life.state.status == state.RUNNING:
            return {}
        if life.state.status != state.PAUSED:
            raise client.NotPaused(f"Container {life.id} is not paused")
        await life.stillness.unpause()
        return {}

    async def _freeze(self, connection: Connection, request: dict[str, Any]) -> dict[str, Any]:
        life = self._life
        while not (self._freezing or life.stillness.let_go.is_set):
            await life.stillness.let_go  # the last one has gone, and it is just going on
        if not self._freezing:
            life.stillness.let_go = Future()  # first of all: from here on it is not started again
        self._freezing.add(connection)
        try:
            if life.state.status == state.RUNNING and not standstill.is_possible():
                self._require_groups("pause", "be root, or commit with --pause=false")
            self._thaws = await life.stillness.begin() or self._thaws
        except BaseException:
            await self._thaw(connection)
            raise
        if connection.is_open:
            connection.on_close = lambda: self._loop.spawn(self._thaw(connection))
            connection.on_frame = lambda *_: self._loop.spawn(self._let_go(connection))
        else:
            await self._thaw(connection)
        return {}

    async def _let_go(self, connection: Connection) -> None:
        """He has seen enough, and is told when it goes on."""
        connection.on_close, connection.on_frame = _nothing, _not_now
        try:
            await self._thaw(connection)
        finally:
            connection.answer({})

    async def _thaw(self, connection: Connection) -> None:
        self._freezing.discard(connection)
        if self._freezing:
            return
        thaws, self._thaws = self._thaws, False
        try:
            if thaws:
                await self._life.stillness.unpause()
        finally:
            self._life.stillness.let_go.set(None)

    async def _update(self, _: Connection, request: dict[str, Any]) -> dict[str, Any]:
        life = self._life
        if request.get("resources"):
            life.require_running()
            self._require_groups("update")
            path = life.assembly.folder / "resources"
            path.write_text(json.dumps(request["resources"]))
            await life.calls.do("update", "--resources", os.fspath(path), life.name)
        if request.get("restart"):
            life.restarts.set(request["restart"])
        return {}

    async def _exec(self, connection: Connection, request: dict[str, Any]) -> None:
        life = self._life
        life.require_running()
        if life.state.status == state.PAUSED:
            raise client.IsPaused(f"Container {life.id} is paused, unpause the container before exec")
        wanted = request["request"]
        await life.execs.start(life.name, wanted, connection, lambda id: connection.answer({"id": id}))
        if wanted.get("Detach"):
            connection.send(protocol.message(protocol.ENDED, {"code": 0}))
            connection.finish()

    async def _attach(self, connection: Connection, request: dict[str, Any]) -> None:
        life = self._life
        life.require_running()
        stdin, stdout, stderr = (bool(each) for each in request["attach"])
        connection.answer({"id": life.id})
        if request.get("logs"):
            from veneer.run.monitor.replay import replay

            await replay(connection, life.log_path, stdout=stdout, stderr=stderr)
        life.streams.attach(connection, stdin=stdin, stdout=stdout, stderr=stderr)
        life.tell("attach")

    async def _resize(self, _: Connection, request: dict[str, Any]) -> dict[str, Any]:
        life = self._life
        life.require_running()
        size = protocol.number(request, "rows"), protocol.number(request, "columns")
        if request.get("exec"):
            life.execs.get(str(request["exec"])).streams.resize(*size)
        else:
            life.streams.resize(*size)
            life.tell("resize", {"height": str(size[0]), "width": str(size[1])})
        return {}

    async def _wait(self, connection: Connection, request: dict[str, Any]) -> dict[str, Any]:
        life = self._life
        if request.get("condition") == "next-exit":
            return {"code": await life.next_exit}
        return {"code": await life.ended}

    async def _pids(self, _: Connection, request: dict[str, Any]) -> dict[str, Any]:
        life = self._life
        life.require_running()
        cgroup = life.assembly.cgroup
        found = groups.pids(cgroup) if cgroup else _in_namespace_of(life.pid)
        return {"pids": [number for pid in found if (number := host_pid(life.host_proc, pid))]}

    async def _execs(self, _: Connection, request: dict[str, Any]) -> dict[str, Any]:
        return {"execs": list(self._life.execs.running)}

    async def _root(self, connection: Connection, request: dict[str, Any]) -> None:
        self._life.require_live()
        self._life.assembly.require_tree()
        connection.answer({})
        connection.send_fd(self._life.assembly.root)

    async def _view(self, connection: Connection, request: dict[str, Any]) -> None:
        self._life.require_live()
        view = self._life.assembly.view()
        try:
            connection.answer({})
            connection.send_fd(view.root)
        finally:
            if connection.is_open:
                connection.on_close = view.close
            else:
                view.close()

    async def _names(self, _: Connection, request: dict[str, Any]) -> dict[str, Any]:
        self._life.require_running()
        self._life.network.serve_names()
        return {}

    async def _rename(self, _: Connection, request: dict[str, Any]) -> dict[str, Any]:
        self._life.called = str(request["name"])
        return {}

    def _require_groups(self, verb: str, hint: str = "be root") -> None:
        if not self._life.assembly.cgroup:
            raise NoLimits(f"{verb} needs control groups, and this user may not make any", hint=hint)


def _nothing() -> None:
    """He may go: nothing waits for it."""


def _not_now(kind: int, content: bytes) -> None:
    """Whoever has asked for something waits for the answer before he says more."""
    raise protocol.BadFrame(f"a frame of kind {kind} before the answer")


def _in_namespace_of(pid: int) -> list[int]:
    """The processes in the PID namespace of this one, and below it."""
    found = []
    with contextlib.suppress(FileNotFoundError):  # it has just ended
        wanted = os.stat(f"/proc/{pid}/ns/pid")
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):  # this one has
                if os.path.samestat(os.stat(f"/proc/{name}/ns/pid"), wanted):
                    found.append(int(name))
    return found
