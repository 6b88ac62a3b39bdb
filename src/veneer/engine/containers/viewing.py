"""A container's tree, got hold of: from its monitor if it runs, else mounted anew.

Who reads keeps the tree from being removed, and nothing else waits for him: he may write what he reads to a pipe, and
who reads that may need the container as well.  So what he has is a mount of his own, read-only, beside which the
container may be started; but of a driver that turns its files to another form for that, it may not.
Who writes to one at rest has it alone.
"""

from __future__ import annotations

import contextlib
import os
import threading

from veneer.engine.containers import mounts
from veneer.errors import Denied
from veneer.run.monitor import client
from veneer.run.monitor import state as states
from veneer.run.monitor.stream import MonitorGone
from veneer.store.locks import locked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from veneer.engine.engine import Engine
    from veneer.store.containers import Container
    from veneer.store.store import Store


class InOtherNamespace(Denied):
    """A container's tree is mounted by FUSE in a user namespace that this process is not in: it may not look there."""


def kept(store: Store, container: Container) -> contextlib.AbstractContextManager[int]:
    """What the container has written is not removed in this `with`.  Taken before the container's lock, as whoever
    removes it does: he then holds nothing that others want while he waits."""
    return locked(store.root / "locks", [store.containers.tree_key(container.id)], shared=True)


@contextlib.contextmanager
def reached(engine: Engine, container: Container, *, reading: bool, whole: bool = False) -> Iterator[tuple[int, bool]]:
    """A descriptor of the container's root directory, for this `with`; and whether it is of a container at rest, and so
    of `reading` not to be written to.

    `whole`: with its volumes and binds in their places (see veneer.run.view).  Raises NoSuchContainer for one that was
    removed meanwhile, TreeLost, InOtherNamespace.
    """
    store = engine.store
    folder = store.containers.folder(container.id)
    with contextlib.ExitStack() as stack:
        stack.enter_context(kept(store, container))
        lock = stack.enter_context(contextlib.ExitStack())
        while (root := _of_monitor(folder, stack, whole=whole)) < 0:
            lock.enter_context(locked(store.root / "locks", [f"container-{container.id}"], shared=reading))
            now = store.containers.get(container.id)
            if not states.settled(folder).is_live:
                root = stack.enter_context(_mounted(engine, now, reading=reading, whole=whole))
                if reading and not hasattr(store.containers.driver(now), "recover"):
                    lock.close()
                yield root, True
                return
            lock.close()  # it was started while we waited
        yield root, False


def _of_monitor(folder: Path, stack: contextlib.ExitStack, *, whole: bool) -> int:
    """What the monitor of a container that runs has, until the end of `stack`; -1 if there is none."""
    if states.read(folder).is_live:
        with contextlib.suppress(client.NotRunning, MonitorGone):
            monitor = client.connect(folder)
            if whole:
                root = stack.enter_context(monitor.view())
            else:
                root = monitor.root()
                stack.callback(os.close, root)
            _require_shown(root, folder.name)
            return root
    return -1


def _require_shown(root: int, id: str) -> None:
    try:
        os.fstat(root)
    except PermissionError:  # its owner's it is in any case
        raise InOtherNamespace(
            f"the files of container {id} are mounted by FUSE in another user namespace",
            hint="not in the shell of `veneer unshare`, or start the container in there, too",
        ) from None


def _mounted(
    engine: Engine, container: Container, *, reading: bool, whole: bool
) -> contextlib.AbstractContextManager[int]:
    if whole:
        return _held(engine, container, reading=reading)
    from veneer.drivers.mount import opened

    return opened(engine.store.containers.mounts(container, readonly=reading))


@contextlib.contextmanager
def _held(engine: Engine, container: Container, *, reading: bool) -> Iterator[int]:
    """Of one that does not run, by a thread in a mount namespace of its own, which ends with it."""
    # Over the container's own folder, which nobody sees covered but the thread: a directory made for it would be left
    # by who is killed.
    at = engine.store.containers.folder(container.id)
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
                view.placed(at, mounts.binds(container.document["Mounts"]), making=not reading) as root,
            ):
                found.append(os.dup(root))
                is_there.set()
                is_over.wait()
        except BaseException as error:  # noqa: BLE001 - raised where somebody waits for it
            found.append(error)
        finally:
            is_there.set()

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
    if isinstance(found[-1], BaseException):
        raise found[-1]
