"""Small frozen values: declared like a dataclass, made by subclassing `Value`.

    class Report(Value):
        status: str
        total: int | None = None

A value is a tuple underneath, as a typing.NamedTuple is, but neither `dataclasses` nor `typing` is imported for it:
see docs/decisions/0010-what-a-short-command-imports.md.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self, dataclass_transform

    @dataclass_transform(frozen_default=True, order_default=True)
    class Value:
        """A frozen value whose fields are the annotations of its class, in order; equal and ordered by them."""

        def replaced(self, **changes: Any) -> Self:
            """The same value but for these fields."""

else:
    from collections import namedtuple

    class Value(tuple):
        __slots__ = ()

        def __init_subclass__(cls) -> None:
            names = [*getattr(cls, "_fields", ()), *cls.__annotations__]
            defaults = [cls.__dict__[name] for name in names if name in cls.__dict__]
            made = namedtuple(cls.__name__, names, defaults=defaults, module=cls.__module__)
            for name in ("__new__", "__repr__", "__getnewargs__", "_replace", "_fields", *names):
                setattr(cls, name, made.__dict__[name])
            cls._make = made.__dict__["_make"]
            cls.__match_args__ = cls._fields

        def replaced(self, **changes):
            return self._replace(**changes)
