"""A driver's mounts as JSON, for a job, and back."""

from __future__ import annotations

import base64
from pathlib import Path

from veneer.drivers.mount import Mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def told(mount: Mount) -> dict[str, Any]:
    """A mount as JSON has it."""
    return {name: _plain(getattr(mount, name)) for name in Mount.__annotations__}


def mount(given: dict[str, Any]) -> Mount:
    """The mount that was told."""
    return Mount(**{name: _typed(value, str(Mount.__annotations__[name])) for name, value in given.items()})


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    if type(value) is tuple:  # and not a value, which is one underneath
        return [_plain(each) for each in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    import pickle

    # Of a driver that has to do something itself: who does it knows paths, and is told as what he is.
    return {"pickled": base64.b64encode(pickle.dumps(value)).decode()}


def _typed(value: Any, kind: str) -> Any:
    if isinstance(value, list):
        return tuple(_typed(each, kind) for each in value)
    if isinstance(value, dict):
        import pickle

        return pickle.loads(base64.b64decode(value["pickled"]))
    return Path(value) if "Path" in kind and value is not None else value
