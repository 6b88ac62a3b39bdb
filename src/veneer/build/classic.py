"""Texts as docker's classic builder writes them into an image: quoted lists, `#(nop)` rows, escaped JSON.

Source: moby builder/dockerfile/dispatchers.go and internals.go; Go strconv.Quote, encoding/json.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from veneer.build.language.durations import go_duration
from veneer.build.language.instructions import Healthcheck
from veneer.build.language.quoting import quoted, quoted_list, quoted_rune

DEFAULT_SHELL = ("/bin/sh", "-c")


def plain_list(words: Sequence[str]) -> str:
    """A list as Go's `%v` shows it: `[a b]`."""
    return f"[{' '.join(words)}]"


def healthcheck(check: Healthcheck) -> str:
    """What stands behind HEALTHCHECK in history.  A start interval is shown where one is given: newer docker."""
    times = [check.interval_ns, check.timeout_ns, check.start_period_ns]
    if check.start_interval_ns:
        times.append(check.start_interval_ns)
    shown = " ".join(quoted(go_duration(time)) for time in times)
    return f"&{{{quoted_list(check.test)} {shown} {quoted_rune(check.retries)}}}"


def noop(shell: Sequence[str] | None, comment: str) -> tuple[str, ...]:
    """The command of a step that only changes the configuration."""
    return (*(shell or DEFAULT_SHELL), "#(nop) ", comment)


def noop_files(shell: Sequence[str] | None, comment: str) -> tuple[str, ...]:
    """The command of COPY, ADD and WORKDIR, whose text stands in one word with the mark."""
    return (*(shell or DEFAULT_SHELL), f"#(nop) {comment}")


_ESCAPED = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})


def go_text(value: object) -> str:
    """JSON as Go writes it: compact, with what means something in HTML escaped; the keys' order is the caller's."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.translate(_ESCAPED)
