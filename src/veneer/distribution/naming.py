"""Failures of a registry that name the image they are about.

Who talks to a server knows the server alone, which nobody wrote who means Docker Hub.
"""

from __future__ import annotations

import contextlib

from veneer.distribution.session import NotARegistry, TryAgain
from veneer.distribution.transport import ConnectionFailed, TLSRefused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from veneer.oci.reference import Reference


@contextlib.contextmanager
def naming(reference: Reference, done: str = "fetched") -> Iterator[None]:
    """What goes wrong in this `with` between us and the registry says that `reference` cannot be `done`."""
    try:
        yield
    except (ConnectionFailed, TLSRefused, TryAgain, NotARegistry) as error:
        name = f"{reference.familiar}: cannot be "
        if not error.message.startswith(name):
            error.message = f"{name}{done}: {error.message}"
        raise
