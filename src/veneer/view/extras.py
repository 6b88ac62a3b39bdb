"""Parts of the pictures that need a library that not everybody has."""

from __future__ import annotations

from veneer.errors import Unsupported


class MissingExtra(Unsupported):
    """A command whose library is not installed."""


def need(command: str, library: str, extra: str) -> None:
    """Raises MissingExtra where `library`, as it is imported, is not there; it is not imported for that."""
    from importlib.util import find_spec

    if find_spec(library) is None:
        raise missing(command, library, extra)


def missing(command: str, library: str, extra: str) -> MissingExtra:
    """What to say where `library` is not there."""
    return MissingExtra(f"veneer {command} needs {library}, which is not installed",
                        hint=f"pip install 'veneer[{extra}]'")  # fmt: skip
