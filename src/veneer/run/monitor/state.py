"""What happened to a container: state.json, and whether its monitor lives to make it true.

The monitor writes, by renaming, and holds a lock on the file `alive` as long as it lives.  A state that says
"running" while nobody holds that lock is of a monitor that was killed, and is read as what that means: the kernel has
ended the container with it.  Source: fcntl(2), "Open file description locks"; moby container/state.go.

Where the disk has no room for another file the new state is written over the old one, whose block is there already,
between two stamps, so that a reader sees that it has read half of each.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import struct
import time

from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

CREATED, RUNNING, PAUSED, RESTARTING = "created", "running", "paused", "restarting"
REMOVING, EXITED, DEAD = "removing", "exited", "dead"
NEVER = "0001-01-01T00:00:00Z"
"""Docker's time of what has not happened."""
KILLED_CODE, RESTARTED_CODE = 137, 255
ALIVE, CARETAKER, SOCKET, FILE = "alive", "caretaker", "socket", "state.json"
_LIVE = (RUNNING, PAUSED, RESTARTING)
_FULL = (errno.ENOSPC, errno.EDQUOT)
_TICK_SECONDS = 0.005
_OFD_GETLK, _OFD_SETLK, _OFD_SETLKW = 36, 37, 38
_FLOCK = struct.Struct("hhqqi4x")
"""struct flock on 64-bit Linux: l_type, l_whence, l_start, l_len, l_pid and padding."""


class State(Value):
    """How a container is.  Times are RFC 3339 texts with nanoseconds; `pid` is the host's number of its first process.

    `error`: why it could not start, or what ended it besides itself.  `health`: docker's object ({"Status",
    "FailingStreak", "Log"}), None without a check.  `networks`: what veneer.run.network's setup gave.  `boot_id`: which
    run of the machine wrote it.  `cgroup`: path of its control group, "" for none.  `monitor`: the host's number of the
    monitor, 0 for none.
    """

    __slots__ = ()
    status: str = CREATED
    pid: int = 0
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = False
    started_at: str = NEVER
    finished_at: str = NEVER
    restart_count: int = 0
    health: dict[str, Any] | None = None
    networks: dict[str, Any] = {}
    boot_id: str = ""
    cgroup: str = ""
    monitor: int = 0

    @property
    def is_live(self) -> bool:
        """Whether a monitor has to do with it: running, paused, or about to be started again."""
        return self.status in _LIVE

    @property
    def at_rest(self) -> str:
        """The status of a container with this past that does not run."""
        return CREATED if self.started_at == NEVER else EXITED


def read(folder: Path) -> State:
    """The state of the container whose folder this is, as it truly is; one that was never started is "created"."""
    written = last_written(folder)
    if not written.is_live or is_held(folder, ALIVE):
        return written
    # The monitor may have ended between the two looks, and then it has said how.
    again = last_written(folder)
    if not again.is_live:
        return again
    same_boot = again.boot_id == boot_id()
    if same_boot and again.cgroup:
        from veneer.run.monitor import groups

        groups.thaw(again.cgroup)  # or what was paused stays, though the kernel has ended it
    return again.replaced(
        status=EXITED,
        pid=0,
        monitor=0,
        exit_code=KILLED_CODE if same_boot else RESTARTED_CODE,
        error="the monitor was killed" if same_boot else "the machine was restarted",
        finished_at=_last_known(again, folder),
        networks={},
    )


def _last_known(written: State, folder: Path) -> str:
    """The latest time at which something was known of it; the clock that files get theirs from runs a little behind."""
    return max(written.started_at, rfc3339(os.stat(folder / FILE).st_mtime_ns), key=lambda text: text.rstrip("Z"))


def settled(folder: Path) -> State:
    """As `read`, but not in the moments in which a monitor lives and its container does not: it is about to start, by
    somebody's command that was killed meanwhile, or has just ended."""
    while not (found := read(folder)).is_live and is_held(folder, ALIVE):
        time.sleep(_TICK_SECONDS)
    return found


def last_written(folder: Path) -> State:
    """The state as it was written last, whether it is still true or not: what is to be cleaned up."""
    while True:
        try:
            with open(folder / FILE, "rb") as file:
                text = file.read()
        except FileNotFoundError:
            return State()
        try:
            found = json.loads(text)
        except ValueError:
            if b"stamp" not in text:
                raise
            continue  # it is being written over
        if found.get("stamp") == found.get("stamp again"):
            return State(**{name: found[name] for name in State._fields if name in found})  # type: ignore[attr-defined]


def write(folder: Path, state: State) -> None:
    """Have `state` be what is read from now on.  For the monitor, and where none lives.

    On a disk that is full this works where a state was written before.
    """
    content = dict(zip(State._fields, state, strict=True))  # type: ignore[attr-defined, call-overload]
    new = folder / f".{FILE}.{os.getpid()}"
    try:
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(fd, "w", encoding="utf-8") as file:
            file.write(json.dumps(content))
        os.replace(new, folder / FILE)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        new.unlink(missing_ok=True)
        if not _written_over(folder / FILE, content):
            raise


def _written_over(path: Path, content: dict[str, Any]) -> bool:
    """Write a state where the last one is; whether it had room there, if need be without what health checks said."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        status = os.fstat(fd)
        stamp = time.time_ns()
        for health in (content["health"], content["health"] and {**content["health"], "Log": []}):
            text = json.dumps({"stamp": stamp, **content, "health": health, "stamp again": stamp}).encode()
            if len(text) <= status.st_blocks * 512:
                # Blanks over what is left of the last one: were it cut off first, a reader could find nothing.
                os.pwrite(fd, text.ljust(status.st_size), 0)
                return True
        return False
    finally:
        os.close(fd)


def hold(folder: Path, name: str, *, wait: bool = True) -> int | None:
    """Lock the file `name` (ALIVE, CARETAKER): a descriptor that holds it until it is closed.

    None if somebody else holds it and we are not to `wait`.
    """
    fd = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.fcntl(fd, _OFD_SETLKW if wait else _OFD_SETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0))
    except BlockingIOError:
        os.close(fd)
        return None
    except BaseException:
        os.close(fd)
        raise
    return fd


def is_held(folder: Path, name: str) -> bool:
    """Whether somebody holds the lock; asking takes nothing, and so is in nobody's way."""
    try:
        fd = os.open(folder / name, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        answer = fcntl.fcntl(fd, _OFD_GETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0))
    finally:
        os.close(fd)
    return bool(_FLOCK.unpack(answer)[0] != fcntl.F_UNLCK)


def boot_id() -> str:
    """Which run of the machine this is."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def rfc3339(nanoseconds: int | None = None) -> str:
    """A time (now) as docker writes it: UTC, nine digits without their trailing zeros."""
    whole, rest = divmod(time.time_ns() if nanoseconds is None else nanoseconds, 1_000_000_000)
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + fraction + "Z"
