"""Namespaces that end with us: where a container is put together and run, so that nothing of it can stay behind.

An enclosure is a private mount namespace and a PID namespace (a network namespace, too, if it is asked for), held by
their first process, the warden: a shell that waits for the end of a pipe whose other end is ours.  However we end, by
`kill -9` too, the pipe ends, so does the warden, and with the first process of a PID namespace the kernel ends all
others in it.  Mounts made inside are seen by nobody else, and go with the last process.

Threads, not processes, go inside: namespaces belong to a thread, a program started by one begins in them, and no
Python code runs between a fork and an exec.  Sources: pid_namespaces(7), mount_namespaces(7), setns(2).
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from veneer.drivers import mount_syscalls as sys_mount
from veneer.errors import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from subprocess import Popen

T = TypeVar("T")

# Programs inside have PIDs of their own, so they need a /proc of their own.
_WARDEN = "mount -t proc -o nosuid,nodev,noexec proc /proc && echo ready && read -r _"
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


class NoNamespaces(Unsupported):
    """This user, or this kernel, cannot make the namespaces a container needs."""


def in_own_thread(work: Callable[[], T]) -> T:
    """What `work` gives, done by a thread that nobody else uses, and that ends with it.  Raises what it raises."""
    results: list[T] = []
    failures: list[BaseException] = []

    def caught() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again below, in the thread that asked
            failures.append(error)

    thread = threading.Thread(target=caught, name="veneer-enclosure")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


class Enclosure:
    """The namespaces, while they last; made by `enclosed`."""

    def __init__(self, warden: Popen[bytes]) -> None:
        self._warden = warden
        self._namespaces: list[tuple[int, int]] = []

    def enter(self) -> None:
        """Take hold of the namespaces."""
        for name, kind in (("mnt", sys_mount.CLONE_NEWNS), ("pid", sys_mount.CLONE_NEWPID)):
            fd = os.open(f"/proc/{self._warden.pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
            self._namespaces.append((fd, kind))

    def inside(self, work: Callable[[], T]) -> T:
        """What `work` gives, done in the mount namespace; a program it starts is in the PID namespace as well.

        The network stays the caller's; the enclosure's own is /proc/1/ns/net for programs inside.
        """

        def entered() -> T:
            sys_mount.unshare(sys_mount.CLONE_FS)  # else the kernel refuses: other threads share our directory
            for fd, kind in self._namespaces:
                sys_mount.setns(fd, kind)
            return work()

        return in_own_thread(entered)

    def kill(self) -> None:
        """End every process inside, now."""
        self._warden.kill()

    def close(self) -> None:
        """End every process inside, wait for that, let go."""
        assert self._warden.stdin is not None and self._warden.stdout is not None
        self._warden.kill()
        self._warden.wait()
        self._warden.stdin.close()
        self._warden.stdout.close()
        for fd, _ in self._namespaces:
            os.close(fd)


@contextlib.contextmanager
def enclosed(*, network: bool = False) -> Iterator[Enclosure]:
    """An enclosure for this `with`; with a `network` of its own, in which nothing is up, if asked.

    Raises NoNamespaces.
    """
    flags = sys_mount.CLONE_NEWNS | sys_mount.CLONE_NEWPID | (sys_mount.CLONE_NEWNET if network else 0)
    try:
        enclosure = Enclosure(in_own_thread(lambda: _start(flags)))
    except PermissionError as error:
        raise NoNamespaces(
            "a container needs namespaces, and this user may not make them", hint="run as root, or in a user namespace"
        ) from error
    try:
        _wait_until_ready(enclosure)
        enclosure.enter()
        yield enclosure
    finally:
        enclosure.close()


def _start(flags: int) -> Popen[bytes]:
    sys_mount.unshare(flags | sys_mount.CLONE_FS)
    sys_mount.mount(b"none", b"/", None, sys_mount.MS_REC | sys_mount.MS_PRIVATE, None)
    # A session of its own: what a terminal sends us is for us to act on.
    return subprocess.Popen(
        ["/bin/sh", "-c", _WARDEN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=ENVIRONMENT, cwd="/", start_new_session=True,
    )  # fmt: skip


def _wait_until_ready(enclosure: Enclosure) -> None:
    stream = enclosure._warden.stdout
    assert stream is not None
    said = stream.readline()
    if said != b"ready\n":
        what = (said + stream.read()).decode(errors="replace").strip()
        raise NoNamespaces(
            f"a container needs a /proc of its own, and it could not be mounted: {what}",
            hint="inside another container its /proc must not be masked",
        )
