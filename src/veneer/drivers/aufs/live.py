"""Writable branches, from the moment they are got ready for a mount until they are plain aufs again.

On disk: ROOT/state/<snapshot>/ is there as long as a branch may be in any other spelling than aufs's, or have
scratch files: `lowers` (the branches below it, nearest first), `work` (the mount's own), `aside` (what aufs keeps in
the branch's root), and `open`, which is there exactly while names that begin with `.wh.` are users' and not markers;
`union` says that a FUSE server writes to it, which spells as aufs does.
Whoever finds such a folder whose mount is gone finishes what was begun: however a writer ended, the next one who
looks turns the branch back.

A branch is locked (flock on its directory) while its spelling is turned, and by a FUSE server as long as it serves.
Whether overlay still writes to it, in whatever mount namespace, the kernel itself is asked.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from veneer.changeset.whiteout import OPAQUE_MARKER, WhiteoutStyle
from veneer.drivers import mount_syscalls as sys_mount
from veneer.drivers import treecopy
from veneer.drivers.aufs import shadow
from veneer.drivers.fuse.start import locked
from veneer.drivers.mount import Mount, MountBusy, opened
from veneer.drivers.spelling import Spelling
from veneer.values import Value

_OPAQUE = os.fsdecode(OPAQUE_MARKER)
_PATIENCE = 10.0
"""Seconds to wait for the kernel to let go of a mount that has ended: it does so a little later."""


class Places(Value):
    """Where a driver's things are: `root` is its folder; `xattrs` overlay's prefix; `options` its mount options."""

    __slots__ = ()
    root: str
    xattrs: str
    options: tuple[str, ...]

    def branch(self, snapshot: str) -> Path:
        return Path(self.root, "diff", snapshot)

    def state(self, snapshot: str) -> Path:
        return Path(self.root, "state", snapshot)

    def shadow(self, snapshot: str) -> Path:
        return Path(self.root, "shadow", snapshot)

    def branches(self, snapshots: Sequence[str]) -> tuple[str, ...]:
        return tuple(f"{self.root}/diff/{snapshot}" for snapshot in snapshots)

    def layers(self, snapshots: Sequence[str]) -> list[str]:
        """The branches with their shadows, as overlay's lower directories; none below one that hides all others."""
        found: list[str] = []
        opaque = self.xattrs + "opaque"
        for snapshot in snapshots:
            own = shadow.shadowed(f"{self.root}/diff/{snapshot}", f"{self.root}/shadow/{snapshot}", opaque)
            found += own
            if len(own) > 1 and self.hides_all(snapshot):
                break  # the kernel does not look for such a mark on a layer's root
        return found

    def hides_all(self, snapshot: str) -> bool:
        """Whether the branch's root is opaque."""
        return os.path.lexists(f"{self.root}/diff/{snapshot}/{_OPAQUE}")

    def view(self, snapshots: Sequence[str]) -> Mount:
        """A read-only mount of the branches by overlay."""
        layers = self.layers(snapshots) or [str(treecopy.empty(Path(self.root)))]
        return Mount.overlay(layers, options=self.options)


class ShimBranch(Value):
    """The keeper of a writable overlay mount: its branch is overlay's as long as the mount is."""

    __slots__ = ()
    places: Places
    snapshot: str
    lowers: tuple[str, ...]

    @contextlib.contextmanager
    def making(self, mount: Mount) -> Iterator[Mount]:
        """Have the branch in overlay's spelling while the mount is made, and if that fails, as it was."""
        with taken(self.places, self.snapshot, self.lowers) as branch:
            state = self.places.state(self.snapshot)
            spelling = Spelling(branch, self.places.xattrs)
            try:
                spelling.to_overlay(state / "aside")
                (state / "open").touch()
                spelling.release()
                yield mount
            except BaseException:
                _finish(self.places, self.snapshot, branch)
                raise

    def ended(self) -> None:
        """The mount is gone, or will be when its last user is: turn the branch back as soon as that is true."""
        finished(self.places, self.snapshot, patience=_PATIENCE)


@contextlib.contextmanager
def taken(places: Places, snapshot: str, lowers: Sequence[str]) -> Iterator[int]:
    """A branch that is ours alone and plain aufs: a descriptor, locked as long as it is open; with its state folder.

    Raises MountBusy.
    """
    branch = locked(places.branch(snapshot), _PATIENCE)
    if branch is None:
        raise _busy(places, snapshot)
    try:
        state = places.state(snapshot)
        if state.exists():
            if not _let_go(places, snapshot, 0):
                raise _busy(places, snapshot)
            _finish(places, snapshot, branch)
        shadow.forget(places.shadow(snapshot))
        (state / "work").mkdir(mode=0o700, parents=True)
        (state / "aside").mkdir(mode=0o700)
        (state / "lowers").write_text("".join(f"{lower}\n" for lower in lowers))
        yield branch
    finally:
        os.close(branch)


def finished(places: Places, snapshot: str, *, patience: float = 0.0) -> bool:
    """Turn a branch back whose mount is gone; whether it is plain aufs now.

    Waits up to `patience` seconds for the mount to go.
    """
    if not places.state(snapshot).exists():
        return True
    branch = locked(places.branch(snapshot), patience)
    if branch is None:
        return False
    try:
        if not places.state(snapshot).exists():
            return True  # somebody else did it while we waited
        if not _let_go(places, snapshot, patience):
            return False
        _finish(places, snapshot, branch)
        return True
    finally:
        os.close(branch)


def plain(places: Places, snapshot: str) -> None:
    """Have a branch in aufs's spelling.  Raises MountBusy while it is mounted."""
    if not finished(places, snapshot, patience=_PATIENCE):
        raise _busy(places, snapshot)


@contextlib.contextmanager
def spelt(places: Places, snapshot: str) -> Iterator[WhiteoutStyle]:
    """How a branch says what is deleted, kept so for as long as the block reads it: a container may be at work.

    Raises MountBusy while it is being turned.
    """
    state, end = places.state(snapshot), time.monotonic() + _PATIENCE
    while not finished(places, snapshot):
        if (state / "union").exists():
            break
        branch = locked(places.branch(snapshot), 0, fcntl.LOCK_SH)
        if branch is not None:
            try:
                if (state / "open").exists() and in_use(places.branch(snapshot)):
                    yield WhiteoutStyle(places.xattrs)
                    return
            finally:
                os.close(branch)
        if time.monotonic() > end:
            raise _busy(places, snapshot)
        time.sleep(0.002)
    yield WhiteoutStyle.AUFS


class LiveView(Value):
    """The keeper of a read-only overlay that has a branch as a lower layer which another overlay writes to: as long as
    somebody looks, the branch is not turned."""

    __slots__ = ()
    places: Places
    snapshot: str

    @contextlib.contextmanager
    def making(self, mount: Mount) -> Iterator[Mount]:
        """The mount as it is.  Raises MountBusy where the branch is being turned."""
        path = self.places.branch(self.snapshot)
        branch = locked(path, _PATIENCE, fcntl.LOCK_SH)
        if branch is None:
            raise _busy(self.places, self.snapshot)
        try:
            if not (self.places.state(self.snapshot) / "open").exists():
                raise _busy(self.places, self.snapshot)  # it ended at this moment
            yield mount
        except BaseException:
            os.close(branch)
            raise
        _looked_at.setdefault(str(path), []).append(branch)

    def ended(self) -> None:
        """The mount is gone: once the last of its kind is, the branch may be turned."""
        held = _looked_at.get(str(self.places.branch(self.snapshot)))
        if held:
            os.close(held.pop())  # whichever: each is one view's


_looked_at: dict[str, list[int]] = {}
"""The locks that views of branches hold in this process; the kernel lets go of them with it."""


def view(places: Places, snapshot: str, lowers: Sequence[str]) -> Mount | None:
    """A read-only mount of a branch that is written to at this moment, on those of `lowers`; None for one that is not.

    Raises MountBusy while it is being turned.
    """
    with spelt(places, snapshot) as style:
        if (places.state(snapshot) / "union").exists():
            from veneer.drivers.aufs import fuse_mount

            return fuse_mount.union(places, [snapshot, *lowers])
        if style is WhiteoutStyle.AUFS:
            return None
    layers = [*places.branches([snapshot]), *places.layers(lowers)]
    return Mount.overlay(layers, options=places.options).replaced(keeper=LiveView(places, snapshot))


def _finish(places: Places, snapshot: str, branch: int) -> None:
    state = places.state(snapshot)
    spelling = Spelling(branch, places.xattrs)
    if (state / "open").exists():
        spelling.reserve()
        (state / "open").unlink()
    try:
        lowers = (state / "lowers").read_text().split()
    except FileNotFoundError:
        lowers = []  # cut off before there was anything to turn
    spelling.to_aufs(state / "aside", [places.branch(lower) for lower in lowers], lambda: opened([places.view(lowers)]))
    treecopy.remove_folder(state)


def _let_go(places: Places, snapshot: str, patience: float) -> bool:
    """Whether no overlay writes to the branch any more."""
    end = time.monotonic() + patience
    while in_use(places.branch(snapshot)):
        if time.monotonic() > end:
            return False
        time.sleep(0.002)
    return True


def in_use(upper: Path) -> bool:
    """Whether an overlay, wherever it is mounted, has the directory as its upper one.

    With `index` the kernel refuses a second one (EBUSY), and it looks for that before it looks at the work directory,
    for which this one, on another mount, is never right (EINVAL): so nothing is ever mounted.
    """
    fd = os.open(upper, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    work = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        options = b"lowerdir=/,upperdir=/proc/self/fd/%d,workdir=/proc/self/fd/%d,index=on" % (fd, work)
        sys_mount.mount(b"overlay", os.fsencode(upper), b"overlay", 0, options)
    except OSError as error:
        return error.errno == errno.EBUSY
    finally:
        os.close(fd)
        os.close(work)
    sys_mount.umount2(os.fsencode(upper), sys_mount.MNT_DETACH)
    return False


def _busy(places: Places, snapshot: str) -> MountBusy:
    return MountBusy(
        f"{places.branch(snapshot)} is mounted for writing", hint="stop what uses it, or look who does: fuser -vm"
    )
