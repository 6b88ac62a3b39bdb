"""A mount as a value: what would have to be mounted, by `mount`, and who looks after it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from veneer.drivers.driver import MAX_LOWERS, STACKS_NOTHING
from veneer.errors import Unsupported
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    import contextlib
    from typing import Protocol

    from veneer.drivers.userns import Extents
else:
    Protocol = object  # a real one needs `typing` when it is defined, two milliseconds of every `run`


class TooManyLayers(Unsupported):
    """More layers than one mount can stack."""


class Mount(Value):
    """One mount, described.

    `type` is "bind" (then `source` is the directory) or "overlay" (then `lowers`, nearest first, and for a writable
    one `upper` and `work`).  `options` are the file system's own words, "userxattr" or "redirect_dir=off".
    "fuse" and "aufs" are unions of `lowers` that are spelt as aufs spells; only who knows how makes such a mount.
    `keeper`: who does what a mount needs besides.
    A lower that is a file is an EROFS image (lowers are strings: there may be hundreds, and a Path takes as long as to
    hand one over); `data` are directories that only have the contents of other lowers' files.
    """

    __slots__ = ()
    type: str
    source: str
    options: tuple[str, ...] = ()
    lowers: tuple[str, ...] = ()
    upper: Path | None = None
    work: Path | None = None
    readonly: bool = False
    data: tuple[Path, ...] = ()
    keeper: Keeper | None = None
    volatile: bool = False
    """Whether it can be made with the option `volatile`."""
    ids: Extents = ()
    """As whom owners in `lowers`, or in the directory of a bind, are seen: (on the disk, seen, how many); as they are
    where it is empty."""

    @classmethod
    def bind(cls, source: Path, *, readonly: bool = False) -> Mount:
        return cls("bind", str(source), readonly=readonly)

    @classmethod
    def overlay(
        cls,
        lowers: Sequence[str | Path],
        *,
        upper: Path | None = None,
        work: Path | None = None,
        options: Sequence[str] = (),
        readonly: bool = False,
        data: Sequence[Path] = (),
    ) -> Mount:
        """The union of `lowers` (nearest first) and `upper`; without `upper` it is read-only.

        A directory that occurs twice is used once, where it is nearest: the kernel refuses it twice (ELOOP), and
        whatever the farther copy could show or hide is decided by the nearer one already.  What is left with a single
        lower and no upper is a read-only bind, since an overlay of one layer does not exist.
        Raises TooManyLayers past 500 lowers.
        """
        unique = tuple(dict.fromkeys(os.fspath(lower) for lower in lowers))
        if not unique:
            raise ValueError("an overlay needs at least one lower directory")
        if len(unique) > MAX_LOWERS:
            raise TooManyLayers(
                f"{len(unique)} layers are more than the {MAX_LOWERS} the kernel's overlay can stack",
                hint=STACKS_NOTHING,
            )
        if upper is None and len(unique) == 1 and not data:
            return cls.bind(Path(unique[0]), readonly=True)
        return cls("overlay", "overlay", tuple(options), unique, upper, work, readonly or upper is None, tuple(data))

    def unsynced(self) -> Mount:
        """The same mount, in which fsync does nothing, if it can be that.

        For what is made to last all at once, or not at all.  Source: Linux Documentation/filesystems/overlayfs.rst,
        Volatile mount.
        """
        return self.replaced(options=(*self.options, "volatile"), volatile=False) if self.volatile else self


class Keeper(Protocol):
    """Who does what a mount needs before it is made and after it is gone, and who serves it meanwhile."""

    def making(self, mount: Mount) -> contextlib.AbstractContextManager[Mount]:
        """Get things ready, in the process that makes the mount; the mount as it is to be made in this `with`.

        Once that is left it is in use; if it is left by an exception, all is as it was.
        """

    def ended(self) -> None:
        """The mount is gone: put things right.  Whoever never says so has it done by the next to look."""
