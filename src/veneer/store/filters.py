"""Docker's image filters: `dangling=true`, `label=k=v`, `reference=ngi*`, `until=24h` and the rest.

Sources: moby daemon/images/images.go and image_prune.go, api/types/time/timestamp.go, Go's path.Match and
time.ParseDuration.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from veneer.errors import InvalidRequest

if TYPE_CHECKING:
    from veneer.oci.reference import Reference
    from veneer.store.image import Image
    from veneer.store.store import Store

LIST_FILTERS = ("before", "dangling", "label", "label!", "reference", "since", "until")
PRUNE_FILTERS = ("dangling", "label", "label!", "until")

_BOOLEANS = {"1": True, "true": True, "0": False, "false": False}


class InvalidFilter(InvalidRequest):
    """A filter nobody knows, or a value it cannot have."""


# ---- times


_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[Tt ](\d\d)(?::(\d\d)(?::(\d\d)(\.\d+)?)?)?)?(Z|z|[+-]\d\d:?\d\d)?", re.ASCII
)
_SECONDS = re.compile(r"(\d{1,18})(?:\.(\d{1,9}))?", re.ASCII)
_DURATION_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def unix_time(text: str) -> float | None:
    """The Unix seconds of an RFC 3339 time or a beginning of one (`2024-05-01`); None if it is none.

    Without a zone it is this machine's local time, as docker takes it.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        return None
    import datetime

    year, month, day, hour, minute, second, fraction, zone = match.groups()
    try:
        # Second 60 exists (leap seconds) but not for datetime.
        whole = int(second or 0)
        moment = datetime.datetime(int(year), int(month), int(day), int(hour or 0), int(minute or 0), min(whole, 59))
        extra = float(fraction or 0) + (whole - min(whole, 59))
        if zone is None:
            return moment.timestamp() + extra
        offset = 0
        if zone not in ("Z", "z"):
            digits = zone[1:].replace(":", "")
            offset = (int(digits[:2]) * 3600 + int(digits[2:]) * 60) * (-1 if zone[0] == "-" else 1)
        return (moment - datetime.datetime(1970, 1, 1)).total_seconds() - offset + extra
    except (ValueError, OverflowError, OSError):
        return None


def duration(text: str) -> float | None:
    """The seconds of a Go duration (`1h30m`, `-2.5s`); None if it is none."""
    sign, body = (-1.0, text[1:]) if text[:1] == "-" else (1.0, text.removeprefix("+"))
    if body == "0":
        return 0.0
    total, position = 0.0, 0
    while position < len(body):
        part = _DURATION_PART.match(body, position)
        if part is None:
            return None
        total += float(part[1]) * _UNITS[part[2]]
        position = part.end()
    return sign * total if body else None


def moment(text: str, now: float) -> float:
    """The Unix seconds that `until=text` means: a Go duration before `now`, a time, or Unix seconds.

    Raises InvalidFilter with docker's text.
    """
    span = duration(text)
    if span is not None:
        return now - span
    if _SECONDS.fullmatch(text):
        return float(text)
    found = unix_time(text)
    if found is None:
        raise InvalidFilter(f'failed to parse value as time or duration: "{text[:200]}"',
                            hint="for example 24h, 2024-05-01 or 2024-05-01T12:00:00Z")  # fmt: skip
    return found


# ---- patterns


def glob(pattern: str) -> re.Pattern[str]:
    """Compile a pattern of Go's path.Match: `*` and `?` stop at `/`, `[a-z]` and `[^a-z]`, `\\` escapes.

    Use with `fullmatch`.  Like Go's, it never goes back over an earlier `*`, so matching is at most quadratic.
    Raises InvalidFilter for a malformed pattern.
    """
    chunks: list[str] = [""]
    position = 0
    while position < len(pattern):
        char = pattern[position]
        if char == "*":
            chunks.append("")
            position += 1
        elif char == "[":
            text, position = _char_class(pattern, position + 1)
            chunks[-1] += text
        else:
            if char == "?":
                chunks[-1] += "[^/]"
            else:
                char, position = _literal(pattern, position, "")
                chunks[-1] += re.escape(char)
                continue
            position += 1
    text = chunks[0]
    stars = chunks[1:]
    for chunk in stars[:-1]:
        text += f"(?>[^/]*?{chunk})"
    if stars:
        text += f"[^/]*?{stars[-1]}"
    return re.compile(text, re.DOTALL)


def _bad_pattern(pattern: str) -> InvalidFilter:
    return InvalidFilter("syntax error in pattern", hint=f"in {pattern[:200]!r}: [ needs ], \\ needs a character")


def _literal(pattern: str, position: int, forbidden: str) -> tuple[str, int]:
    """One character, unescaped, and the position after it."""
    if position >= len(pattern) or pattern[position] in forbidden:
        raise _bad_pattern(pattern)
    if pattern[position] == "\\":
        position += 1
        if position >= len(pattern):
            raise _bad_pattern(pattern)
    return pattern[position], position + 1


def _char_class(pattern: str, position: int) -> tuple[str, int]:
    """A `[...]` whose bracket was just read, as a regular expression, and the position after it."""
    negated = pattern[position : position + 1] == "^"
    position += negated
    ranges: list[str] = []
    while not (ranges and pattern[position : position + 1] == "]"):
        low, position = _literal(pattern, position, "-]")
        high = low
        if pattern[position : position + 1] == "-":
            high, position = _literal(pattern, position + 1, "-]")
        # Go takes an empty range (z-a) and matches nothing by it.
        ranges.append(f"{re.escape(low)}-{re.escape(high)}" if low <= high else "")
    body = "".join(ranges)
    position += 1
    if not body:
        return ("." if negated else "(?!)"), position
    # Unlike * and ?, a class of Go's may match a slash.
    return f"[{'^' * negated}{body}]", position


# ---- the filter


@dataclass(frozen=True)
class ImageFilter:
    """What `--filter` asked for, checked: every condition must hold, of several references one."""

    dangling: bool | None = None
    labels: tuple[tuple[str, str | None], ...] = ()
    without_labels: tuple[tuple[str, str | None], ...] = ()
    references: tuple[re.Pattern[str], ...] | None = None
    before: float | None = None
    since: float | None = None
    until: float | None = None

    def keeps(self, image: Image) -> bool:
        """Whether the image's age and labels are asked for; names and danglingness are the lister's to judge."""
        created = image.created
        if self.before is not None and created >= self.before:
            return False
        if self.since is not None and created <= self.since:
            return False
        if self.until is not None and created > self.until:
            return False
        if self.labels and not _has_all(image.labels, self.labels):
            return False
        return not (self.without_labels and _has_all(image.labels, self.without_labels))

    def matches(self, reference: Reference) -> bool:
        """Whether a name is asked for: by the whole of it or by its repository, in familiar form."""
        if self.references is None:
            return True
        whole, name = reference.familiar, reference.familiar_name
        return any(pattern.fullmatch(whole) or pattern.fullmatch(name) for pattern in self.references)


def _has_all(labels: Mapping[str, str], wanted: Sequence[tuple[str, str | None]]) -> bool:
    return all(key in labels and (value is None or labels[key] == value) for key, value in wanted)


def _pairs(values: Sequence[str]) -> tuple[tuple[str, str | None], ...]:
    split = (value.partition("=") for value in values)
    return tuple((key, value if equals else None) for key, equals, value in split)


def parse(
    filters: Mapping[str, Sequence[str]],
    *,
    accepted: Sequence[str] = LIST_FILTERS,
    find: Callable[[str], Image],
    now: float | None = None,
) -> ImageFilter:
    """Check docker's filters, name -> values.  `find` resolves the image that before= and since= name.

    `now` is what durations count back from (default: the present).  Raises InvalidFilter with docker's texts,
    and what `find` raises.
    """
    for name in filters:
        if name not in accepted:
            raise InvalidFilter(f"Invalid filter '{name[:200]}'", hint="known filters: " + ", ".join(accepted))

    def values(name: str) -> Sequence[str]:
        return filters.get(name, ())

    if len(values("until")) > 1:
        raise InvalidFilter("more than one until filter specified")
    references = values("reference")
    return ImageFilter(
        dangling=_dangling(values("dangling")),
        labels=_pairs(values("label")),
        without_labels=_pairs(values("label!")),
        references=tuple(glob(pattern) for pattern in references) if references else None,
        # Several: older than each of them is older than the oldest.
        before=min((find(name).created for name in values("before")), default=None),
        since=max((find(name).created for name in values("since")), default=None),
        until=moment(values("until")[0], time.time() if now is None else now) if values("until") else None,
    )


def _dangling(values: Sequence[str]) -> bool | None:
    if not values:
        return None
    meant = {_BOOLEANS.get(value) for value in values}
    if len(meant) == 1 and (chosen := meant.pop()) is not None:
        return chosen
    raise InvalidFilter(f"Invalid filter 'dangling=[{' '.join(values)[:200]}]'", hint="use true or false")


def filtered(
    store: Store, *, all: bool = False, name: str | None = None, filters: Mapping[str, Sequence[str]] | None = None
) -> list[Image]:
    """What `docker images [-a] [name] --filter ...` lists, newest first; `name` is one more reference pattern.

    Raises InvalidFilter, NoSuchImage (in before= and since=).
    """
    chosen = {key: list(values) for key, values in (filters or {}).items()}
    if name:
        chosen.setdefault("reference", []).append(name)
    return store.images.list(all=all, filters=chosen)
