"""`--annotation`: which words go onto which manifest, index, or entry of an index.

    [TYPE[,TYPE...]:]NAME=VALUE   TYPE: manifest (the default), manifest-descriptor or index, and [PLATFORM] behind it
Source: docker/buildx util/buildflags, reference for `build --annotation`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from veneer.errors import InvalidRequest
from veneer.oci.platform import Platform
from veneer.values import Value

TYPES = ("manifest", "manifest-descriptor", "index")
_TYPE = r"[a-z-]+(?:\[[^\]]*\])?"
_TYPED = re.compile(rf"({_TYPE}(?:,{_TYPE})*):(.+)", re.DOTALL)
_ONE = re.compile(r"([a-z-]+)(?:\[([^\]]*)\])?")


class BadAnnotation(InvalidRequest):
    """An annotation for something that this build does not make."""


class Annotation(Value):
    """`name` set to `value` on what `type` says; `platform` None: of every platform."""

    __slots__ = ()
    type: str
    platform: Platform | None
    name: str
    value: str


def parse(pairs: Iterable[tuple[str, str]], platforms: int) -> tuple[Annotation, ...]:
    """The annotations that (name with its types, value) pairs mean, for a build of so many platforms.

    Raises BadAnnotation, InvalidPlatform.
    """
    found: list[Annotation] = []
    for text, value in pairs:
        typed = _TYPED.fullmatch(text)
        types, name = (typed[1].split(","), typed[2]) if typed else (["manifest"], text)
        for each in types:
            part = _ONE.fullmatch(each)
            assert part is not None
            if part[1] not in TYPES:
                raise BadAnnotation(f"annotation {text!r}: unknown type {part[1]!r}", hint=f"one of {', '.join(TYPES)}")
            if part[1] != "manifest" and platforms < 2:
                raise BadAnnotation(f"annotation {text!r}: a build for one platform makes no index",
                                    hint="annotate the manifest, or build with several --platform")  # fmt: skip
            platform = Platform.parse(part[2]) if part[2] else None
            found.append(Annotation(part[1], platform, name, value))
    return tuple(found)


def chosen(annotations: Iterable[Annotation], type: str, platform: Platform | None = None) -> dict[str, str]:
    """What is to stand on one thing, by name."""
    return {
        each.name: each.value for each in annotations
        if each.type == type and (each.platform is None or each.platform == platform)
    }  # fmt: skip
