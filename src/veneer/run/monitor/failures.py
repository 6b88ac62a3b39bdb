"""Errors that cross a socket: told as data by the one side, raised as what they are by the other."""

from __future__ import annotations

import errno
import os

from veneer.errors import VeneerError
from veneer.run.monitor.protocol import BadFrame

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class MonitorFailed(VeneerError):
    """The monitor met an error that nobody foresaw; the message has what it was."""


def told(error: BaseException) -> dict[str, Any]:
    """An error as JSON has it."""
    if isinstance(error, VeneerError):
        kind = type(error)
        return {"module": kind.__module__, "name": kind.__qualname__, "message": error.message, "hint": error.hint}
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return {"full": os.path.dirname(os.fsdecode(error.filename or "."))}
    return {"module": "", "name": "", "message": f"{type(error).__name__}: {error}", "hint": ""}


def raised(given: dict[str, Any]) -> VeneerError:
    """The error that was told, to be raised."""
    if "full" in given:
        from veneer.store.catalog import store_full

        return store_full(str(given["full"]))
    try:
        module, name, message, hint = (str(given[key]) for key in ("module", "name", "message", "hint"))
    except KeyError as error:
        raise BadFrame(f"an error without its {error}") from error
    return _kind(module, name)(message, hint=hint)


def _kind(module: str, name: str) -> type[VeneerError]:
    if module.startswith("veneer."):
        import importlib

        found = getattr(importlib.import_module(module), name, None)
        if isinstance(found, type) and issubclass(found, VeneerError):
            return found
    return MonitorFailed
