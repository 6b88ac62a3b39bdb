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
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from veneer.drivers import mount_syscalls as sys_mount
from veneer.run.failures import NoNamespaces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from subprocess import Popen

T = TypeVar("T")

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
"""Of every program that is started here: nothing of ours."""


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
    try:
        thread.join()
    except BaseException:
        # An interrupt: what the thread works with must not be taken from under its hands.
        thread.join()
        raise
    if failures:
        raise failures[0]
    return results[0]


class Enclosure:
    """The namespaces, while they last; made by `enclosed`."""

    def __init__(self, warden: Popen[bytes]) -> None:
        self._warden = warden
        self._started: list[Popen[bytes]] = []
        # No race: the process cannot be gone while nobody has waited for it.
        self._namespaces: list[tuple[int, int]] = []
        try:
            for name, kind in (("mnt", sys_mount.CLONE_NEWNS), ("pid", sys_mount.CLONE_NEWPID)):
                self._namespaces.append((os.open(f"/proc/{warden.pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC), kind))
        except BaseException:
            self.close()
            raise

    @property
    def network(self) -> str:
        """The path of its network namespace, where our own /proc is mounted."""
        return f"/proc/{self._warden.pid}/ns/net"

    def inside(self, work: Callable[[], T]) -> T:
        """What `work` gives, done in the mount namespace."""

        def entered() -> T:
            sys_mount.unshare(sys_mount.CLONE_FS)  # else the kernel refuses: other threads share our directory
            for fd, kind in self._namespaces:
                sys_mount.setns(fd, kind)
            return work()

        return in_own_thread(entered)

    def start(
        self,
        words: Sequence[str],
        *,
        output: int = subprocess.DEVNULL,
        errors: int = subprocess.PIPE,
        fds: Sequence[int] = (),
    ) -> Popen[bytes]:
        """Start a program in the mount and the PID namespace; its network is ours.

        `output` and `errors` are for its standard streams: descriptors, or what subprocess has for them.  Whoever
        takes a pipe has to read it.  The program has `fds` besides.
        """

        def started() -> Popen[bytes]:
            # A session of its own: what a terminal sends to us is for us to act on.
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, cwd="/", env=ENVIRONMENT,
                pass_fds=fds, start_new_session=True,
            )  # fmt: skip
            self._started.append(process)
            return process

        return self.inside(started)

    def kill(self) -> None:
        """End every process inside, now."""
        self._warden.kill()

    def close(self) -> None:
        """End every process inside, wait for that, let go."""
        self._warden.kill()
        # Those first: the warden is not gone before the last process of its namespace is.
        for process in (*self._started, self._warden):
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
        for fd, _ in self._namespaces:
            os.close(fd)


@contextlib.contextmanager
def enclosed(*, network: bool = False) -> Iterator[Enclosure]:
    """An enclosure for this `with`; with a `network` of its own, in which nothing is up, if asked.

    Raises NoNamespaces.
    """
    flags = sys_mount.CLONE_NEWNS | sys_mount.CLONE_NEWPID | (sys_mount.CLONE_NEWNET if network else 0)
    try:
        enclosure = Enclosure(in_own_thread(lambda: _warden(flags)))
    except PermissionError as error:
        raise NoNamespaces(
            "a container needs namespaces, and this user may not make them", hint="run as root, or in a user namespace"
        ) from error
    try:
        yield enclosure
    finally:
        enclosure.close()


def _warden(flags: int) -> Popen[bytes]:
    sys_mount.unshare(flags)
    sys_mount.mount(b"none", b"/", None, sys_mount.MS_REC | sys_mount.MS_PRIVATE, None)
    return subprocess.Popen(
        ["/bin/sh", "-c", "read -r _"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        cwd="/", env=ENVIRONMENT, start_new_session=True,
    )  # fmt: skip
