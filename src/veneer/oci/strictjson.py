"""JSON from strangers: UTF-8, bounded in size, depth and count of values, without duplicate keys and NaN.

Two readers that disagree about one document are how one digest comes to mean two images
(CVE-2021-41190); so whatever is ambiguous is refused.
"""

from __future__ import annotations

import json
import math
import re

from veneer.errors import InvalidRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_DOCUMENT = 4 << 20
"""Bytes of the largest manifest or config taken; containers/image and containerd agree on 4 MiB."""
MAX_DEPTH = 64
MAX_CONTAINERS = 100_000
"""Objects and lists in one document: four bytes of text each, but a hundred in memory."""


class InvalidDocument(InvalidRequest):
    """A JSON document that is too large, too deep, ambiguous or not JSON at all."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise InvalidDocument(f"duplicate key {key[:80]!r}")
            seen.add(key)
    return result


def _constant(name: str) -> Any:
    raise InvalidDocument(f"{name} is not JSON")


def _real(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise InvalidDocument(f"the number {text[:40]} is out of range")
    return value


_STRINGS = rb'(?s)"[^"\\]*(?:\\.[^"\\]*)*"?'  # compiled when first needed: short commands never do
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def _too_deep(raw: bytes) -> bool:
    depth = 0
    for bracket in re.sub(_STRINGS, b"", raw).translate(None, _NO_BRACKETS):
        if bracket in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                return True
        else:
            depth -= 1
    return False


def check_extent(raw: bytes, what: str) -> int:
    """How many objects and lists there are at most.  Raises InvalidDocument for too many, and for too many bytes."""
    if len(raw) > MAX_DOCUMENT:
        raise InvalidDocument(f"{what}: {len(raw)} bytes, more than the {MAX_DOCUMENT} allowed")
    containers = raw.count(b"[") + raw.count(b"{")
    if containers > MAX_CONTAINERS:
        raise InvalidDocument(f"{what}: {containers} objects and lists, more than the {MAX_CONTAINERS} allowed")
    return containers


def loads_own(raw: bytes, what: str) -> dict[str, Any]:
    """Parse a JSON object written here, from one that was read strictly.  Raises InvalidDocument for its size alone."""
    check_extent(raw, what)
    value: dict[str, Any] = json.loads(raw)
    return value


def loads_any(raw: bytes, what: str) -> Any:
    """Parse one JSON value; `what` names it in errors ("manifest sha256:...").  Raises InvalidDocument."""
    # Counting brackets is an upper bound for depth and costs nothing; the exact walk runs only past it.
    if check_extent(raw, what) > MAX_DEPTH and _too_deep(raw):
        raise InvalidDocument(f"{what}: nested deeper than {MAX_DEPTH} levels")
    try:
        # Decoded here: json.loads would take UTF-16 and UTF-32 too, which no other reader of images does.
        value = json.loads(raw.decode(), object_pairs_hook=_object, parse_constant=_constant, parse_float=_real)
        if b"\\ud" in raw or b"\\uD" in raw:
            # Half a character is no text: it can be neither stored nor printed, and Go reads it as another one.
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except InvalidDocument as error:
        raise InvalidDocument(f"{what}: {error.message}") from None
    except UnicodeEncodeError:
        raise InvalidDocument(f"{what}: a text with half a character (an unpaired surrogate) in it") from None
    except (ValueError, RecursionError) as error:
        raise InvalidDocument(f"{what}: not JSON: {error}") from None


def loads(raw: bytes, what: str) -> dict[str, Any]:
    """Parse one JSON object, as `loads_any`.  Raises InvalidDocument for any other value too."""
    value = loads_any(raw, what)
    if not isinstance(value, dict):
        raise InvalidDocument(f"{what}: want a JSON object, got {type(value).__name__}")
    return value


def dumps(value: object) -> bytes:
    """The one way veneer writes JSON it names by digest: compact, keys in the order given, UTF-8."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
