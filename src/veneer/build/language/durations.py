"""Go's durations: `1m30s`, `500ms`.  Source: Go time.ParseDuration, Duration.String."""

from __future__ import annotations

import re

_UNITS = {"ns": 1, "us": 1_000, "µs": 1_000, "μs": 1_000, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_MOST = (1 << 63) - 1


def duration_ns(text: str) -> int | None:
    """Nanoseconds; None for what is no duration."""
    sign, rest = (-1, text[1:]) if text[:1] == "-" else (1, text.removeprefix("+"))
    if rest == "0":
        return 0
    if not rest or len(rest) > 100:
        return None
    total, at = 0, 0
    while at < len(rest):
        found = _PART.match(rest, at)
        if found is None:
            return None
        whole, _, fraction = found[1].partition(".")
        unit = _UNITS[found[2]]
        total += int(whole or 0) * unit + (int(fraction) * unit // 10 ** len(fraction) if fraction else 0)
        at = found.end()
    return sign * total if total <= _MOST else None


def go_duration(nanoseconds: int) -> str:
    """A duration as Go prints it: `1m30s`, `0s`, `1.5ms`."""
    if nanoseconds == 0:
        return "0s"
    sign, rest = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    for unit, name in ((1, "ns"), (1_000, "µs"), (10**6, "ms")):
        if rest < unit * 1000:
            return f"{sign}{_decimal(rest, unit)}{name}"
    seconds, minutes = rest % (60 * 10**9), rest // (60 * 10**9)
    text = f"{_decimal(seconds, 10**9)}s"
    if minutes:
        text = (f"{minutes // 60}h" if minutes >= 60 else "") + f"{minutes % 60}m" + text
    return sign + text


def _decimal(value: int, unit: int) -> str:
    whole, part = divmod(value, unit)
    if not part:
        return str(whole)
    return f"{whole}.{part:0{len(str(unit)) - 1}d}".rstrip("0")
