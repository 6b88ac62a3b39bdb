"""How a container is, in docker's words: `Up 3 minutes (healthy)`, `0.0.0.0:8080->80/tcp`.

Sources: moby container/state.go (String), docker/cli formatter/container.go (DisplayablePorts).
"""

from __future__ import annotations

from veneer.cli.flags import FlagError
from veneer.cli.units import human_duration
from veneer.run.monitor import state as states

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from veneer.run.monitor.state import State


def status(state: State, now: float) -> str:
    """How a container is; `now` is the Unix time that ages are counted from."""

    def since(text: str) -> str:
        from veneer.engine.containers.inspecting import seconds

        return human_duration(max(now - seconds(text), 0))

    if state.is_live:
        if state.status == states.PAUSED:
            return f"Up {since(state.started_at)} (Paused)"
        if state.status == states.RESTARTING:
            return f"Restarting ({state.exit_code}) {since(state.finished_at)} ago"
        health = (state.health or {}).get("Status") or "none"
        shown = "health: starting" if health == "starting" else health
        return f"Up {since(state.started_at)}" + ("" if health == "none" else f" ({shown})")
    if state.status == states.REMOVING:
        return "Removal In Progress"
    if state.status == states.DEAD:
        return "Dead"
    if state.started_at == states.NEVER:
        return "Created"
    return f"Exited ({state.exit_code}) {since(state.finished_at)} ago"


def created_at(moment: float) -> str:
    """A Unix time as docker's lists print it, in local time."""
    from veneer.cli.units import local_time

    return local_time(moment)


def ports(given: Sequence[Mapping[str, Any]]) -> str:
    """`0.0.0.0:9000-9002->9000-9002/tcp, 0.0.0.0:8080->80/tcp`: neighbours together, unless the numbers differ."""
    if not given:
        return ""
    groups: dict[tuple[str, str], tuple[int, int]] = {}
    done: list[str] = []
    mapped: list[str] = []
    for port in sorted(given, key=lambda p: (p["PrivatePort"], p.get("IP", ""), p.get("PublicPort", 0), p["Type"])):
        number, address, public = port["PrivatePort"], port.get("IP", ""), port.get("PublicPort", 0)
        if address and public != number:
            mapped.append(f"{address}:{public}->{number}/{port['Type']}")
            continue
        key = (address, port["Type"])
        first, last = groups.get(key, (number, number - 1))
        if number != last + 1:
            done.append(_group(key, first, last))
            first = number
        groups[key] = (first, number)
    return ", ".join([*done, *(_group(key, first, last) for key, (first, last) in groups.items()), *mapped])


def _group(key: tuple[str, str], first: int, last: int) -> str:
    address, kind = key
    numbers = str(first) if first == last else f"{first}-{last}"
    return f"{address}:{numbers}->{numbers}/{kind}" if address else f"{numbers}/{kind}"


def number(text: str, option: str) -> int:
    """An option's number.  Raises FlagError in pflag's words."""
    from veneer.engine.containers.spelling import InvalidContainer, whole

    try:
        return whole(text)
    except InvalidContainer as error:
        raise FlagError(f'invalid argument "{text}" for "{option}" flag: {error.message}') from None
