"""A run configuration moved from one base to another: what the image said stays, what it inherited follows.

Of every value there are three: the old base's, the image's and the new base's.  Where the image has what the old base
had, it said nothing, and the new base's counts; where it differs, the image said so, and its own counts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NAMED = {"ExposedPorts": "ExposedPort", "Labels": "Label", "Volumes": "Volume"}
"""Keys whose values have names of their own, and what one of these is called."""
_ELSEWHERE = {"Env", "OnBuild", "Entrypoint", "Cmd", "Image", *_NAMED}
_EMPTY: tuple[object, ...] = (None, "", [], {}, False)


class Change(Value):
    """A value that is another one in the result than in the image.

    `key` is `User`, `Env PATH`, `Label vendor`, ...; `old` and `new` are texts, "" for none.
    """

    __slots__ = ()
    key: str
    old: str
    new: str


class Merged(Value):
    """The result; `changes` are what became different for the image, `kept` what of the new base the image overrides.

    A key is in `kept` only where the new base says something else there than the old one: what a build on the old
    base could not have known.
    """

    __slots__ = ()
    run: dict[str, Any]
    changes: tuple[Change, ...]
    kept: tuple[Change, ...]


def merged(old: Mapping[str, Any], image: Mapping[str, Any], new: Mapping[str, Any]) -> Merged:
    """What `image`, built on a base with `old`, has on a base with `new`; all three are run configurations.

    A variable that the image made longer (`PATH=/app/bin:$PATH`) is made longer again.  A command belongs to its entry
    point: where the image has its own, its command (or none) is its own too.  Keys of the result are sorted.
    """
    merge = _Merge(old, image, new)
    merge.environment()
    for key, called in _NAMED.items():
        merge.mapping(key, called)
    merge.keep("OnBuild")  # never inherited: a base's triggers have run by the time an image stands on it
    merge.commands()
    for key in sorted((old.keys() | image.keys() | new.keys()) - _ELSEWHERE):
        merge.single(key)
    if "Image" in image:
        merge.run["Image"] = ""  # the image below the last step, which this one has not
    return Merged(dict(sorted(merge.run.items())), tuple(merge.changes), tuple(merge.kept))


class _Merge:
    def __init__(self, old: Mapping[str, Any], image: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        self._old, self._image, self._new = old, image, new
        self.run: dict[str, Any] = {}
        self.changes: list[Change] = []
        self.kept: list[Change] = []

    def single(self, key: str) -> None:
        old, image, new = (each.get(key) for each in (self._old, self._image, self._new))
        inherited = _same(old, image)
        self._put(key, new if inherited else image)
        self._note(key, old, image, new, inherited=inherited)

    def keep(self, key: str) -> None:
        self._put(key, self._image.get(key))

    def commands(self) -> None:
        own_entrypoint = not _same(self._old.get("Entrypoint"), self._image.get("Entrypoint"))
        self.single("Entrypoint")
        if own_entrypoint:
            self.keep("Cmd")
        else:
            self.single("Cmd")

    def environment(self) -> None:
        old, image, new = (_variables(each) for each in (self._old, self._image, self._new))
        result = _named(old, image, new, longer=_longer)
        self._put("Env", [f"{name}={value}" for name, value in result.items()])
        self._note_all("Env", old, image, new, result)

    def mapping(self, key: str, called: str) -> None:
        old, image, new = (_object(each, key) for each in (self._old, self._image, self._new))
        result = _named(old, image, new)
        self._put(key, result)
        self._note_all(called, old, image, new, result)

    def _put(self, key: str, value: Any) -> None:
        """Set a key; nothing is spelt as the image spells it: null, an empty value, or no key at all."""
        if value not in _EMPTY:
            self.run[key] = value
        elif key in self._image:
            spelling = self._image[key]
            self.run[key] = spelling if spelling in _EMPTY else "" if isinstance(spelling, str) else None

    def _note(self, key: str, old: Any, image: Any, new: Any, *, inherited: bool) -> None:
        if inherited and not _same(image, new):
            self.changes.append(Change(key, _text(image), _text(new)))
        elif not inherited and not _same(old, new) and not _same(image, new):
            self.kept.append(Change(key, _text(image), _text(new)))

    def _note_all(
        self, key: str, old: Mapping[str, Any], image: Mapping[str, Any], new: Mapping[str, Any],
        result: Mapping[str, Any],
    ) -> None:  # fmt: skip
        for name in sorted(old.keys() | image.keys() | new.keys()):
            had, has = image.get(name), result.get(name)
            if had != has:
                self.changes.append(Change(f"{key} {name}", _text(had), _text(has)))
            elif had != old.get(name) and new.get(name) not in (old.get(name), had):
                self.kept.append(Change(f"{key} {name}", _text(had), _text(new.get(name))))


def _named(
    old: Mapping[str, Any], image: Mapping[str, Any], new: Mapping[str, Any], *, longer: Any = None
) -> dict[str, Any]:
    """Values by name: the new base's in its order, then the image's own."""
    result = dict(new)
    for name in old.keys() - image.keys():
        result.pop(name, None)  # the image took it away
    for name, value in image.items():
        if name not in old:
            result[name] = value
        elif value != old[name]:
            result[name] = longer(old[name], value, new.get(name)) if longer else value
    return result


def _longer(old: str, value: str, new: str | None) -> str:
    """The image's value, with the new base's in the place of the old base's where it was put before or behind."""
    if old and new:
        if value.endswith(":" + old):
            return value.removesuffix(old) + new
        if value.startswith(old + ":"):
            return new + value.removeprefix(old)
    return value


def _variables(run: Mapping[str, Any]) -> dict[str, str]:
    pairs = run.get("Env")
    return dict(str(pair).partition("=")[::2] for pair in pairs) if isinstance(pairs, list) else {}


def _object(run: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = run.get(key)
    return found if isinstance(found, dict) else {}


def _same(one: Any, other: Any) -> bool:
    return one == other or (one in _EMPTY and other in _EMPTY)


def _text(value: Any) -> str:
    if value == {}:
        return "{}"
    if value in _EMPTY:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def sentence(change: Change) -> str:
    """The change in words: `User is app instead of root`, `Label vendor is gone, it was us`."""
    if not change.old:
        return f"{change.key} is new" + (f": {change.new}" if change.new != "{}" else "")
    if not change.new:
        return f"{change.key} is gone" + (f", it was {change.old}" if change.old != "{}" else "")
    return f"{change.key} is {change.new} instead of {change.old}"
