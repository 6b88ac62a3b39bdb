"""Comments of a Dockerfile that say something of the instruction below them.

Source: moby/buildkit frontend/dockerfile/{parser,instructions} (PrevComment, getComment).
"""

from __future__ import annotations

from collections.abc import Sequence

from veneer.build.language.words import SPACES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.build.language.instructions import Directives, Location


def above(lines: Sequence[str], place: Location, directives: Directives) -> list[str]:
    """The comments directly before an instruction; an empty line, an empty comment, a directive ends them."""
    found: list[str] = []
    for number in range(place.line - 1, directives.last, -1):
        line = lines[number - 1].strip(SPACES)
        comment = line.removeprefix("#").strip(SPACES)
        if not line.startswith("#") or not comment:
            break
        found.append(comment)
    return found[::-1]


def description(comments: Sequence[str], name: str) -> str:
    """What comments say of `name`: the rest of the first that begins with it; "" if none does."""
    found = (comment[len(name) + 1 :] for comment in comments if name and comment.startswith(name + " "))
    return next(found, "")
