"""JSON from strangers: bounded in size and depth, without duplicate keys and NaN.

Two readers that disagree about one document are how one digest comes to mean two images
(CVE-2021-41190); so whatever is ambiguous is refused.
"""

from __future__ import annotations

import json
from typing import Any

from veneer.errors import InvalidRequest

MAX_DOCUMENT = 4 << 20
"""Bytes of the largest manifest or config taken; containers/image and containerd agree on 4 MiB."""
MAX_DEPTH = 64


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


def _too_deep(raw: bytes) -> bool:
    depth = 0
    in_string = escaped = False
    for byte in raw:
        if in_string:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                in_string = False
        elif byte == 0x22:
            in_string = True
        elif byte in (0x5B, 0x7B):
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif byte in (0x5D, 0x7D):
            depth -= 1
    return False


def loads_any(raw: bytes, what: str) -> Any:
    """Parse one JSON value; `what` names it in errors ("manifest sha256:...").  Raises InvalidDocument."""
    if len(raw) > MAX_DOCUMENT:
        raise InvalidDocument(f"{what}: {len(raw)} bytes, more than the {MAX_DOCUMENT} allowed")
    # Counting brackets is an upper bound for depth and costs nothing; the exact walk runs only past it.
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH and _too_deep(raw):
        raise InvalidDocument(f"{what}: nested deeper than {MAX_DEPTH} levels")
    try:
        return json.loads(raw, object_pairs_hook=_object, parse_constant=_constant)
    except InvalidDocument as error:
        raise InvalidDocument(f"{what}: {error.message}") from None
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
