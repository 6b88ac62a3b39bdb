"""What is done to containers that exist: stopped, killed, paused, waited for, removed.

Sources: moby daemon/{stop,kill,pause,restart,delete,wait}.go.
"""

from __future__ import annotations

import contextlib
import os
import signal as signals

from veneer.engine.containers.starting import AlreadyRunning, reconcile, require_unmounted, start
from veneer.errors import Conflict, InvalidRequest
from veneer.run.monitor import client
from veneer.run.monitor import state as states
from veneer.run.monitor.stream import MonitorGone
from veneer.store import events
from veneer.store.catalog import StoreFull
from veneer.store.reserve import making_room

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import Any

    from veneer.engine.containers.statistics import Sample
    from veneer.engine.engine import Engine
    from veneer.run.monitor.state import State
    from veneer.store.containers import Container
    from veneer.store.volumes import Volume

_PATIENCE_SECONDS = 20.0
"""How long a monitor may take to end what is removed by force."""


class CannotRemove(Conflict):
    """A container that runs is removed by force only.  The text is docker's."""


class NotKillable(Conflict):
    """A signal for a container that does not run."""


class InvalidSignal(InvalidRequest):
    """A signal that has no such name or number."""


def parsed_signal(text: str) -> int:
    """`KILL`, `SIGKILL`, `9`, `RTMIN+3`.  Raises InvalidSignal."""
    name = text.strip().upper()
    if name.isdigit():
        if 0 < int(name) < signals.NSIG:
            return int(name)
        raise InvalidSignal(f"Invalid signal: {text}")
    base, plus, offset = name.removeprefix("SIG").partition("+")
    number = getattr(signals, f"SIG{base}", None)
    if not isinstance(number, signals.Signals) or (plus and not offset.isdigit()):
        raise InvalidSignal(f"Invalid signal: {text}", hint="kill -l lists them")
    return int(number) + (int(offset) if plus else 0)


def attributes(container: Container, **more: str) -> dict[str, str]:
    """What docker's events say of a container."""
    labels = container.document["Config"].get("Labels") or {}
    return {**labels, "image": container.image_name, "name": container.name, **more}


def tell(engine: Engine, container: Container, action: str, **more: str) -> None:
    """Write an event down."""
    events.append(engine.store.root, type="container", action=action, id=container.id,
                  attributes=attributes(container, **more))  # fmt: skip


def stop(engine: Engine, container: Container, timeout: float | None = None, signal: str = "") -> None:
    """Have a container end: its stop signal, then `timeout` seconds later (docker's 10; negative: never) SIGKILL.

    One that does not run is left as it is.  Raises InvalidSignal.
    """
    number = parsed_signal(signal) if signal else None
    folder = engine.store.containers.folder(container.id)
    while True:
        states.settled(folder)
        with contextlib.suppress(client.NotRunning, MonitorGone):
            client.connect(folder).stop(timeout, number)
        wait_for_monitor(folder)
        with engine.store.locked(f"container-{container.id}"):
            if not states.is_held(folder, states.ALIVE):
                reconcile(engine, container)
                return
            # Who had the lock before us has started it.


def restart(engine: Engine, container: Container, timeout: float | None = None, signal: str = "") -> None:
    """Stop a container, if it runs, and start it."""
    stop(engine, container, timeout, signal)
    with contextlib.suppress(AlreadyRunning):
        start(engine, container)
    tell(engine, container, "restart")


def kill(engine: Engine, container: Container, signal: str = "KILL") -> None:
    """Send a container's first process a signal.  Raises InvalidSignal, NotKillable."""
    number = parsed_signal(signal)
    try:
        client.connect(engine.store.containers.folder(container.id)).kill(number)
    except (client.NotRunning, MonitorGone):
        raise NotKillable(f"Container {container.id} is not running") from None


def pause(engine: Engine, container: Container) -> None:
    """Have the kernel stop all processes of a container.  Raises NotRunning, AlreadyPaused, NoLimits."""
    client.connect(engine.store.containers.folder(container.id)).pause()


def unpause(engine: Engine, container: Container) -> None:
    """Have them go on.  Raises NotPaused."""
    try:
        client.connect(engine.store.containers.folder(container.id)).unpause()
    except client.NotRunning:
        raise client.NotPaused(f"Container {container.id} is not paused") from None


def wait(engine: Engine, container: Container, condition: str = "not-running") -> int:
    """The exit status, as soon as the container does not run (or at its "next-exit", or when it is "removed")."""
    folder = engine.store.containers.folder(container.id)
    try:
        return client.connect(folder).wait(condition)
    except (client.NotRunning, MonitorGone):
        return states.read(folder).exit_code


def update(engine: Engine, container: Container, changes: Mapping[str, Any]) -> None:
    """Change limits and the restart policy: `changes` are keys of docker's HostConfig.

    Those of a container that runs are changed at once.  Raises InvalidContainer, NoLimits.
    """
    from veneer.engine.containers.creating import check
    from veneer.run.host import host
    from veneer.run.spec import Process, limits_of
    from veneer.run.wanted import resources

    store = engine.store
    with store.locked(f"container-{container.id}"):
        document = store.containers.get(container.id).document
        changed = document["HostConfig"] | dict(changes)
        check(document["Config"], changed)
        folder = store.containers.folder(container.id)
        policy = changed.get("RestartPolicy") or {}
        given = [key for key in changes if key != "RestartPolicy"]
        if states.read(folder).is_live:
            client.connect(folder).update(
                limits_of(Process(("",), resources=resources(changed, host()))) if given else None,
                {"name": policy.get("Name") or "no", "count": policy.get("MaximumRetryCount") or 0},
            )
        store.containers.set_document(container.id, document | {"HostConfig": changed})
    tell(engine, container, "update")


def remove(engine: Engine, container: Container, *, force: bool = False, volumes: bool = False) -> None:
    """Remove a container; with `volumes` also those of its volumes that nobody named and nobody else uses.

    What killed processes left goes with it.  Raises CannotRemove for one that runs, unless by `force`; StillMounted.
    """
    from veneer.drivers.userns import NotEntered

    store = engine.store
    # What is removed here makes the room that the next one needs for it; and a plain user who only lists containers,
    # and by that removes one that nobody else does, has not the ids for it.
    with contextlib.suppress(StoreFull, NotEntered):
        store.tidy()
    folder = store.containers.folder(container.id)
    gone = None
    while gone is None:
        _end(container, folder, force=force)
        with store.locked(store.containers.tree_key(container.id)), store.locked(f"container-{container.id}"):
            if store.containers.find(container.id) is None:
                return  # whoever was asked at the same time has done it
            if states.is_held(folder, states.ALIVE):
                continue  # who had the lock before us has started it
            require_unmounted(engine, container)
            try:
                gone = _removed(engine, container, volumes=volumes)
            except StoreFull:
                store.containers.empty(container)
                gone = _removed(engine, container, volumes=volumes)
    for volume in gone:
        from veneer.engine import volumes as of_volumes

        of_volumes.tell(store, "destroy", volume)
    tell(engine, container, "destroy")


def _end(container: Container, folder: Path, *, force: bool) -> None:
    """Return when no monitor of a container lives.  Raises CannotRemove for one that runs, unless by `force`."""
    with _killing_who_does_not_answer(folder) if force else contextlib.nullcontext():
        found = states.settled(folder)
        if found.is_live:
            if not force:
                raise _refused(container, found)
            with contextlib.suppress(client.NotRunning, MonitorGone):
                client.connect(folder).stop(0, int(signals.SIGKILL))
        wait_for_monitor(folder)


@contextlib.contextmanager
def _killing_who_does_not_answer(folder: Path) -> Iterator[None]:
    """Kill a monitor with which this `with` is not over in time: it was stopped, or hangs in the kernel."""
    if not states.is_held(folder, states.ALIVE):
        yield
        return
    import threading

    def kill() -> None:
        monitor = states.last_written(folder).monitor
        if monitor and states.is_held(folder, states.ALIVE):
            with contextlib.suppress(ProcessLookupError):
                os.kill(monitor, signals.SIGKILL)

    timer = threading.Timer(_PATIENCE_SECONDS, kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _removed(engine: Engine, container: Container, *, volumes: bool) -> list[Volume]:
    """Take a container that nobody runs out of the store; the volumes that went with it."""
    store = engine.store
    with making_room(store.root):
        reconcile(engine, container)
        engine.networks.release(container)
        return store.containers.remove(container.id, volumes=volumes)


def statistics(engine: Engine, container: Container) -> Sample:
    """What a container takes of the machine; NOTHING for one that does not run."""
    from veneer.engine.containers.statistics import NOTHING, sample

    folder = engine.store.containers.folder(container.id)
    found = states.read(folder)
    if not found.pid:
        return NOTHING
    pids: list[int] = []
    if not found.cgroup:
        with contextlib.suppress(client.NotRunning, MonitorGone):
            pids = client.connect(folder).pids()
    return sample(found, pids)


def wait_for_monitor(folder: os.PathLike[str]) -> None:
    """Return when no monitor lives: one that has stopped its container still has things to put away."""
    from pathlib import Path

    with contextlib.suppress(FileNotFoundError):
        held = states.hold(Path(folder), states.ALIVE)
        if held is not None:
            os.close(held)


def _refused(container: Container, found: State) -> CannotRemove:
    procedure = "Stop the container before attempting removal or force remove"
    if found.status == states.PAUSED:
        procedure = "Unpause and then s" + procedure[1:]
    return CannotRemove(f"You cannot remove a {found.status} container {container.id}. {procedure}",
                        hint=f"veneer rm -f {container.name}")  # fmt: skip
