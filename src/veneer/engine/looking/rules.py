"""Rules an image must keep, as `veneer check` reads them: `[check]` of veneer.toml, `.dive-ci`, or NAME=VALUE words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from veneer.errors import InvalidRequest
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

_UNITS = {"": 1, "b": 1, "k": 10**3, "kb": 10**3, "m": 10**6, "mb": 10**6, "g": 10**9, "gb": 10**9, "t": 10**12,
          "tb": 10**12, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}  # fmt: skip
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)")
_OFF = frozenset({"disabled", "off", "false", ""})
_DIVE = {"lowestefficiency": "min-efficiency", "highestwastedbytes": "max-waste",
         "highestuserwastedpercent": "max-waste-percent"}  # fmt: skip
DEFAULTS: Mapping[str, object] = {"min-efficiency": 0.9, "max-waste-percent": 0.1}
"""What holds where nobody says anything, as in dive."""


class BadRule(InvalidRequest):
    """A rule that is not known, or has a value it cannot have."""


class Rules(Value):
    """What an image must keep; None, False and () are rules that are not there.

    Sizes are bytes, shares 0 to 1.  `ignore_base`: what the base wasted is not the image's fault.
    """

    __slots__ = ()
    min_efficiency: float | None = None
    max_waste: int | None = None
    max_waste_percent: float | None = None
    max_size: int | None = None
    max_pull: int | None = None
    max_layers: int | None = None
    max_growth: float | None = None
    forbid_paths: tuple[str, ...] = ()
    no_setuid_added: bool = False
    no_secret_like_paths: bool = False
    require_labels: tuple[str, ...] = ()
    require_user: bool = False
    ignore_paths: tuple[str, ...] = ()
    ignore_base: bool = True


_SHARES = ("min_efficiency", "max_waste_percent", "max_growth")
_SIZES = ("max_waste", "max_size", "max_pull")
_LISTS = ("forbid_paths", "require_labels", "ignore_paths")
_FLAGS = ("no_setuid_added", "no_secret_like_paths", "require_user", "ignore_base")
_NAMES = (*_SHARES, *_SIZES, "max_layers", *_LISTS, *_FLAGS)
_SETTINGS = frozenset({"ignore_paths", "ignore_base"})
"""What says how waste is counted, and is no rule by itself."""


def rules(found: Mapping[str, object], what: str) -> Rules:
    """The rules that a table says, by name (`min-efficiency`, or with `_`).  Raises BadRule, naming `what`."""
    values: dict[str, Any] = {}
    for name, value in found.items():
        key = name.replace("-", "_").lower()
        if key not in _NAMES:
            import difflib

            near = difflib.get_close_matches(key, _NAMES, 1)
            hint = f"did you mean {near[0].replace('_', '-')}?" if near else f"there are {', '.join(_shown())}"
            raise BadRule(f"{what}: no rule is called {name!r}", hint=hint)
        values[key] = _value(key, value, f"{what}: {name}")
    return Rules(**values)


def only_settings(found: Mapping[str, object]) -> bool:
    """Whether a table has no rule in it, but what says how waste is counted."""
    return all(name.replace("-", "_").lower() in _SETTINGS for name in found)


def _shown() -> list[str]:
    return [name.replace("_", "-") for name in _NAMES]


def _value(key: str, value: object, what: str) -> object:
    if isinstance(value, str) and value.strip().lower() in _OFF and key not in _LISTS:
        return False if key in _FLAGS else None
    if key in _FLAGS:
        if isinstance(value, bool):
            return value
        if str(value).lower() in ("true", "on", "1"):
            return True
        raise BadRule(f"{what}: {value!r} is neither true nor false")
    if key in _LISTS:
        words = _words(value, what) if isinstance(value, str) else value
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise BadRule(f"{what}: a list of texts is wanted")
        return tuple(word.strip() for word in words if word.strip())
    if key in _SHARES:
        return _share(value, what, most=1 if key == "min_efficiency" else 100)
    return size(value, what)


def _words(value: str, what: str) -> object:
    """A list as people write it: `a,b`, or as TOML has it."""
    if not value.lstrip().startswith("["):
        return value.split(",")
    import tomllib

    try:
        return tomllib.loads(f"words = {value}")["words"]
    except tomllib.TOMLDecodeError as error:
        raise BadRule(f"{what}: {value!r} is no list: {error}", hint='write A,B or ["A", "B"]') from None


def _share(value: object, what: str, *, most: float) -> float:
    """A share, 0.9 or 90%.  `most`: what it may be, for waste and growth can be more than what is there."""
    text = str(value).strip()
    try:
        number = float(text.removesuffix("%").strip())
    except ValueError:
        raise BadRule(f"{what}: {text!r} is no share: write 0.9 or 90%") from None
    if text.endswith("%"):
        number /= 100
    if not 0 <= number <= most:
        more = "" if most > 1 else f", of at most {most:g}"
        raise BadRule(f"{what}: {text!r} is no share{more}: write 0.9 or 90%")
    return number


def size(value: object, what: str) -> int:
    """Bytes, of a number or a text as 20MB or 20MiB.  Raises BadRule."""
    found = _SIZE.fullmatch(str(value).strip())
    if isinstance(value, bool) or found is None or found[2].lower() not in _UNITS:
        raise BadRule(f"{what}: {value!r} is no size: write 20MB")
    return int(float(found[1]) * _UNITS[found[2].lower()])


def read_rules(path: Path) -> Rules:
    """The rules of a file: TOML with a `[check]` table, or dive's.  Raises BadRule."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise BadRule(f"{path}: {getattr(error, 'strerror', None) or 'it is no text'}") from None
    if path.name.startswith(".dive") or path.suffix in (".yaml", ".yml"):
        return rules({**DEFAULTS, **dict(_dive(text, str(path)))}, str(path))
    import tomllib

    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadRule(f"{path}: {error}") from None
    table = document.get("check", {})
    if not isinstance(table, dict):
        raise BadRule(f"{path}: [check] is no table")
    return rules(table, str(path))


def _dive(text: str, what: str) -> Iterable[tuple[str, object]]:
    """The rules of a `.dive-ci`: lines of `key: value` below `rules:`, or `rules: {key: value}`; of YAML no more."""
    inside = found = any_line = False
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.split(" #")[0].rstrip() if not line.lstrip().startswith("#") else ""
        if not bare.strip() or bare.strip() == "---":
            continue
        any_line = True
        key, colon, value = bare.strip().partition(":")
        if not colon:
            raise BadRule(f"{what}: line {number} is no `key: value`")
        if inside and bare[0].isspace():
            yield _dives_rule(key, value, f"{what}: line {number}")
        if not bare[0].isspace():
            inside = key.strip("\"'") == "rules"
            found = found or inside
            if inside and value.strip() not in ("", "{}", "null", "~"):
                yield from _in_braces(value.strip(), f"{what}: line {number}")
    if any_line and not found:
        raise BadRule(f"{what}: there are no `rules:` in it", hint="rules:\n  lowestEfficiency: 0.95")


def _in_braces(value: str, what: str) -> Iterable[tuple[str, object]]:
    """The rules of `{key: value, key: value}`."""
    if not (value.startswith("{") and value.endswith("}")):
        raise BadRule(f"{what}: {value!r} are no rules: each has a line of its own below, as in lowestEfficiency: 0.95")
    for pair in value[1:-1].split(","):
        key, colon, word = pair.partition(":")
        if not colon:
            raise BadRule(f"{what}: {pair.strip()!r} is no `key: value`")
        yield _dives_rule(key.strip(), word, what)


def _dives_rule(key: str, value: str, what: str) -> tuple[str, object]:
    name = _DIVE.get(key.strip("\"'").replace("-", "").replace("_", "").lower())
    if name is None:
        raise BadRule(f"{what}: dive has no rule {key!r}",
                      hint="lowestEfficiency, highestWastedBytes, highestUserWastedPercent")  # fmt: skip
    return name, value.strip().strip("\"'")
