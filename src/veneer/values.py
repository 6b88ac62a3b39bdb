"""Small frozen values: declared like a dataclass, made by subclassing `Value`.

    class Report(Value):
        status: str
        total: int | None = None

A value is a tuple underneath, as a typing.NamedTuple is, but neither `dataclasses` nor `typing` is imported for it, and
what makes them quickly is compiled when they are many: see docs/decisions/0010-what-a-short-command-imports.md.
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
    from _collections import _tuplegetter

    _FEW = 8

    class Value(tuple):
        __slots__ = ()
        _fields = ()
        _defaults = {}

        def __init_subclass__(cls) -> None:
            names = (*cls._fields, *cls.__annotations__)
            own = {name: cls.__dict__[name] for name in names if name in cls.__dict__}
            defaults = cls._defaults | own
            first = next((index for index, name in enumerate(names) if name in defaults), len(names))
            for name in names[first:]:
                if name not in defaults:
                    raise TypeError(f"{cls.__name__}: {name} has no default, and follows one that has")
            cls._fields = cls.__match_args__ = names
            cls._defaults = defaults
            for index, name in enumerate(names):
                setattr(cls, name, _tuplegetter(index, ""))
            cls.__new__ = _first(cls)

        def __repr__(self) -> str:
            fields = (f"{name}={value!r}" for name, value in zip(self._fields, self, strict=True))
            return f"{type(self).__name__}({', '.join(fields)})"

        def __getnewargs__(self):
            return tuple(self)

        def replaced(self, **changes):
            made = tuple.__new__(type(self), map(changes.pop, self._fields, self))
            if changes:
                raise TypeError(f"{type(self).__name__} has no {', '.join(changes)}")
            return made

    def _first(owner):
        """The `__new__` of a class of which there are few values yet: with many, it puts a quicker one in its place."""
        names, count = owner._fields, 0

        def __new__(cls, *given, **named):
            nonlocal count
            count += 1
            if count > _FEW or len(given) + len(named) > len(names):
                owner.__new__ = _compiled(owner)  # which also says best what is wrong
                return owner.__new__(cls, *given, **named)
            filled = owner._defaults | named
            rest = names[len(given) :]
            if not filled.keys() >= {*rest} or not named.keys() <= {*rest}:
                return _compiled(owner)(cls, *given, **named)
            return tuple.__new__(cls, (*given, *(filled[name] for name in rest)))

        return __new__

    def _compiled(owner):
        """A `__new__` as quick as can be."""
        names = owner._fields
        words, fields = ", ".join(("_cls", *names)), "".join(f"{name}, " for name in names)
        made = eval(f"lambda {words}: _made(_cls, ({fields}))", {"_made": tuple.__new__, "__builtins__": {}})
        made.__defaults__ = tuple(owner._defaults[name] for name in names if name in owner._defaults)
        made.__name__, made.__qualname__ = "__new__", f"{owner.__qualname__}.__new__"
        return made
