"""RFC 3339 times, as image configs carry them."""

from __future__ import annotations

import time

ZERO = "0001-01-01T00:00:00Z"
"""What Docker prints for a time nobody set."""


def parse(text: str) -> float | None:
    """Seconds since 1970 of an RFC 3339 text; None where there is none or it is Go's zero time.

    The fraction may have any number of digits (Go writes nine).  Texts that are no time give None too: a
    damaged time must not hide an image.
    """
    import datetime

    body, fraction, zone = text, "", ""
    if text.startswith("0001-01-01T00:00:00") or len(text) < 20:
        return None
    body, rest = text[:19], text[19:]
    if rest.startswith("."):
        digits = rest[1:]
        end = next((n for n, char in enumerate(digits) if not char.isdigit()), len(digits))
        fraction, zone = digits[:end], digits[end:]
    else:
        zone = rest
    try:
        moment = datetime.datetime.fromisoformat(body + ("+00:00" if zone in ("Z", "z") else zone))
        return moment.timestamp() + (float("0." + fraction) if fraction else 0.0)
    except (ValueError, OverflowError):
        return None


def render(seconds: float | None, *, nanoseconds: int | None = None) -> str:
    """The UTC text of a time, with as many of nine fraction digits as it needs (Go's RFC3339Nano); ZERO for None."""
    if nanoseconds is None:
        if seconds is None:
            return ZERO
        nanoseconds = round(seconds * 1e6) * 1000
    whole, fraction = divmod(nanoseconds, 1_000_000_000)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
    digits = f"{fraction:09d}".rstrip("0")
    return f"{text}.{digits}Z" if digits else f"{text}Z"


def now() -> str:
    """This moment, RFC 3339 with nanoseconds, UTC."""
    return render(None, nanoseconds=time.time_ns())
