"""docker's filters of containers: `status=exited`, `label=k=v`, `ancestor=nginx`, `publish=80` and the rest.

Source: moby daemon/list.go (foldFilter, includeContainerInList), daemon/prune.go, api/types/filters/parse.go.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence

from veneer.engine.containers import listing
from veneer.engine.containers.mounts import cleaned
from veneer.errors import InvalidRequest, NotFound
from veneer.run.monitor import state as states
from veneer.store.filters import InvalidFilter, moment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from veneer.engine.engine import Engine
    from veneer.run.monitor.state import State
    from veneer.store.containers import Container

LIST = (
    "ancestor", "before", "exited", "expose", "health", "id", "is-task", "isolation", "label", "name", "network",
    "publish", "since", "status", "volume",
)  # fmt: skip
PRUNE = ("label", "label!", "until")
_HEALTH = ("starting", "healthy", "unhealthy", "none")
_PORT = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?(?:/(tcp|udp|sctp))?", re.ASCII)

Keeps = Callable[["Container", "State"], bool]


class Filter:
    """What filters ask for, checked.  `shows_all`: they ask for containers that do not run, too."""

    def __init__(self, keeps: Sequence[Keeps], *, shows_all: bool) -> None:
        self._keeps = keeps
        self.shows_all = shows_all

    def keeps(self, container: Container, state: State) -> bool:
        """Whether every filter keeps this one."""
        return all(keeps(container, state) for keeps in self._keeps)


def parsed(engine: Engine, filters: Mapping[str, Sequence[str]], accepted: Sequence[str] = LIST) -> Filter:
    """Check docker's filters, name -> values: of several values of one, one is enough, of labels all must hold.

    Raises InvalidFilter in docker's words, and NoSuchContainer for before= and since=.
    """
    found: list[Keeps] = []
    for name, values in filters.items():
        if name not in accepted:
            raise InvalidFilter(f"Invalid filter '{name[:200]}'", hint="known filters: " + ", ".join(accepted))
        found.append(_MAKERS[name](engine, list(values)))
    return Filter(found, shows_all="status" in filters)


def matches(pattern: str, text: str) -> bool:
    """docker takes names and ids as regular expressions; what is none is a part of the text."""
    try:
        return pattern == text or bool(re.search(pattern, text))
    except re.error:
        return pattern in text


def has_label(labels: Mapping[str, str], wanted: str) -> bool:
    """Whether `key` or `key=value` is among the labels."""
    key, equals, value = wanted.partition("=")
    return key in labels and (not equals or labels[key] == value)


def _labels(container: Container) -> Mapping[str, str]:
    return container.document["Config"].get("Labels") or {}


def _ids(_: Engine, values: list[str]) -> Keeps:
    return lambda container, _state: any(container.id.startswith(v) or matches(v, container.id) for v in values)


def _names(_: Engine, values: list[str]) -> Keeps:
    return lambda container, _state: any(matches(v, container.name) or matches(v, f"/{container.name}") for v in values)


def _with_labels(_: Engine, values: list[str]) -> Keeps:
    return lambda container, _state: all(has_label(_labels(container), v) for v in values)


def _without_labels(_: Engine, values: list[str]) -> Keeps:
    return lambda container, _state: not all(has_label(_labels(container), v) for v in values)


def _until(_: Engine, values: list[str]) -> Keeps:
    if len(values) > 1:
        raise InvalidFilter("more than one until filter specified")
    limit = moment(values[0], time.time())
    return lambda container, _state: container.created < limit


def _statuses(_: Engine, values: list[str]) -> Keeps:
    for value in values:
        if value not in listing.STATES:
            raise InvalidFilter(f"Invalid filter 'status={value[:200]}'", hint=f"one of {', '.join(listing.STATES)}")
    return lambda _container, state: state.status in values


def _healths(_: Engine, values: list[str]) -> Keeps:
    for value in values:
        if value not in _HEALTH:
            raise InvalidFilter(f"Unrecognised filter value for health: {value[:200]}",
                                hint=f"one of {', '.join(_HEALTH)}")  # fmt: skip
    return lambda _container, state: listing.health(state) in values


def _exits(_: Engine, values: list[str]) -> Keeps:
    for value in values:
        if not re.fullmatch(r"[+-]?[0-9]{1,10}", value, re.ASCII):
            raise InvalidFilter(f'strconv.Atoi: parsing "{value[:200]}": invalid syntax', hint="as in exited=137")
    codes = {int(value) for value in values}
    return lambda _container, state: state.exit_code in codes and not state.is_live and state.started_at != states.NEVER


def _created(engine: Engine, values: list[str], keeps: Callable[[float, float], bool]) -> Keeps:
    limits = [engine.store.containers.get(value).created for value in values]
    return lambda container, _state: all(keeps(container.created, limit) for limit in limits)


def _before(engine: Engine, values: list[str]) -> Keeps:
    return _created(engine, values, lambda created, limit: created < limit)


def _since(engine: Engine, values: list[str]) -> Keeps:
    return _created(engine, values, lambda created, limit: created > limit)


def _ancestors(engine: Engine, values: list[str]) -> Keeps:
    wanted = set()
    for value in values:
        try:
            wanted.add(engine.images.get(value).id)
        except (NotFound, InvalidRequest):
            continue  # of an image that is not there nothing was made, says docker
    known: dict[str, bool] = {}

    def descends(container: Container) -> bool:
        if container.image not in known:
            try:
                line = [image.id for image in engine.store.images.ancestors(container.image)]
            except NotFound:
                line = [container.image]
            known[container.image] = not wanted.isdisjoint(line)
        return known[container.image]

    return lambda container, _state: descends(container)


def _volumes(_: Engine, values: list[str]) -> Keeps:
    wanted = {cleaned(value) if value.startswith("/") else value for value in values}

    def uses(container: Container) -> bool:
        return any(
            not wanted.isdisjoint((point.get("Name") or point["Source"], point["Destination"]))
            for point in container.document["Mounts"]
        )

    return lambda container, _state: uses(container)


def _networks(engine: Engine, values: list[str]) -> Keeps:
    wanted = set(values)
    for value in values:
        try:
            wanted.add(engine.networks.get(value).name)
        except (NotFound, InvalidRequest):
            continue
    return lambda container, _state: not wanted.isdisjoint(listing.networks(container))


def _ports(values: list[str], what: str) -> set[str]:
    found: set[str] = set()
    for value in values:
        match = _PORT.fullmatch(value)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        if match is None or not first <= last < 1 << 16:
            why = f'strconv.ParseUint: parsing "{value[:200]}": invalid syntax'
            raise InvalidFilter(f"error while looking up for {what} {value[:200]}: {why}",
                                hint="as in 80, 53/udp, 8000-8010")  # fmt: skip
        found |= {f"{number}/{match[3] or 'tcp'}" for number in range(first, last + 1)}
    return found


def _published(engine: Engine, values: list[str]) -> Keeps:
    wanted = _ports(values, "publish")

    def publishes(container: Container) -> bool:
        return any(
            f"{port[key]}/{port['Type']}" in wanted
            for port in listing.ports(engine, container)
            for key in ("PublicPort", "PrivatePort")
            if "PublicPort" in port
        )

    return lambda container, state: state.is_live and publishes(container)


def _exposed(_: Engine, values: list[str]) -> Keeps:
    wanted = _ports(values, "expose")
    return lambda container, state: (
        state.is_live and not wanted.isdisjoint(container.document["Config"].get("ExposedPorts") or ())
    )


def _tasks(_: Engine, values: list[str]) -> Keeps:
    meant = {"1": True, "true": True, "0": False, "false": False}
    for value in values:
        if value not in meant:
            raise InvalidFilter(f"Invalid filter 'is-task=[{value[:200]}]'", hint="use true or false")
    return lambda _container, _state: not any(meant[value] for value in values)  # nothing here is of a swarm


def _isolations(_: Engine, values: list[str]) -> Keeps:
    def isolation(host: Mapping[str, Any]) -> str:
        return str(host.get("Isolation") or "")

    return lambda container, _state: any(matches(v, isolation(container.document["HostConfig"])) for v in values)


_MAKERS: Mapping[str, Callable[[Engine, list[str]], Keeps]] = {
    "ancestor": _ancestors, "before": _before, "exited": _exits, "expose": _exposed, "health": _healths, "id": _ids,
    "is-task": _tasks, "isolation": _isolations, "label": _with_labels, "label!": _without_labels, "name": _names,
    "network": _networks, "publish": _published, "since": _since, "status": _statuses, "until": _until,
    "volume": _volumes,
}  # fmt: skip
