"""A mount that veneer's own union serves: what is written is spelt in aufs's way, and in overlay's once it is a layer.

On disk, in the snapshot's folder: work/union is the union's scratch room; work/as-aufs is there while all that the
upper directory deletes and hides is spelt as aufs does, and work/turning while that may be only partly so.  The union
reads either spelling, and so does the program fuse-overlayfs: whoever is killed, what shows stays as it was.
The upper directory is locked (flock) as long as a union is served that writes to it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from veneer.changeset.whiteout import WhiteoutStyle
from veneer.drivers import treecopy
from veneer.drivers.fuse import start
from veneer.drivers.mount import Mount, MountBusy, open_layer, opened
from veneer.drivers.spelling import Spelling
from veneer.values import Value

_SCRATCH = "work/union"
_AS_AUFS = "work/as-aufs"
_TURNING = "work/turning"
_ASIDE = "work/aside"
_OTHERS = ("work/work", "work/index", "work/copying")
"""What the program, or the kernel's overlay, and what is copied up for the program leave beside the upper directory."""
_PATIENCE = 10.0
"""Seconds to wait for a server to end whose mount is gone."""


def stack(lowers: Sequence[str], style: WhiteoutStyle, folder: Path | None = None) -> Mount:
    """`lowers`, nearest first, below what the snapshot in `folder` has, if one is to be written to.

    `style` is how layers are spelt.
    """
    keeper = LayerUnion(style, folder)
    upper, work = (folder / "diff", folder / _SCRATCH) if folder is not None else (None, None)
    return Mount("fuse", "veneer", start.OPTIONS, tuple(lowers), upper, work, upper is None, keeper=keeper)


class LayerUnion(Value):
    """The keeper of such a mount.  `folder` is that of the snapshot that is written to; `lasting`: it outlives this
    process."""

    __slots__ = ()
    style: WhiteoutStyle
    folder: Path | None = None
    lasting: bool = False

    @contextlib.contextmanager
    def making(self, mount: Mount) -> Iterator[Mount]:
        """The mount with a device of its own; once it is made, a process serves it.

        Raises LayerMissing, MountBusy, MountUnsupported, MountFailed.
        """
        with contextlib.ExitStack() as held:
            upper, served = -1, self._served or f"layers up to {Path(mount.lowers[0]).parent.name}"
            if self.folder is not None:
                upper = held.enter_context(_taken(self.folder))
                _begin(self.folder, upper, self.style, mount.lowers)
            opaque = self.style.opaque_xattr
            yield held.enter_context(start.serving(mount, served, upper=upper, opaque=opaque, lasting=self.lasting))

    @property
    def _served(self) -> str:
        """What a list of processes shows the server as serving, if that is written to."""
        return f"snapshot {self.folder.name}" if self.folder is not None else ""

    def ended(self) -> None:
        """The mount is gone: its server goes, too."""
        if self.folder is not None:
            start.see_end(self._served)
            with contextlib.suppress(FileNotFoundError):  # it may be removed as soon as it is unmounted
                branch = start.locked(self.folder / "diff", _PATIENCE)
                if branch is not None:
                    os.close(branch)


def spells(folder: Path) -> bool:
    """Whether all that the snapshot in `folder` deletes and hides is spelt as aufs does."""
    return os.path.lexists(folder / _AS_AUFS)


@contextlib.contextmanager
def left(folder: Path) -> Iterator[int]:
    """The snapshot in `folder` for somebody who writes in a spelling of his own: its upper directory, open, and locked
    as long as anybody has that descriptor.  Raises LayerMissing, MountBusy."""
    with _taken(folder) as upper:
        (folder / _TURNING).touch()
        (folder / _AS_AUFS).unlink(missing_ok=True)
        yield upper


def settle(folder: Path, style: WhiteoutStyle) -> None:
    """Have the snapshot in `folder`, which nobody writes to any more, in the spelling of `style`, and nothing beside.

    Cheap where no mount wrote to it.  Raises MountBusy.
    """
    if not any(os.path.lexists(folder / each) for each in (_AS_AUFS, _TURNING, *_OTHERS)):
        return
    with _taken(folder) as upper:
        (folder / _TURNING).touch()
        (folder / _AS_AUFS).unlink(missing_ok=True)
        if style is not WhiteoutStyle.AUFS:
            (folder / _ASIDE).mkdir(mode=0o700, exist_ok=True)
            Spelling(upper, style.value).to_overlay(folder / _ASIDE)
        for each in (_SCRATCH, _ASIDE, *_OTHERS):
            treecopy.remove_folder(folder / each)
        (folder / _TURNING).unlink()


def _begin(folder: Path, upper: int, style: WhiteoutStyle, lowers: Sequence[str]) -> None:
    """Have a scratch room that is empty, and the upper directory in aufs's spelling.  Raises LayerMissing."""
    treecopy.remove_folder(folder / _SCRATCH)
    (folder / _SCRATCH).mkdir(mode=0o700)
    if not spells(folder):
        for lower in lowers:
            os.close(open_layer(lower))  # a directory that hides nothing of those that are there is opaque no more
        (folder / _TURNING).touch()
        # Where layers are spelt as aufs does, too, the program alone leaves attributes, beside marks of that kind.
        spelling = Spelling(upper, "user.fuseoverlayfs." if style is WhiteoutStyle.AUFS else style.value)
        spelling.to_aufs(folder / _ASIDE, [Path(lower) for lower in lowers], lambda: opened([stack(lowers, style)]))
        (folder / _AS_AUFS).touch()
        (folder / _TURNING).unlink(missing_ok=True)


@contextlib.contextmanager
def _taken(folder: Path) -> Iterator[int]:
    """The upper directory of the snapshot in `folder`, open and locked.  Raises LayerMissing, MountBusy."""
    os.close(open_layer(folder / "diff"))
    branch = start.locked(folder / "diff", _PATIENCE)
    if branch is None:
        raise MountBusy(
            f"{folder / 'diff'} is mounted for writing", hint="stop what uses it, or look who does: fuser -vm"
        )
    try:
        yield branch
    finally:
        os.close(branch)
