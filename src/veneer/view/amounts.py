"""Numbers for people, as pictures have room for them."""

from __future__ import annotations

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_DAY = 86400


def size(number: float) -> str:
    """Bytes in powers of 1000, three significant digits: 18.6MB."""
    for unit in _UNITS[:-1]:
        shown = f"{number:.3g}"
        if float(shown) < 1000:
            return shown + unit
        number /= 1000
    return f"{number:.3g}{_UNITS[-1]}"


def span(seconds: float) -> str:
    """A length of time in its largest unit: "today", "3 days", "5 weeks", "2 years"."""
    days = int(max(seconds, 0) // _DAY)
    for length, unit, least in ((365, "year", 730), (30, "month", 60), (7, "week", 14), (1, "day", 1)):
        if days >= least:
            count = days // length
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return "today"
