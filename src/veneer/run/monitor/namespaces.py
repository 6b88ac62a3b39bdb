"""Where a monitor lives: a mount namespace and a PID namespace of its own, whose first process it is.

With the first process of a PID namespace the kernel ends all others in it, and with the last process of a mount
namespace go its mounts: whatever ends the monitor ends the container and leaves nothing mounted.
Sources: pid_namespaces(7), mount_namespaces(7), pidfd_open(2), prctl(2) PR_SET_CHILD_SUBREAPER.
"""

from __future__ import annotations

import ctypes
import os

from veneer.drivers import mount_syscalls as kernel
from veneer.run.failures import NoNamespaces

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_SET_NAME, _SET_CHILD_SUBREAPER = 15, 36
_MS_SLAVE, _MS_NOEXEC = 1 << 19, 8


def enter(*, own_pids: bool) -> int:
    """Go on as the first process of new namespaces: a descriptor of the /proc there was before.

    This process ends here, and its child returns.  Without `own_pids` the PID namespace stays the same, and orphans of
    what the child starts become its children.  Raises NoNamespaces, in this process.
    """
    try:
        kernel.unshare(kernel.CLONE_NEWNS | (kernel.CLONE_NEWPID if own_pids else 0))
    except PermissionError as error:
        raise NoNamespaces(
            "a container needs namespaces, and this user may not make them", hint="run as root, or in a user namespace"
        ) from error
    # What is unmounted outside is unmounted here, too: nothing is kept busy by us.
    kernel.mount(b"none", b"/", None, kernel.MS_REC | _MS_SLAVE, None)
    if os.fork():
        os._exit(0)
    os.setsid()
    ctypes.CDLL(None).prctl(_SET_NAME, b"veneer-monitor")
    host_proc = os.open("/proc", _DIRECTORY)
    if own_pids:
        try:
            kernel.mount(b"proc", b"/proc", b"proc", kernel.MS_NOSUID | kernel.MS_NODEV | _MS_NOEXEC, None)
        except OSError as error:
            raise NoNamespaces(
                f"a container needs a /proc of its own, and it cannot be mounted: {error.strerror}",
                hint="where /proc is masked, as in a container without privileges, no container can be started",
            ) from error
    else:
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1)
    return host_proc


def host_pid(host_proc: int, pid: int) -> int:
    """The number that a process, of this number here, has in the PID namespace of that /proc; 0 if it is gone."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return 0
    try:
        info = os.open(f"self/fdinfo/{fd}", os.O_RDONLY | os.O_CLOEXEC, dir_fd=host_proc)
        with open(info, "rb") as lines:
            found = next((int(line.split()[1]) for line in lines if line.startswith(b"Pid:")), 0)
    finally:
        os.close(fd)
    return max(found, 0)


def rename(title: bytes) -> None:
    """Have `ps` show this as the command, as far as the words of the one we were forked from have room; and nothing of
    its variables, which may be secrets, is to be seen in /proc any more.  Source: proc_pid_stat(5), fields 48 to 51.
    """
    libc = ctypes.CDLL(None)
    libc.clearenv()
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    arguments, arguments_end, variables, variables_end = (int(field) for field in fields[45:49])
    if not 0 < arguments < arguments_end or not 0 < variables <= variables_end:
        return  # this kernel does not tell us
    room = arguments_end - arguments
    ctypes.memmove(arguments, title[: room - 1].ljust(room, b"\0"), room)
    ctypes.memset(variables, 0, variables_end - variables)
