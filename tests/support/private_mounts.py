"""A mount namespace of one's own: what is mounted there goes with the test, also when that is killed half way."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from tests.support.programs import run
from veneer.drivers import mount_syscalls as kernel

_OURS = "/proc/thread-self/ns/mnt"


@contextlib.contextmanager
def private_mounts() -> Iterator[None]:
    """Be there for this `with`: this thread, those it starts meanwhile, and the programs it runs."""
    before = os.open(_OURS, os.O_RDONLY | os.O_CLOEXEC)
    folder = os.getcwd()
    try:
        # Nobody may share a working directory with a thread that changes its namespace.
        kernel.unshare(kernel.CLONE_FS | kernel.CLONE_NEWNS)
        try:
            run("mount", "--make-rprivate", "/")
            yield
        finally:
            kernel.setns(before, kernel.CLONE_NEWNS)
            os.chdir(folder)
    finally:
        os.close(before)
