"""The union as a FUSE mount: the device opened, the mount described, its server started.

Whoever makes the mount starts the server; it ends with the mount, and with the process that made it.
Source: Linux Documentation/filesystems/fuse.rst; mount.fuse3(8) for the options.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from veneer.drivers.aufs import live
from veneer.drivers.aufs.live import Places
from veneer.drivers.mount import LayerMissing, Mount, MountFailed, MountUnsupported, explained
from veneer.values import Value

DEVICE = "/dev/fuse"
_START = """# veneer: FUSE server of {}
import sys
sys.path[:] = sys.argv[sys.argv.index("--") + 1 :]
from veneer.drivers.aufs.fuse_process import main
main()
"""
_OPTIONS = ("rootmode=40755", "user_id=0", "group_id=0", "default_permissions", "allow_other")
_PATIENCE = 10.0


def union(places: Places, lowers: Sequence[str], snapshot: str = "") -> Mount:
    """The branches of `lowers`, nearest first, below that of `snapshot` to write to; without one, to look at."""
    branches = places.branches(lowers)
    if not snapshot:
        return Mount("fuse", "veneer", _OPTIONS, branches, readonly=True, keeper=FuseUnion(places, "", tuple(lowers)))
    state = places.state(snapshot)
    return Mount(
        "fuse", "veneer", _OPTIONS, branches, places.branch(snapshot), state / "work",
        keeper=FuseUnion(places, snapshot, tuple(lowers)),
    )  # fmt: skip


class FuseUnion(Value):
    """The keeper of a FUSE mount.  `snapshot` is the one whose branch is written to, "" if none is; `lasting`: it
    outlives this process."""

    __slots__ = ()
    places: Places
    snapshot: str
    lowers: tuple[str, ...]
    lasting: bool = False

    @contextlib.contextmanager
    def making(self, mount: Mount) -> Iterator[Mount]:
        """The mount with a device of its own; once it is made, a process serves it."""
        with contextlib.ExitStack() as held:
            if self.snapshot:
                branch = held.enter_context(live.taken(self.places, self.snapshot, self.lowers))
                (self.places.state(self.snapshot) / "union").touch()
            elif mount.upper is not None:
                branch = _opened(mount.upper, held)
            else:
                branch = -1
            device = opened()
            held.callback(os.close, device)
            yield mount.replaced(options=(f"fd={device}", *mount.options))
            work = _opened(mount.work, held) if mount.work is not None else -1
            roots = [*([branch] if branch >= 0 else []), *(_opened(lower, held) for lower in mount.lowers)]
            _start(device, work, roots, self._served(), has_upper=branch >= 0, lasting=self.lasting)

    def _served(self) -> str:
        """What a list of processes shows the server as serving."""
        return f"snapshot {self.snapshot}" if self.snapshot else f"layers up to {next(iter(self.lowers), 'none')}"

    def ended(self) -> None:
        """The mount is gone: its server goes, too, and a branch it wrote to is plain."""
        if self.snapshot:
            live.finished(self.places, self.snapshot, patience=_PATIENCE)


def opened() -> int:
    """The device, open.  Raises MountUnsupported."""
    try:
        return os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise MountUnsupported(
            f"cannot open {DEVICE}: {(error.strerror or '').lower()}",
            hint="modprobe fuse; the user must be let write to it",
        ) from error


def try_out() -> None:
    """Make a FUSE mount that nobody sees nor serves.  Raises MountUnsupported, MountFailed."""
    from veneer.drivers import mount_syscalls as sys_mount

    device = opened()
    try:
        context = sys_mount.fsopen("fuse")
        try:
            sys_mount.fsconfig(context, sys_mount.SET_STRING, "source", b"veneer")
            for option in (f"fd={device}", *_OPTIONS):
                key, equals, value = option.partition("=")
                kind = sys_mount.SET_STRING if equals else sys_mount.SET_FLAG
                sys_mount.fsconfig(context, kind, key, value.encode() if equals else None)
            sys_mount.fsconfig(context, sys_mount.CMD_CREATE)
        finally:
            os.close(context)
    except OSError as error:
        raise explained(Mount("fuse", "veneer"), error) from error
    finally:
        os.close(device)


def _opened(directory: str | Path, held: contextlib.ExitStack) -> int:
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise LayerMissing(
            f"layer directory {directory} is missing", hint="veneer system check --repair makes it anew, or says how"
        ) from error
    held.callback(os.close, fd)
    return fd


def _start(device: int, work: int, roots: Sequence[int], served: str, *, has_upper: bool, lasting: bool) -> None:
    """Have a process serve the device; when this returns it does.  Raises MountFailed."""
    import subprocess
    import sys

    # As the workers that unpack: isolated, without site, and with no modules but those this process has.
    path = [entry for entry in sys.path if entry.startswith("/")]
    code = _START.format(served)
    with contextlib.ExitStack() as held:
        leash = -1
        if not lasting:
            leash = os.pidfd_open(os.getpid())
            held.callback(os.close, leash)
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", code, *map(str, (device, leash, int(has_upper), work, *roots)), "--",
             *path],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False, cwd="/",
            pass_fds=[fd for fd in (device, leash, work, *roots) if fd >= 0], start_new_session=True,
        )  # fmt: skip
    if done.returncode:
        said = done.stderr.decode(errors="backslashreplace").strip()
        raise MountFailed(f"the server of a FUSE mount did not start: {said[-2000:] or done.returncode}")
