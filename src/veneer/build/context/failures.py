"""What can be wrong with what a build may read."""

from __future__ import annotations

from veneer.errors import InvalidRequest, NotFound, Unavailable


class SourceNotFound(NotFound):
    """A source of COPY or ADD that is not in the context, or is kept out of it."""


class EscapesContext(InvalidRequest):
    """A path that leads out of the context."""


class BadContext(InvalidRequest):
    """A context that cannot be used: not a directory, not an archive, not readable."""


class SourceChanged(Unavailable):
    """A file of the context was written to each time it was read."""


def shown(path: bytes) -> str:
    """A path for a message."""
    return path.decode(errors="backslashreplace")
