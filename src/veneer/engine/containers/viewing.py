"""A container's tree as a copy from above one of its mounts, or to there, is to see it: see veneer.run.view."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

from veneer.engine.containers import mounts
from veneer.run.monitor import client
from veneer.run.monitor import state as states
from veneer.run.monitor.stream import MonitorGone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from veneer.engine.engine import Engine
    from veneer.store.containers import Container

_FOLDER = "view-"


@contextlib.contextmanager
def at_rest(engine: Engine, container: Container, *, reading: bool) -> Iterator[None]:
    """Nobody starts it or writes to it meanwhile; `reading`: others may read it."""
    from veneer.store.locks import locked

    # Who writes to a pipe what he reads here, and whoever reads that here, wait for one another: so readers share.
    with locked(engine.store.root / "locks", [f"container-{container.id}"], shared=reading):
        yield


@contextlib.contextmanager
def viewed(engine: Engine, container: Container, *, reading: bool) -> Iterator[int]:
    """A descriptor of the container's root directory, its volumes and binds in their places."""
    store = engine.store
    folder = store.containers.folder(container.id)
    with contextlib.ExitStack() as stack:
        root = -1
        if states.read(folder).is_live:
            with contextlib.suppress(client.NotRunning, MonitorGone):
                root = stack.enter_context(client.connect(folder).view())
        if root < 0:
            stack.enter_context(at_rest(engine, container, reading=reading))
            root = stack.enter_context(
                _held(engine, container, folder / (_FOLDER + os.urandom(6).hex()), reading=reading)
            )
        yield root


@contextlib.contextmanager
def _held(engine: Engine, container: Container, at: Path, *, reading: bool) -> Iterator[int]:
    """Of one that does not run, by a thread in a mount namespace of its own, which ends with it."""
    found: list[int | BaseException] = []
    is_there, is_over = threading.Event(), threading.Event()

    def hold() -> None:
        from veneer.drivers import mount as mounting
        from veneer.drivers import mount_syscalls as kernel
        from veneer.run import view

        try:
            # Not to be propagated, and none of it kept by anybody else.
            kernel.unshare(kernel.CLONE_NEWNS)
            kernel.mount(b"none", b"/", None, kernel.MS_REC | kernel.MS_PRIVATE, None)
            with (
                mounting.mounted(engine.store.containers.mounts(container, readonly=reading), at, lazy=True),
                view.placed(at, mounts.binds(container.document["Mounts"])) as root,
            ):
                found.append(os.dup(root))
                is_there.set()
                is_over.wait()
        except BaseException as error:  # noqa: BLE001 - raised where somebody waits for it
            found.append(error)
        finally:
            is_there.set()

    at.mkdir(mode=0o700)
    thread = threading.Thread(target=hold, name="view")
    thread.start()
    try:
        is_there.wait()
        first = found[0]
        if isinstance(first, BaseException):
            raise first
        try:
            yield first
        finally:
            os.close(first)
    finally:
        is_over.set()
        thread.join()
        at.rmdir()
    if isinstance(found[-1], BaseException):
        raise found[-1]
