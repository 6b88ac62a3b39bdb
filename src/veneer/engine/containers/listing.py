"""Containers as lists show them: what docker's `GET /containers/json` says of each, and docker's filters.

Source: moby daemon/list.go, container/view.go, container/state.go.
"""

from __future__ import annotations

from veneer.engine.containers.inspecting import command
from veneer.engine.containers.mounts import listed
from veneer.run.monitor import state as states
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from veneer.engine.engine import Engine
    from veneer.run.monitor.state import State
    from veneer.store.containers import Container

STATES = (states.CREATED, states.RESTARTING, states.RUNNING, states.REMOVING, states.PAUSED, states.EXITED, states.DEAD)
NO_PORTS: Sequence[dict[str, Any]] = ()


class Summary(Value):
    """One line of `ps`.

    `image` is the name it was made by, or the image's ID where that name means another image by now.  `ports` are
    docker's: {"IP", "PrivatePort", "PublicPort", "Type"}, the first and third only of published ones.  `size` and
    `root_size` are bytes, -1 where they were not asked for.  `networks` are the names of those it is connected to.
    """

    container: Container
    state: State
    image: str
    ports: Sequence[dict[str, Any]]
    networks: Sequence[str]
    size: int = -1
    root_size: int = -1

    @property
    def labels(self) -> Mapping[str, str]:
        return self.container.document["Config"].get("Labels") or {}

    @property
    def command(self) -> str:
        """The words in one line; those with spaces in quotes."""
        first, *rest = command(self.container.document["Config"])
        return " ".join([first, *(f"'{word}'" if " " in word else word for word in rest)])

    @property
    def mounts(self) -> list[str]:
        """What is mounted: names of volumes, sources of the rest."""
        return [point.get("Name") or point["Source"] for point in listed(self.container.document["Mounts"])]


def summaries(
    engine: Engine,
    *,
    all: bool = False,
    filters: Mapping[str, Sequence[str]] | None = None,
    last: int = 0,
    size: bool = False,
) -> list[Summary]:
    """Those that run, or `all`, the newest first; the `last` so many whatever they do (0: no such limit).

    Raises InvalidFilter, and NoSuchContainer for a filter that names one.
    """
    from veneer.engine.containers.leftovers import sweep

    sweep(engine)
    wanted = None
    if filters:
        from veneer.engine.containers.listing_filters import parsed

        wanted = parsed(engine, filters)
    found: list[Summary] = []
    names: dict[str, str] = {}
    shows_all = all or last > 0 or (wanted is not None and wanted.shows_all)
    for container in engine.store.containers.list():
        if last > 0 and len(found) == last:
            break
        state = states.read(engine.store.containers.folder(container.id))
        if not (shows_all or state.is_live):
            continue
        if wanted is not None and not wanted.keeps(container, state):
            continue
        found.append(_summary(engine, container, state, names, size=size))
    return found


def _summary(engine: Engine, container: Container, state: State, names: dict[str, str], *, size: bool) -> Summary:
    name = container.image_name
    if name not in names:
        names[name] = _meant(engine, name)
    taken = (-1, -1)
    if size:
        from veneer.engine.containers.inspecting import sizes

        given = sizes(engine, container)
        taken = given["SizeRw"], given["SizeRootFs"]
    return Summary(
        container,
        state,
        name if names[name] == container.image else str(container.image),
        ports(engine, container) if state.is_live else NO_PORTS,
        networks(container),
        *taken,
    )


def _meant(engine: Engine, name: str) -> str:
    """The ID of the image that a name means now; "" for none."""
    from veneer.errors import InvalidRequest, NotFound

    try:
        return str(engine.images.get(name).id)
    except (NotFound, InvalidRequest):
        return ""


def networks(container: Container) -> list[str]:
    """The names of the networks a container is, or will be, connected to."""
    from veneer.engine.network_plan import endpoints

    return sorted(endpoints(container.document))


def ports(engine: Engine, container: Container) -> Sequence[dict[str, Any]]:
    """docker's Ports of a container that runs."""
    if not container.document["HostConfig"].get("PortBindings") and not container.document["Config"].get(
        "ExposedPorts"
    ):
        return NO_PORTS
    found: list[dict[str, Any]] = []
    for port, bindings in (engine.networks.settings(container).get("Ports") or {}).items():
        number, _, kind = port.partition("/")
        for binding in bindings or ():
            found.append({"IP": binding["HostIp"], "PrivatePort": int(number), "PublicPort": int(binding["HostPort"]),
                          "Type": kind})  # fmt: skip
        if not bindings:
            found.append({"PrivatePort": int(number), "Type": kind})
    return found


def health(state: State) -> str:
    """starting, healthy, unhealthy, or none where nobody looks."""
    return (state.health or {}).get("Status") or "none"
