"""What overlay has to be shown beside a branch in aufs's spelling: two small trees, made once for each layer.

`above` goes on top of the branch and hides its markers, `below` goes under it and does in overlay's words what they
say.  A branch without markers has neither.  On disk: ROOT/shadow/<snapshot>/{above,below}; the folder is there, empty,
as soon as it is known that the branch has none.
Source: Linux Documentation/filesystems/overlayfs.rst.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from veneer.changeset.whiteout import META_PREFIX, OPAQUE_MARKER, PREFIX
from veneer.drivers import treecopy
from veneer.drivers.spelling import RESERVED, walked
from veneer.drivers.treecopy import Cursor

_PREFIX, _META, _OPAQUE = os.fsdecode(PREFIX), os.fsdecode(META_PREFIX), os.fsdecode(OPAQUE_MARKER)
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def shadowed(branch: str, shadow: str, opaque: str) -> list[str]:
    """`branch` with its shadows, topmost first, as lower directories for overlay; made if there are none yet."""
    above = f"{shadow}/above"
    try:
        os.stat(above)
    except FileNotFoundError:
        if not os.path.exists(shadow):
            make(Path(branch), Path(shadow), opaque)
            return shadowed(branch, shadow, opaque)
        return [branch]
    below = f"{shadow}/below"
    return [above, branch, below] if os.path.exists(below) else [above, branch]


def needed(branch: Path) -> bool:
    """Whether the branch has markers, so that it does not show what its layer holds."""
    with treecopy.directory(branch) as own:
        return any(name.startswith(_PREFIX) for _, names in walked(own, reserved=False) for name in names)


def make(branch: Path, shadow: Path, opaque: str) -> None:
    """Make the shadows of `branch` in the folder `shadow`, or leave those that somebody else made meanwhile.

    `opaque`: the attribute that makes a directory opaque.
    """
    shadow.parent.mkdir(mode=0o710, exist_ok=True)
    new = shadow.with_name(f".{shadow.name}.{os.urandom(6).hex()}")
    new.mkdir(mode=0o700)
    try:
        with treecopy.directory(branch) as own, treecopy.directory(new) as folder:
            _Shadows(own, folder, opaque).make()
        new.rename(shadow)
    except OSError as error:
        treecopy.delete_tree(new)
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    except BaseException:
        treecopy.delete_tree(new)
        raise


def forget(shadow: Path) -> None:
    """Throw the shadows away: their branch is going to change."""
    with contextlib.suppress(FileNotFoundError):
        doomed = shadow.with_name(f".{shadow.name}.{os.urandom(6).hex()}")
        shadow.rename(doomed)
        treecopy.delete_tree(doomed)


class _Shadows:
    """The shadows of one branch while they are made."""

    def __init__(self, branch: int, folder: int, opaque: str) -> None:
        self._branch = branch
        self._folder = folder
        self._opaque = opaque
        self._device = ""

    def make(self) -> None:
        for cursor, names in walked(self._branch, reserved=False):
            markers = [name for name in names if name.startswith(_PREFIX)]
            if not markers:
                continue
            trail = cursor.path.split("/") if cursor.path else []
            with self._place("above", trail) as above:
                for name in markers:
                    self._hide(above, name)
                    if name.startswith(RESERVED):
                        _show(cursor.fd, name, above, _PREFIX + name.removeprefix(RESERVED))
            hidden = [name.removeprefix(_PREFIX) for name in markers if not name.startswith(_META)]
            if hidden or _OPAQUE in markers:
                with self._place("below", trail) as below:
                    for name in hidden:
                        self._hide(below, name)
                    if _OPAQUE in markers:
                        os.setxattr(below, self._opaque, b"y")
        if self._device:
            self._dress()

    @contextlib.contextmanager
    def _place(self, which: str, trail: list[str]) -> Iterator[int]:
        """The directory of a shadow that goes with one of the branch, made with those above it."""
        fd = os.dup(self._folder)
        try:
            for name in (which, *trail):
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, 0o755, dir_fd=fd)
                inside = os.open(name, _DIRECTORY, dir_fd=fd)
                os.close(fd)
                fd = inside
            yield fd
        finally:
            os.close(fd)

    def _hide(self, fd: int, name: str) -> None:
        """Put a whiteout into a directory; one inode serves for many, as with overlay itself."""
        if self._device:
            try:
                os.link(self._device, name, src_dir_fd=self._folder, dst_dir_fd=fd, follow_symlinks=False)
                return
            except OSError as error:
                if error.errno != errno.EMLINK:
                    raise
                os.unlink(self._device, dir_fd=self._folder)
        self._device = "whiteout"
        os.mknod(self._device, stat.S_IFCHR, 0, dir_fd=self._folder)
        self._hide(fd, name)

    def _dress(self) -> None:
        """Give the directories of `above` the attributes of the branch's: where directories merge, the topmost one's
        are seen."""
        with contextlib.ExitStack() as stack:
            top = os.open("above", _DIRECTORY, dir_fd=self._folder)
            stack.callback(os.close, top)
            shadow = stack.enter_context(Cursor(top))
            branch = stack.enter_context(Cursor(self._branch))
            waiting = [_folders(shadow.fd)]
            while True:
                if waiting[-1]:
                    name = waiting[-1].pop()
                    try:
                        branch.enter(name)
                    except FileNotFoundError:
                        continue  # a user's own reserved name: it is a copy, with all its attributes
                    shadow.enter(name)
                    waiting.append(_folders(shadow.fd))
                    continue
                treecopy.copy_attributes(branch.fd, shadow.fd, os.fstat(branch.fd))
                waiting.pop()
                if not waiting:
                    return
                shadow.leave()
                branch.leave()


def _folders(fd: int) -> list[str]:
    with os.scandir(fd) as entries:
        return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]


def _show(fd: int, name: str, above: int, shown: str) -> None:
    """Have what a user named with `.wh.` seen by the name he gave it."""
    if stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
        os.mkdir(shown, 0o700, dir_fd=above)
        treecopy.copy_tree(Path(f"/proc/self/fd/{fd}/{name}"), Path(f"/proc/self/fd/{above}/{shown}"))
    else:
        os.link(name, shown, src_dir_fd=fd, dst_dir_fd=above, follow_symlinks=False)
