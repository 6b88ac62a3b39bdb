"""Why a test that passes on ext4 does not on a union: each difference has its reason here, or `make posix` fails."""

from __future__ import annotations

import re
from typing import NamedTuple


class Argument(NamedTuple):
    """`tests` and `grounds` are regular expressions, of which every difference of this kind matches both."""

    title: str
    tests: str
    grounds: str
    why: str


ARGUMENTS: tuple[Argument, ...] = ()


def argument(test: str, ground: str) -> Argument | None:
    """What is to be said of this difference; None: nothing yet."""
    for each in ARGUMENTS:
        if re.search(each.tests, test) and re.fullmatch(each.grounds, ground):
            return each
    return None
