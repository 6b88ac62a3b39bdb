"""veneer: a container-image engine.

`veneer.open()` gives the engine; everything it hands out are plain typed values.

>>> import veneer
>>> with veneer.open("/tmp/some-root") as engine:                     # doctest: +SKIP
...     image = engine.images.pull("registry.example/team/app:1")
...     for row in engine.images.history("registry.example/team/app:1"):
...         print(row.id, row.size, row.created_by)
"""

from __future__ import annotations

__version__ = "0.1.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from veneer.config import Config as Config
    from veneer.engine.engine import Engine as Engine
    from veneer.engine.engine import open_engine as open
    from veneer.errors import VeneerError as VeneerError

__all__ = ["Config", "Engine", "VeneerError", "__version__", "open"]

_HOMES = {
    "Config": ("veneer.config", "Config"),
    "Engine": ("veneer.engine.engine", "Engine"),
    "VeneerError": ("veneer.errors", "VeneerError"),
    "open": ("veneer.engine.engine", "open_engine"),
}


def __getattr__(name: str) -> Any:
    # Loaded when asked for: `import veneer` and every short command stay cheap.
    if name not in _HOMES:
        raise AttributeError(f"module 'veneer' has no attribute {name!r}")
    import importlib

    module, attribute = _HOMES[name]
    return getattr(importlib.import_module(module), attribute)
