"""A container's life: started, watched, started again by its restart policy, stopped, and cleaned up after.

Sources: moby daemon/start.go, stop.go, kill.go, monitor.go, container/state.go.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from veneer.errors import VeneerError
from veneer.run.host import host
from veneer.run.monitor import groups, state, volumes
from veneer.run.monitor.assembly import Assembly
from veneer.run.monitor.calls import Calls
from veneer.run.monitor.client import NotRunning
from veneer.run.monitor.execs import LINGER_SECONDS, Execs, started
from veneer.run.monitor.health import Health, command_of
from veneer.run.monitor.loop import Future, Loop, Task
from veneer.run.monitor.namespaces import host_pid
from veneer.run.monitor.networking import Networking
from veneer.run.monitor.restarts import Restarts
from veneer.run.monitor.stillness import Stillness
from veneer.run.monitor.streams import Streams
from veneer.run.runtime import Runtime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from veneer.run.monitor.connection import Connection
    from veneer.run.monitor.logfile import LogFile

STOP_SECONDS = 10.0
_DYING_SECONDS = 0.5
"""In which one that is frozen dies of SIGKILL where control groups are of version 2; with version 1 it never does."""
_FAILED_CODE = 128
"""Of a container whose start failed for no reason of its command's, as with docker."""


class Life:
    """One container from its start to its end; `over` is known, with the exit code, when nothing of it is left."""

    def __init__(self, loop: Loop, job: Mapping[str, Any], host_proc: int) -> None:
        self.job = job
        self.id = str(job["id"])
        self.called = str(job["name"])
        """What people call the container."""
        self.over: Future[int] = Future()
        self.loop = loop
        self.host_proc = host_proc
        self.folder = Path(job["folder"])
        self.restarts = Restarts(job.get("restart"))
        past = state.last_written(self.folder)
        self.state = state.State(past.at_rest, exit_code=past.exit_code, started_at=past.started_at,
                                 finished_at=past.finished_at, boot_id=state.boot_id(),
                                 monitor=host_pid(host_proc, os.getpid()))  # fmt: skip
        self.pid = 0
        self.name = ""
        """What the runtime calls the container that runs."""
        self.assembly: Assembly
        self.calls: Calls
        self.execs: Execs
        self.streams: Streams
        self.next_exit: Future[int] = Future()
        self.ended: Future[int] = Future()
        """Its exit code, when it has ended for good and may be started anew by somebody else."""
        self.log_path: Path | None = None
        self.on_begin: Callable[[], object] = lambda: None
        """Called when the lock is held that says that it has a monitor."""
        self.on_end: Callable[[], object] = lambda: None
        """Called by the end, before the lock is let go."""
        self.network = Networking(job)
        self.stillness = Stillness(self)
        self._alive: int | None = None
        self._count = 0
        self._log: LogFile | None = None
        self._stopping: Future[None] = Future()
        self._ended: Future[int]
        self._began = 0.0
        self._memory: groups.OomWatch
        self._health: Task[None] | None = None

    @property
    def is_running(self) -> bool:
        return self.state.status in (state.RUNNING, state.PAUSED)

    @property
    def stop_signal(self) -> int:
        """The number of the signal that its image, or its user, has it stopped by; 0 if nobody has said."""
        name = str(self.job["document"]["Config"].get("StopSignal") or "").upper().removeprefix("SIG")
        base, _, further = name.partition("+")
        if name.isdigit():
            return int(name)
        known = signal.Signals.__members__.get(f"SIG{base}")
        return 0 if known is None else int(known) + (int(further) if further.isdigit() else 0)

    def require_running(self) -> None:
        """Raises NotRunning."""
        if not self.is_running:
            raise NotRunning(f"Container {self.id} is not running")

    def require_live(self) -> None:
        """Raises NotRunning where its tree is not put together; between two starts it is."""
        if not self.state.is_live:
            raise NotRunning(f"Container {self.id} is not running")

    async def begin(self, reader: Connection | None, wanted: tuple[bool, bool, bool], answer: Any) -> None:
        """Start it; `answer` is called before the `reader` is sent anything.

        Raises what assembling, the network and the runtime raise; then everything is cleaned up already.
        """
        self._alive = state.hold(self.folder, state.ALIVE)
        self.on_begin()
        try:
            groups.hasten()
            self._assemble()
            await self._start(reader, wanted, answer)
        except BaseException as error:
            code = error.exit_code if isinstance(error, VeneerError) and error.exit_code > 1 else _FAILED_CODE
            self._finish(code, status=self.state.at_rest, error=str(error))
            raise
        living = self.loop.spawn(self._live())
        # An error of ours: the container ends with us, and the state will be read as what that is.
        living.then(lambda: self.over.set(_FAILED_CODE))

    def _assemble(self) -> None:
        here = host()
        self.assembly = Assembly(self.job, here, self.host_proc)
        if self.assembly.cgroup:
            groups.remove(self.assembly.cgroup)  # of a monitor that was killed
        self.assembly.write(self.network.open(self.assembly))
        given = self.job["runtime"]
        runtime = Runtime(given["name"], given["path"], "", given.get("hides", ""))
        self.calls = Calls(self.loop, runtime, here, self.assembly.folder)
        self.execs = Execs(self.loop, self.assembly, self.calls, self.tell)
        self._log = _log_of(self.job)
        self.log_path = None if self._log is None else self._log.path
        self.note(cgroup=self.assembly.cgroup, networks=self.network.settings)
        volumes.tell(self.job, mounted=True)

    async def _start(self, reader: Connection | None, wanted: tuple[bool, bool, bool], answer: Any) -> None:
        config = self.assembly.config
        streams = Streams(
            self.loop, self._log, terminal=bool(config.get("Tty")), keeps_input=bool(config.get("OpenStdin")),
            once=bool(config.get("StdinOnce")),
        )  # fmt: skip
        self._count += 1
        name = f"{self.id[:12]}-{self._count}"
        word = str(self.job["args"][0]) if self.job["args"] else ""
        self.pid, self._ended, terminal = await started(
            self.calls.run, (name, word), streams, self.assembly, f"tty-{self._count}"
        )
        self.name, self.streams = name, streams
        self._began = time.monotonic()
        health = self._health_check()
        self.note(status=state.RUNNING, pid=host_pid(self.host_proc, self.pid), started_at=state.rfc3339(), error="",
                   exit_code=0, oom_killed=False, restart_count=self.restarts.count,
                   health=health and health.document())  # fmt: skip
        self.tell("start")
        answer()
        if reader is not None:
            stdin, stdout, stderr = wanted
            streams.attach(reader, stdin=stdin, stdout=stdout, stderr=stderr)
        streams.started(terminal)
        self.assembly.keep_filter(name)
        if self.assembly.cgroup:
            self._memory = groups.OomWatch(self.loop, self.assembly.cgroup, lambda: self.tell("oom"))
        if health is not None:
            self._watch_health(health)

    async def _live(self) -> None:
        """Until it ends for good."""
        while True:
            code = await self._ended
            self.stillness.steady = Future()
            await self._see_out(code)
            wait = None if self._stopping.is_set else self.restarts.after(code, time.monotonic() - self._began)
            self.note(exit_code=code, finished_at=state.rfc3339())
            lost = self.assembly.lost
            if wait is None or lost:
                break
            self.note(status=state.RESTARTING, pid=0)
            self._tell_exit(code)
            self.stillness.steady.set(None)
            if await self.loop.within(wait, self._stopping) or await self._is_stopped_while_held():
                break
            self.stillness.steady = Future()
            try:
                await self._start(None, (False, False, False), lambda: None)
            except VeneerError as error:
                self.note(error=error.message)
                break
            self.stillness.steady.set(None)
            if self._stopping.is_set:  # somebody stopped it while it was being started, and waits for its end
                self.signal(signal.SIGKILL)
        self._finish(code, status=state.EXITED, error=lost)
        self.stillness.steady.set(None)
        if self.job.get("auto_remove"):
            from veneer.run.monitor.removal import remove

            await remove(self)
        self.over.set(code)

    async def _is_stopped_while_held(self) -> bool:
        """Wait until nobody holds off its next start; whether it is not to be started at all any more."""
        while not (self.stillness.let_go.is_set or self._stopping.is_set):
            either: Future[None] = Future()
            for each in (self.stillness.let_go, self._stopping):
                each.then(lambda either=either: either.set(None))  # type: ignore[misc]
            await either
        return self._stopping.is_set

    async def _see_out(self, code: int) -> None:
        """Its first process has ended: so will everything of it."""
        if self._health is not None:
            self._health.cancel()
        cgroup = self.assembly.cgroup
        if cgroup:
            self.note(oom_killed=self._memory.end())
            groups.remove(cgroup)
        elif not self._has_own_pids:
            groups.end_children()
        self.streams.ended()
        await self.loop.within(LINGER_SECONDS, self.streams.drained)
        self.streams.abandon()
        if self._log is not None:
            self._log.end()
        self.tell("die", {"exitCode": str(code)})

    def _tell_exit(self, code: int) -> None:
        """To who waits for it, and who reads it."""
        waiting, self.next_exit = self.next_exit, Future()
        waiting.set(code)
        self.streams.end_readers(code)

    def _finish(self, code: int, *, status: str, error: str = "") -> None:
        """Nothing of it is left, and the state says so; who comes now finds nobody."""
        # A plan of a network that was not taken away stays: by it the next one who looks does so.
        steps: list[Callable[[], object]] = [lambda: self.network.close(self.folder)]
        if hasattr(self, "execs"):
            steps.append(lambda: volumes.tell(self.job, mounted=False))
        if hasattr(self, "assembly"):
            steps += [lambda: groups.remove(self.assembly.cgroup)] * bool(self.assembly.cgroup)
            steps.append(self.assembly.close)
        for step in steps:
            try:
                step()
            except (VeneerError, OSError) as failure:
                self.loop.report(failure)  # and the state is written nevertheless
        if self._log is not None:
            self._log.close()
            if self._log.lost and not error:
                error = f"{self._log.lost} bytes could not be written to its log: {self._log.problem}"
        try:
            self.note(status=status, pid=0, monitor=0, exit_code=code, error=error or self.state.error, networks={},
                       cgroup="")  # fmt: skip
        except OSError as failure:
            # A disk that failed.  What was written last is read, without us, as that it has ended.
            self.loop.report(failure)
        self.on_end()
        if self._alive is not None:
            os.close(self._alive)
            self._alive = None
        if hasattr(self, "streams"):
            self._tell_exit(code)
        self.ended.set(code)

    def end_soon(self) -> bool:
        """It is not to be started again; whether it ends by itself now, being between two starts."""
        is_between = self.state.status == state.RESTARTING  # whoever waits for this goes on at once
        self._stopping.set(None)
        return is_between

    def signal(self, number: int) -> None:
        """Send its first process a signal."""
        if not self._ended.is_set:
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.kill(self.pid, number)

    async def stop(self, seconds: float | None, number: int | None) -> None:
        """See Client.stop."""
        if self.end_soon():
            await self.ended
            return
        self.require_running()
        config = self.assembly.config
        if seconds is None:
            given = config.get("StopTimeout")
            seconds = STOP_SECONDS if given is None else float(given)
        self._kill(number or self.stop_signal or signal.SIGTERM)
        if await self._goes_on_within(seconds):
            await self.stillness.unpause()
        if seconds < 0:
            await self._ended
        elif not self.stillness.let_go.is_set or not await self.loop.within(seconds, self._ended):
            self._kill(signal.SIGKILL)
            await self.die()
        await self.ended
        self.tell("stop")

    async def _goes_on_within(self, seconds: float) -> bool:
        """Whether nobody looks at its files any more, who is to see one moment of them; negative: wait for ever."""
        if seconds < 0:
            await self.stillness.released()
        elif not self.stillness.let_go.is_set:
            await self.loop.within(seconds, self.stillness.let_go)
        return self.stillness.let_go.is_set

    async def die(self) -> None:
        """Have it go on, killed as it is; but while somebody looks at its files only if it cannot die as it stands."""
        if self.stillness.let_go.is_set or not await self.loop.within(_DYING_SECONDS, self._ended):
            await self.stillness.unpause()

    async def ends_within(self, seconds: float) -> bool:
        """Whether its first process ends in that time."""
        return await self.loop.within(seconds, self._ended)

    @property
    def has_ended(self) -> bool:
        return self._ended.is_set

    def _kill(self, number: int) -> None:
        self.signal(number)
        self.tell("kill", {"signal": str(int(number))})

    def tell(self, action: str, attributes: Mapping[str, str] | None = None) -> None:
        """An event of the container."""
        from veneer.store import events

        job = self.job
        about = {**(job.get("labels") or {}), "image": str(job.get("image_name") or job["image"]), "name": self.called}
        events.append(Path(job["root"]), type="container", action=action, id=self.id,
                      attributes={**about, **(attributes or {})})  # fmt: skip

    @property
    def _has_own_pids(self) -> bool:
        return not str(self.assembly.host_config.get("PidMode") or "")

    def note(self, **changes: Any) -> None:
        """Have its state be so, also for whoever reads it."""
        self.state = self.state.replaced(**changes)
        state.write(self.folder, self.state)

    def _health_check(self) -> Health | None:
        check = self.job.get("health")
        command = command_of(check, self.assembly.config.get("Shell"))
        return Health(check, command) if check and command else None

    def _watch_health(self, health: Health) -> None:
        name = self.name

        def changed(status: str) -> None:
            self.note(health=health.document())
            if status:
                self.tell(f"health_status: {status}")

        async def probe(words: Sequence[str], seconds: float) -> tuple[int, bytes]:
            if self.state.status == state.PAUSED:  # nothing can be run in it
                await self.stillness.goes_on
            return await self.execs.probe(name, words, seconds)

        self._health = self.loop.spawn(health.watch(self.loop, probe, changed))


def _log_of(job: Mapping[str, Any]) -> LogFile | None:
    given = job.get("log") or {}
    if given.get("driver", "json-file") == "none":
        return None
    from veneer.run.monitor.logfile import LogFile

    path = Path(given.get("path") or Path(job["folder"]) / f"{job['id']}-json.log")
    return LogFile(path, max_size=int(given.get("max_size") or 0), max_files=int(given.get("max_file") or 1),
                   attributes=given.get("attributes"))  # fmt: skip
