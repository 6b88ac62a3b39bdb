"""RFC 3339 times, as image configs carry them."""

from __future__ import annotations

import time

ZERO = "0001-01-01T00:00:00Z"
"""What Docker prints for a time nobody set."""


_MONTH_LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_DAYS_BEFORE_1970 = 719_162
"""From the first day of the year 1."""


def parse(text: str) -> float | None:
    """Seconds since 1970 of an RFC 3339 text; None where there is none or it is Go's zero time.

    The fraction may have any number of digits (Go writes nine).  Texts that are no time give None too: a
    damaged time must not hide an image.
    """
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
    if zone in ("Z", "z"):
        whole = _utc_seconds(body)
    else:
        import datetime

        try:
            whole = datetime.datetime.fromisoformat(body + zone).timestamp()
        except (ValueError, OverflowError):
            whole = None
    if whole is None:
        return None
    return whole + (float("0." + fraction) if fraction else 0.0)


def _utc_seconds(text: str) -> float | None:
    """Seconds since 1970 of `2026-01-02T03:04:05`; None for what is no time.

    Not by `datetime`, whose import takes longer than reading the times of a whole history does.
    """
    fields = (text[:4], text[5:7], text[8:10], text[11:13], text[14:16], text[17:])
    separators = text[4] + text[7] + text[10] + text[13] + text[16]
    if separators not in ("--T::", "--t::", "-- ::") or not all(each.isascii() and each.isdigit() for each in fields):
        return None
    year, month, day, hour, minute, second = map(int, fields)
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if not (year >= 1 and 1 <= month <= 12 and hour < 24 and minute < 60 and second < 60):
        return None
    if not 1 <= day <= (29 if month == 2 and leap else _MONTH_LENGTHS[month - 1]):
        return None
    before = year - 1
    days = before * 365 + before // 4 - before // 100 + before // 400 - _DAYS_BEFORE_1970
    days += sum(_MONTH_LENGTHS[: month - 1]) + (leap and month > 2) + day - 1
    return float(((days * 24 + hour) * 60 + minute) * 60 + second)


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
