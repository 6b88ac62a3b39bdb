"""The device opened, its server started: what every mount of such a union needs, whoever its layers belong to.

Source: Linux Documentation/filesystems/fuse.rst; mount.fuse3(8) for the options.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from veneer.drivers.mount import Mount, MountFailed, MountUnsupported, explained, open_layer

DEVICE = "/dev/fuse"
_NUMBER = os.makedev(10, 229)
_SOON = 500
"""Milliseconds that a server whose mount is gone may take to end."""
OPTIONS = ("rootmode=40755", "user_id=0", "group_id=0", "default_permissions", "allow_other")
_START = """# veneer: FUSE server of {}
import sys
sys.path[:] = sys.argv[sys.argv.index("--") + 1 :]
from veneer.drivers.fuse.process import main
main()
"""
_writing: dict[str, int] = {}
"""What this process has servers write to as long as it lives -> the server (pidfd)."""


@contextlib.contextmanager
def serving(mount: Mount, what: str, *, upper: int = -1, opaque: bytes = b"", lasting: bool = False) -> Iterator[Mount]:
    """The mount with a device of its own; once it is made, a process serves its layers there.

    `upper` is the mount's upper directory, open, and locked if that is to last as long as the server; `what` a list of
    processes shows as served; directories are opaque by the attribute `opaque`, too.  The server ends with the mount,
    and unless it is `lasting`, with this process.  Raises LayerMissing, MountUnsupported, MountFailed.
    """
    with contextlib.ExitStack() as held:
        if upper < 0 and mount.upper is not None:
            upper = _opened(mount.upper, held)
        device = opened()
        held.callback(os.close, device)
        yield mount.replaced(options=(f"fd={device}", *mount.options))
        work = _opened(mount.work, held) if mount.work is not None else -1
        roots = [*([upper] if upper >= 0 else []), *(_opened(lower, held) for lower in mount.lowers)]
        server = _start(device, work, roots, what, has_upper=upper >= 0, opaque=opaque, lasting=lasting)
        if upper >= 0 and not lasting:
            _keep_in_sight(what, server)


def opened() -> int:
    """The device, open.  Raises MountUnsupported."""
    try:
        device = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise MountUnsupported(
            f"cannot open {DEVICE}: {(error.strerror or '').lower()}",
            hint="modprobe fuse; the user must be let write to it",
        ) from error
    status = os.fstat(device)
    if not stat.S_ISCHR(status.st_mode) or status.st_rdev != _NUMBER:
        os.close(device)
        raise MountUnsupported(
            f"{DEVICE} is not FUSE's device, but something else in its place",
            hint="docker run --device /dev/fuse gives it to a container",
        )
    os.set_blocking(device, True)
    return device


def try_out() -> None:
    """Make a FUSE mount that nobody sees nor serves.  Raises MountUnsupported, MountFailed."""
    from veneer.drivers import mount_syscalls as sys_mount

    device = opened()
    try:
        context = sys_mount.fsopen("fuse")
        try:
            sys_mount.fsconfig(context, sys_mount.SET_STRING, "source", b"veneer")
            for option in (f"fd={device}", *OPTIONS):
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


def locked(branch: Path, patience: float, how: int = fcntl.LOCK_EX) -> int | None:
    """The directory `branch`, open and locked (flock); None if somebody else has it for `patience` seconds."""
    fd = os.open(branch, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    end = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(fd, how | fcntl.LOCK_NB)
            return fd
        except BlockingIOError:
            if time.monotonic() > end:
                os.close(fd)
                return None
            time.sleep(0.002)
        except BaseException:
            os.close(fd)
            raise


def _keep_in_sight(what: str, server: int) -> None:
    if (before := _writing.pop(what, -1)) >= 0:
        os.close(before)
    with contextlib.suppress(ProcessLookupError):  # it was killed already
        _writing[what] = os.pidfd_open(server)


def see_end(what: str) -> None:
    """Have the server end that this process has started for `what`, whose mount was undone.

    It does so by itself, unless somebody made a mount namespace meanwhile, which has that mount still.  It is killed
    then: nobody is to write there any more, and the kernel has handed over all that was written when it was closed.
    """
    import select
    import signal

    server = _writing.pop(what, -1)
    if server < 0:
        return
    try:
        ended = select.poll()
        ended.register(server, select.POLLIN)
        if not ended.poll(_SOON):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(server, signal.SIGKILL)
    finally:
        os.close(server)


def _opened(directory: str | Path, held: contextlib.ExitStack) -> int:
    fd = open_layer(directory, os.O_RDONLY)
    held.callback(os.close, fd)
    return fd


def _start(
    device: int, work: int, roots: Sequence[int], served: str, *, has_upper: bool, opaque: bytes, lasting: bool
) -> int:
    """Have a process serve the device; when this returns it does.  Its number.  Raises MountFailed."""
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
            [sys.executable, "-I", "-S", "-c", code, os.fsdecode(opaque),
             *map(str, (device, leash, int(has_upper), work, *roots)), "--", *path],
            stdin=subprocess.DEVNULL, capture_output=True, check=False, cwd="/",
            pass_fds=[fd for fd in (device, leash, work, *roots) if fd >= 0], start_new_session=True,
        )  # fmt: skip
    if done.returncode:
        said = done.stderr.decode(errors="backslashreplace").strip()
        raise MountFailed(f"the server of a FUSE mount did not start: {said[-2000:] or done.returncode}")
    return int(done.stdout)
