"""The branches as a FUSE mount, and the one that is written to locked for as long as it is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from veneer.drivers.aufs import live
from veneer.drivers.aufs.live import Places
from veneer.drivers.fuse import start
from veneer.drivers.mount import Mount
from veneer.values import Value

_PATIENCE = 10.0


def union(places: Places, lowers: Sequence[str], snapshot: str = "") -> Mount:
    """The branches of `lowers`, nearest first, below that of `snapshot` to write to; without one, to look at."""
    branches = places.branches(lowers)
    if not snapshot:
        keeper = FuseUnion(places, "", tuple(lowers))
        return Mount("fuse", "veneer", start.OPTIONS, branches, readonly=True, keeper=keeper)
    state = places.state(snapshot)
    return Mount(
        "fuse", "veneer", start.OPTIONS, branches, places.branch(snapshot), state / "work",
        keeper=FuseUnion(places, snapshot, tuple(lowers)),
    )  # fmt: skip


class FuseUnion(Value):
    """The keeper of a FUSE mount.  `snapshot` is the one whose branch is written to, "" if none is; `lasting`: it
    outlives this process."""

    __slots__ = ()
    places: Places
    snapshot: str
    lowers: tuple[str, ...]
    lasting: bool = False

    @contextlib.contextmanager
    def making(self, mount: Mount) -> Iterator[Mount]:
        """The mount with a device of its own; once it is made, a process serves it."""
        with contextlib.ExitStack() as held:
            branch = -1
            if self.snapshot:
                branch = held.enter_context(live.taken(self.places, self.snapshot, self.lowers))
                (self.places.state(self.snapshot) / "union").touch()
            yield held.enter_context(start.serving(mount, self._served(), upper=branch, lasting=self.lasting))

    def _served(self) -> str:
        """What a list of processes shows the server as serving."""
        return f"snapshot {self.snapshot}" if self.snapshot else f"layers up to {next(iter(self.lowers), 'none')}"

    def ended(self) -> None:
        """The mount is gone: its server goes, too, and a branch it wrote to is plain."""
        if self.snapshot:
            start.see_end(self._served())
            live.finished(self.places, self.snapshot, patience=_PATIENCE)
