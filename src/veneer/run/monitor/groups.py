"""The control group of one container: who is in it, whether memory ran out there, and its end.

Source: cgroups(7); Linux Documentation/admin-guide/cgroup-v2.rst (memory.events), cgroup-v1/memory.rst.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import select
import signal
import time
from pathlib import Path

from veneer.run.cgroups import hierarchies, rmdir
from veneer.run.runtime import CGROUPS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from veneer.run.monitor.loop import Loop

_PREFIX = "veneer-"
_PATIENCE_SECONDS = 5.0


def path_of(parent: str, id: str) -> str:
    """The name of a container's group in every hierarchy."""
    return f"/{parent.strip('/')}/{_PREFIX}{id}".replace("//", "/")


def pids(group: str) -> list[int]:
    """The processes in it, by their numbers here; those in groups below it, too."""
    top = _process_folder(group)
    found: set[int] = set()
    for folder, _, _ in os.walk(top) if top is not None else ():
        with contextlib.suppress(OSError):  # gone meanwhile
            found.update(map(int, Path(folder, "cgroup.procs").read_text().split()))
    return sorted(found - {0})


def hasten() -> None:
    """Have the kernel ready for a process to enter a group, while we do other things.

    It lets no process fork meanwhile, and tells every processor so, which takes a grace period of 10 ms; for some time
    after one move the next begins at once.  So we move where we are already.  Source: Linux kernel/cgroup/cgroup.c
    (cgroup_threadgroup_rwsem), kernel/rcu/sync.c.
    """
    _thread.start_new_thread(_stay, ())


def _stay() -> None:
    with contextlib.suppress(OSError, ValueError), open("/proc/self/cgroup", encoding="utf-8") as lines:
        _, controllers, path = lines.readline().rstrip("\n").split(":", 2)
        name = controllers.removeprefix("name=")
        with open(f"{CGROUPS}/{name}{path}/cgroup.procs", "w", encoding="ascii") as file:
            file.write("0")


def thaw(group: str) -> None:
    """Let whoever is frozen in it go on: of version 1, they end by no signal before."""
    for file, word in ((f"{CGROUPS}/freezer{group}/freezer.state", "THAWED"), (f"{CGROUPS}{group}/cgroup.freeze", "0")):
        with contextlib.suppress(OSError), open(file, "r+", encoding="ascii") as state:
            state.write(word)


def remove(group: str) -> None:
    """End whoever is in it, and take it away from every hierarchy; nothing where that is done already."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (left := pids(group)) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        thaw(group)
        time.sleep(0.002)
    for hierarchy in hierarchies():
        top = f"{hierarchy}{group}"
        for folder, _, _ in os.walk(top, topdown=False):
            rmdir(folder, deadline)


def end_children() -> None:
    """For a container without a group or a PID namespace of its own: what it has left behind is our child, or becomes
    that by its parent's end."""
    ended: set[int] = set()
    with contextlib.suppress(FileNotFoundError):  # this kernel does not tell
        children = Path(f"/proc/self/task/{os.getpid()}/children")
        while left := {*map(int, children.read_text().split())} - ended:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for pid in left:
                with contextlib.suppress(ChildProcessError):  # looked at alone: the loop has to know of it as well
                    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            ended |= left


class OomWatch:
    """Looks at whether memory runs out in a group that is new, to its `end`; calls `seen` each time that it does.

    Whoever is in it runs already, and may have run out before; and may end before it is known here that he did.
    """

    def __init__(self, loop: Loop, group: str, seen: Callable[[], object]) -> None:
        from veneer.run.monitor.loop import READ

        self._loop = loop
        self._group = group
        self._seen = seen
        self._is_told = False
        self._fds = _oom_watch(group)

        def look(_: int) -> None:
            _oom_seen(self._fds[0])
            self._tell()

        if self._fds:
            loop.watch(self._fds[0], READ, look)
        if _oom_kills(group):
            self._tell()

    def end(self) -> bool:
        """Look no more; whether the kernel has ended a process there for want of memory."""
        if self._fds:
            self._loop.watch(self._fds[0], 0, lambda _: None)
            for fd in self._fds:
                os.close(fd)
            self._fds = ()
        has_killed = _oom_kills(self._group) > 0
        if has_killed and not self._is_told:
            self._tell()
        return has_killed

    def _tell(self) -> None:
        self._is_told = True
        self._seen()


def _oom_kills(group: str) -> int:
    """How many processes the kernel ended there for want of memory."""
    total = 0
    for path in _oom_files(group):
        with contextlib.suppress(OSError), open(path, encoding="ascii") as lines:
            total += sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
    return total


def _oom_watch(group: str) -> tuple[int, ...]:
    """Descriptors: the first becomes readable whenever memory ran out there; all are to be closed.  () for none."""
    one = f"{CGROUPS}/memory{group}"
    with contextlib.suppress(OSError):
        if os.path.isdir(one):
            event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            control = os.open(f"{one}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
            Path(f"{one}/cgroup.event_control").write_text(f"{event} {control}")
            return event, control
        events = os.open(f"{CGROUPS}{group}/memory.events", os.O_RDONLY | os.O_CLOEXEC)
        poll = select.epoll()
        poll.register(events, select.EPOLLPRI | select.EPOLLET)
        return os.dup(poll.fileno()), events
    return ()


def _oom_seen(fd: int) -> None:
    """Have the descriptor wait for the next time."""
    with contextlib.suppress(BlockingIOError, OSError):  # of version 2 it is no counter: it has seen by being looked at
        os.eventfd_read(fd)
    with contextlib.suppress(ValueError, OSError), select.epoll.fromfd(os.dup(fd)) as poll:
        poll.poll(0)


def _oom_files(group: str) -> Iterator[str]:
    yield f"{CGROUPS}/memory{group}/memory.oom_control"
    yield f"{CGROUPS}{group}/memory.events"


def _process_folder(group: str) -> str | None:
    for hierarchy in hierarchies():
        if os.path.exists(f"{hierarchy}{group}/cgroup.procs"):
            return f"{hierarchy}{group}"
    return None
