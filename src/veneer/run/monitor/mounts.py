"""A driver's mounts as JSON, for a job, and back."""

from __future__ import annotations

from pathlib import Path

from veneer.drivers.mount import Mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def told(mount: Mount) -> dict[str, Any]:
    """A mount as JSON has it."""
    found = {name: getattr(mount, name) for name in Mount.__dataclass_fields__}
    return {name: _plain(value) for name, value in found.items()}


def mount(given: dict[str, Any]) -> Mount:
    """The mount that was told."""
    return Mount(**{name: _typed(value, str(Mount.__dataclass_fields__[name].type)) for name, value in given.items()})


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    return [_plain(each) for each in value] if isinstance(value, tuple) else value


def _typed(value: Any, kind: str) -> Any:
    if isinstance(value, list):
        return tuple(_typed(each, kind) for each in value)
    return Path(value) if "Path" in kind and value is not None else value
