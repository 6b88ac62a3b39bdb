"""docker's filters of networks: `name=`, `driver=`, `type=custom` and the rest.

Source: moby daemon/network/filter.go, daemon/prune.go.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence

from veneer.store.filters import InvalidFilter, moment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.store.networks import Network

LIST = ("dangling", "driver", "id", "label", "name", "scope", "type")
PRUNE = ("label", "label!", "until")
_BOOLEANS = {"1": True, "true": True, "0": False, "false": False}


def kept(
    networks: Sequence[Network],
    filters: Mapping[str, Sequence[str]],
    accepted: Sequence[str],
    is_used: Callable[[Network], bool],
) -> Sequence[Network]:
    """Those of `networks` that every filter keeps; of several values of one, one is enough, of labels all.

    Raises InvalidFilter with docker's texts.
    """
    for name in filters:
        if name not in accepted:
            raise InvalidFilter(f"Invalid filter '{name[:200]}'", hint="known filters: " + ", ".join(accepted))
    for kind in filters.get("type", ()):
        if kind not in ("custom", "builtin"):
            raise InvalidFilter(f"invalid filter: 'type'='{kind[:200]}'", hint="use custom or builtin")
    for value in filters.get("dangling", ()):
        if value not in _BOOLEANS:
            raise InvalidFilter(f"Invalid filter 'dangling=[{value[:200]}]'", hint="use true or false")
    until = moment(filters["until"][0], time.time()) if filters.get("until") else None
    found = [each for each in networks if _keeps(each, filters) and (until is None or each.created <= until)]
    for value in filters.get("dangling", ()):
        found = [each for each in found if (not each.is_predefined and not is_used(each)) == _BOOLEANS[value]]
    return found


def _keeps(network: Network, filters: Mapping[str, Sequence[str]]) -> bool:
    def any_of(name: str, holds: Callable[[str], bool]) -> bool:
        values = filters.get(name, ())
        return not values or any(holds(value) for value in values)

    kind = "builtin" if network.is_predefined else "custom"
    labels = network.document.get("Labels") or {}
    without = filters.get("label!", ())
    return (
        any_of("driver", lambda value: value == network.driver)
        and any_of("name", lambda value: _matches(value, network.name))
        and any_of("id", lambda value: _matches(value, network.id))
        and any_of("scope", lambda value: value == "local")
        and any_of("type", lambda value: value == kind)
        and all(_has(labels, value) for value in filters.get("label", ()))
        and not (without and all(_has(labels, value) for value in without))
    )


def _matches(value: str, text: str) -> bool:
    """docker takes names and ids as regular expressions; what is none is a part of the text."""
    try:
        return bool(re.search(value, text))
    except re.error:
        return value in text


def _has(labels: Mapping[str, str], wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    return key in labels and (not equals or labels[key] == value)
