"""Sizes and ages as docker prints them.  Source: docker/go-units (size.go, duration.go)."""

from __future__ import annotations

_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")
_DAY = 24
YEAR_2000 = 946_684_800
"""Unix time up to which docker's client takes a creation date for a placeholder."""


def _scaled(size: float, base: float, suffixes: tuple[str, ...], digits: int) -> str:
    step = 0
    while step < len(suffixes) - 1:
        # Rounding may carry into the next unit: go-units then prints 1e+03MB, which nobody wants to read.
        if size < base and not (base == 1000 and size > 999 and float(f"{size:.{digits}g}") >= base):
            break
        size /= base
        step += 1
    return f"{size:.{digits}g}{suffixes[step]}"


AT_MOST = "≤"
"""Before a size that is only a bound: what is to pull of layers that are not compressed yet."""


def human_size(size: float, digits: int = 3) -> str:
    """Bytes in powers of 1000 with `digits` significant digits: 1.98MB (lists use 3, `system df` 4)."""
    return _scaled(float(size), 1000.0, _DECIMAL, digits)


def memory_size(size: float) -> str:
    """Bytes in powers of 1024 with 4 significant digits: 7.754GiB."""
    return _scaled(float(size), 1024.0, _BINARY, 4)


def human_duration(seconds: float) -> str:
    """A length of time in words: "Less than a second", "About a minute", "3 weeks"."""
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    if whole < 60:
        return "1 second" if whole == 1 else f"{whole} seconds"
    minutes = whole // 60
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    hours = int(seconds / 3600 + 0.5)
    if hours < 48:
        return "About an hour" if hours == 1 else f"{hours} hours"
    if hours < 14 * _DAY:
        return f"{hours // _DAY} days"
    if hours < 60 * _DAY:
        return f"{hours // (7 * _DAY)} weeks"
    if hours < 730 * _DAY:
        return f"{hours // (30 * _DAY)} months"
    return f"{int(seconds / 3600) // _DAY // 365} years"


def ago(created: float | None, now: float) -> str:
    """How long ago that was, or N/A where nobody said when (no date, or one of before 2000)."""
    if created is None or created <= YEAR_2000:
        return "N/A"
    return human_duration(now - created) + " ago"


def since(created: float, now: float) -> str:
    """How long ago that was; N/A for 0, which stands for "nobody said"."""
    return human_duration(now - created) + " ago" if created else "N/A"


def local_rfc3339(moment: float | None) -> str:
    """A Unix time as Go's time.RFC3339 in local time; None is Go's zero time."""
    import time

    if moment is None:
        return "0001-01-01T00:00:00Z"
    local = time.localtime(int(moment))
    offset = time.strftime("%z", local)
    return time.strftime("%Y-%m-%dT%H:%M:%S", local) + ("Z" if offset == "+0000" else f"{offset[:3]}:{offset[3:]}")


def local_time(moment: float) -> str:
    """A Unix time as Go's time.Time prints itself in local time: 2026-01-02 03:04:05 +0000 UTC."""
    import time

    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(int(moment)))
