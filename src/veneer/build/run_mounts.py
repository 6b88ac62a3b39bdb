"""`RUN --mount`: what is mounted, what of it a step depends on, and what is kept."""

from __future__ import annotations

from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    import contextlib
    from typing import Any

    from veneer.build.language import instructions as i
    from veneer.build.stage import StageRun
    from veneer.run.bundle import Bundle
    from veneer.run.mountpoints import MountPoints
    from veneer.run.spec import Bind, Tmpfs


class Given(Value):
    """What the mounts of a step come to: mounts, and variables (a secret may be one)."""

    __slots__ = ()
    mounts: tuple[Bind | Tmpfs, ...]
    env: dict[str, str]


def facts(stage: StageRun, instruction: i.Run) -> list[dict[str, Any]]:
    """What a step depends on in its mounts: the files of those that show some.  What is kept is not looked at."""
    return []


def prepare(
    stage: StageRun, instruction: i.Run, bundle: Bundle, points: MountPoints, stack: contextlib.ExitStack
) -> Given:
    """Have everything ready to be mounted; `stack` ends it."""
    return Given((), {})
