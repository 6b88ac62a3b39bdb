"""The kinds of failure veneer knows, each with its HTTP status and its exit code.

Concrete errors live beside the code that raises them and subclass a kind from here.  Message texts are
part of the interface: docker-py and the docker CLI match on them, so the shared ones have golden tests.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar


class VeneerError(Exception):
    """The root of everything veneer raises on purpose.

    `message` names the thing and the fact; `hint` (may be empty) is the way out, a command where there is one.
    """

    http_status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1
    has_lines: ClassVar[bool] = False
    """Whether line feeds in the message are veneer's own; elsewhere they come from a name, and are shown escaped."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class NotFound(VeneerError):
    """What was named is not here."""

    http_status = 404


class InvalidRequest(VeneerError):
    """The request cannot be right, whatever the state of the store."""

    http_status = 400


class Conflict(VeneerError):
    """The request is fine but the present state forbids it."""

    http_status = 409


class Unauthorized(VeneerError):
    """Nobody has said who is asking."""

    http_status = 401


class Denied(VeneerError):
    """Whoever is asking may not."""

    http_status = 403


class Unsupported(VeneerError):
    """This host, driver or format cannot do it; the message says which and what can."""

    http_status = 501


class Unavailable(VeneerError):
    """Somebody else (a registry, a full disk, another process) cannot do it now; trying later may help."""

    http_status = 503


class Corrupt(VeneerError):
    """Bytes are not what their name says."""

    http_status = 500


class NotModified(VeneerError):
    """Nothing had to be done."""

    http_status = 304
    exit_code = 0


class NotExecutable(VeneerError):
    """The command exists but cannot be executed."""

    http_status = 400
    exit_code = 126


class CommandMissing(VeneerError):
    """The command does not exist."""

    http_status = 400
    exit_code = 127


KINDS: tuple[type[VeneerError], ...] = (
    NotFound, InvalidRequest, Conflict, Unauthorized, Denied, Unsupported,
    Unavailable, Corrupt, NotModified, NotExecutable, CommandMissing,
)  # fmt: skip
