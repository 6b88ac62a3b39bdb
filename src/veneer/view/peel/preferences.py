"""What somebody prefers in `veneer peel`: `peel.toml`, beside veneer's own configuration.

    theme = "light"            # dark, light, contrast
    [keys]
    waste = "w"                # the ids are those of `keys.ACTIONS`, shown by ?
    find = "/ ctrl+f"

A key that is not known is no reason to stop: it is told, with the nearest one that is.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import MappingProxyType

from veneer.errors import InvalidRequest
from veneer.values import Value
from veneer.view.peel.keys import ACTIONS, named, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

THEMES = ("dark", "light", "contrast")
SETTINGS = ("theme", "keys", "browser", "log")
_NO_KEYS: Mapping[str, str] = MappingProxyType({})


class BadPreferences(InvalidRequest):
    """A file of preferences that is no TOML, or has a value it cannot have."""


class Preferences(Value):
    """`theme` one of THEMES; `keys` by action, in Textual's names; `browser` where `veneer serve` answers ("": where it
    is by default); `log`: bars begin logarithmic; `warnings` of what was not understood."""

    __slots__ = ()
    theme: str = THEMES[0]
    keys: Mapping[str, str] = _NO_KEYS
    browser: str = ""
    log: bool = False
    warnings: tuple[str, ...] = ()


def read(text: str, where: str) -> Preferences:
    """The preferences of a file with this content.  Raises BadPreferences."""
    import tomllib

    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadPreferences(f"{where}: {error}") from None
    warnings = [_unknown(where, "setting", name, SETTINGS) for name in document if name not in SETTINGS]
    theme, log = _of(document, where, "theme", THEMES[0]), document.get("log", False)
    if theme not in THEMES:
        raise BadPreferences(f"{where}: theme cannot be {theme!r}", hint=f"one of {', '.join(THEMES)}")
    if not isinstance(log, bool):
        raise BadPreferences(f"{where}: log cannot be {log!r}", hint="true or false")
    table = document.get("keys", {})
    if not isinstance(table, dict):
        raise BadPreferences(f"{where}: keys cannot be {table!r}", hint='a table: [keys] and lines as waste = "w"')
    known = [action.id for action in ACTIONS]
    keys = {}
    for name, value in table.items():
        if name not in known:
            warnings.append(_unknown(where, "action", name, known))
        elif not isinstance(value, str) or not named(value):
            raise BadPreferences(f"{where}: keys.{name} cannot be {value!r}", hint='a key, or several: "w", "/ ctrl+f"')
        else:
            keys[name] = named(value)
    warnings += _ambiguous(where, keys)
    return Preferences(theme, keys, _of(document, where, "browser", ""), log, tuple(warnings))


def _ambiguous(where: str, keys: Mapping[str, str]) -> list[str]:
    """Keys that are two actions' with these preferences."""
    owners: dict[str, list[str]] = {}
    for action in ACTIONS:
        for key in keys.get(action.id, action.keys).split(","):
            owners.setdefault(key, []).append(action.id)
    return [f"{where}: {shown(key)} is the key of {' and of '.join(names)}"
            for key, names in owners.items() if len(names) > 1]  # fmt: skip


def _of(document: dict[str, Any], where: str, name: str, default: str) -> str:
    value = document.get(name, default)
    if not isinstance(value, str):
        raise BadPreferences(f"{where}: {name} cannot be {value!r}", hint="a text is wanted")
    return value


def _unknown(where: str, what: str, name: str, known: tuple[str, ...] | list[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"{where}: unknown {what} {name!r}" + (f": did you mean {near[0]}?" if near else "")
