"""A FUSE server as a process of its own."""

from __future__ import annotations

import os
import sys

from veneer.drivers.fuse.changes import WritableUnion
from veneer.drivers.fuse.nodes import Union
from veneer.drivers.fuse.server import Server


def main() -> None:
    """`OPAQUE DEVICE LEASH HAS_UPPER WORK BRANCH...`: descriptors that are open, -1 for none; OPAQUE may be empty.

    Returns to whoever started it once the mount answers, and serves on in a child of its own, whose number it says.
    LEASH is a descriptor of the process (pidfd) that made the mount: when that ends, so does this one; -1: it ends with
    the mount alone.
    """
    import _thread
    import gc
    import resource

    opaque, numbers = sys.argv[1], sys.argv[2 : sys.argv.index("--")]
    device, leash, has_upper, work, *roots = map(int, numbers)
    os.umask(0)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    room = max(16, min(hard, 16_384) - 2 * len(roots) - 64)
    if has_upper:
        union: Union = WritableUnion(roots, work, descriptors=room, opaque=opaque)
    else:
        union = Union(roots, descriptors=room, opaque=opaque)
    server = Server(device, union)
    if not server.greet():
        sys.exit(1)
    if own := os.fork():
        os.write(1, b"%d" % own)
        os._exit(0)
    nobody = os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)
    for each in (1, 2):
        os.dup2(nobody, each)  # whoever started us reads both to their end
    if leash >= 0:
        _make_room(device, room)
        _thread.start_new_thread(_end_with, (leash,))
    else:
        _leave_mounts()
    gc.freeze()
    gc.disable()  # nodes are taken apart when they are forgotten
    server.serve()
    os._exit(0)


def _leave_mounts() -> None:
    """Be in a mount namespace with nothing in it but /proc, which the union goes by.

    The one this process was started in may be there for one shell.  It would keep that, with all that is mounted there,
    what it serves itself among it, and so go on for ever.  Where the kernel refuses (in a chroot, for one) it stays.
    Source: pivot_root(2), on pivot_root(".", ".").
    """
    import fcntl  # noqa: F401 - a copy up wants it, and there will be no files to import from
    from pathlib import Path

    from veneer.drivers import mount_syscalls as kernel

    before = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        kernel.unshare(kernel.CLONE_NEWNS)
    except OSError:
        os.close(before)
        return
    try:
        kernel.mount(b"none", b"/", None, kernel.MS_REC | kernel.MS_PRIVATE, None)
        kernel.mount(b"none", b"/dev", b"tmpfs", 0, b"size=4k")
        Path("/dev/proc").mkdir()
        kernel.mount(b"/proc", b"/dev/proc", None, kernel.MS_BIND | kernel.MS_REC, None)
        os.chdir("/dev")
        kernel.pivot_root(b".", b".")
        kernel.umount2(b".", kernel.MNT_DETACH)
        os.chdir("/")
    except OSError:
        kernel.setns(before, kernel.CLONE_NEWNS)
    finally:
        os.close(before)


def _make_room(some: int, descriptors: int) -> None:
    """Let the table of open files be now as large as it may become.

    Each time it grows in a process of two threads the kernel waits until no processor looks at the old one, tens of
    milliseconds that somebody's request would take longer.  Source: Linux fs/file.c, expand_fdtable.
    """
    import fcntl

    os.close(fcntl.fcntl(some, fcntl.F_DUPFD_CLOEXEC, descriptors))


def _end_with(process: int) -> None:
    """Wait for the end of a process; then end."""
    import select

    ended = select.poll()
    ended.register(process, select.POLLIN)
    ended.poll()
    os._exit(0)
