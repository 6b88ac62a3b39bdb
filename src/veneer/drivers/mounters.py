"""Of several ways to stack a driver's layers, the one to use here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from veneer.errors import InvalidRequest
from veneer.values import Value


class NoSuchMounter(InvalidRequest):
    """No way of mounting that driver's layers has that name."""


class Finding(Value):
    """Whether a mounter works; `reason` says why not, or how it does.  `options` and `volatile` are overlay's."""

    __slots__ = ()
    name: str
    usable: bool
    reason: str
    options: tuple[str, ...] = ()
    volatile: bool = False


def find(setting: str, wanted: str, trials: Mapping[str, Callable[[], Finding]]) -> Finding:
    """The mounter that is wanted, else the first of `trials` that works; `setting` is what the wish stands in.

    If none does, the reason names every one.  Raises NoSuchMounter.
    """
    if wanted and wanted not in trials:
        raise NoSuchMounter(f"{setting} cannot be {wanted!r}", hint=f"one of {', '.join(trials)}; empty: any")
    reasons: list[str] = []
    for name in [wanted] if wanted else trials:
        found = trials[name]()
        if found.usable:
            chosen = f"as {setting} says" if wanted else "; ".join(reasons)
            return found.replaced(reason=f"{name}: {found.reason}" + (f" ({chosen})" if chosen else ""))
        reasons.append(f"{name}: {found.reason}")
    only = f" ({setting}, a setting, allows no other)" if wanted else ""
    return Finding(wanted, False, "; ".join(reasons) + only)
