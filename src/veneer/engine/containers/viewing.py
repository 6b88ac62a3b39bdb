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

_FOLDER = "view"


@contextlib.contextmanager
def viewed(engine: Engine, container: Container) -> Iterator[int]:
    """A descriptor of the container's root directory, its volumes and binds in their places."""
    store = engine.store
    folder = store.containers.folder(container.id)
    with contextlib.ExitStack() as stack:
        root = -1
        if states.read(folder).is_live:
            with contextlib.suppress(client.NotRunning, MonitorGone):
                root = stack.enter_context(client.connect(folder).view())
        if root < 0:
            stack.enter_context(store.locked(f"container-{container.id}"))
            root = stack.enter_context(_at_rest(engine, container, folder / _FOLDER))
        yield root


@contextlib.contextmanager
def _at_rest(engine: Engine, container: Container, at: Path) -> Iterator[int]:
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
                mounting.mounted(engine.store.containers.mounts(container), at, lazy=True),
                view.placed(at, mounts.binds(container.document["Mounts"])) as root,
            ):
                found.append(os.dup(root))
                is_there.set()
                is_over.wait()
        except BaseException as error:  # noqa: BLE001 - raised where somebody waits for it
            found.append(error)
        finally:
            is_there.set()

    at.mkdir(mode=0o700, exist_ok=True)
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
