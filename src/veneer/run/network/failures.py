"""What can go wrong with a container's network; apart from the work, so that naming an error imports nothing."""

from __future__ import annotations

from veneer.errors import Conflict, InvalidRequest, Unavailable, Unsupported


class NoNetwork(Unsupported):
    """There is no program here that could give a container a network."""


class NetworkFailed(Unavailable):
    """The host could not give the container a network."""


class PortTaken(Conflict):
    """A port of the host that a container wants to publish is somebody else's."""


class NoProtocol(Unsupported):
    """A port of a protocol that this kernel does not speak, or that cannot be published here."""


class InvalidPort(InvalidRequest):
    """A published port that is none."""
