"""What can stack overlay2's layers by FUSE: veneer's own union, or the program fuse-overlayfs.

The union first: the program has faults (docs/decisions/0021-mounts-and-other-roots.md), and both need the same device.
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from pathlib import Path

from veneer.drivers.mounters import Finding, find
from veneer.errors import VeneerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.changeset.whiteout import WhiteoutStyle

VENEER = "veneer"
PROGRAM = "program"
_SERVED = "FUSE, served by the program fuse-overlayfs"


def find_mounter(root: Path, wanted: str = "") -> Finding:
    """The mounter to use in the folder `root`: the one that is wanted, else the first that works.

    If none does, the reason names every one.  Raises NoSuchMounter.
    """
    return find("fuse_overlayfs_mounter", wanted, {VENEER: _union, PROGRAM: lambda: _program(root)})


def holds_marks(root: Path, style: WhiteoutStyle) -> bool:
    """Whether the file system of the folder `root` takes what layers have where they delete and hide something.

    Raises OSError where nothing at all can be made there.
    """
    from veneer.changeset import whiteout
    from veneer.drivers import treecopy

    with tempfile.TemporaryDirectory(dir=root, prefix=".probe-") as name, treecopy.directory(Path(name)) as fd:
        try:
            whiteout.hide(fd, b"deleted", style)
            whiteout.make_opaque(fd, style)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EINVAL):
                raise
            return False
    return True


def _union() -> Finding:
    from veneer.drivers.fuse import start

    try:
        start.try_out()
    except VeneerError as error:
        return Finding(VENEER, False, error.message)
    return Finding(VENEER, True, "a process of veneer's serves each mount")


def _program(root: Path) -> Finding:
    """Whether the program is here and a mount that it serves can be written to; if so, it is noted."""
    import shutil

    from veneer.drivers.fuse import start
    from veneer.drivers.fuse_overlayfs import program

    if shutil.which(program.NAME) is None:
        return Finding(PROGRAM, False, f"the program {program.NAME} is not installed")
    try:
        os.close(start.opened())
        root.mkdir(mode=0o710, parents=True, exist_ok=True)
        note, key = root / ".probed", f"{os.uname().release} {os.stat(root).st_dev} {os.geteuid()}\n"
        with contextlib.suppress(FileNotFoundError):
            if note.read_text() == key:
                return Finding(PROGRAM, True, _SERVED)
        reason = _tried(root)
        if not reason:
            note.write_text(key)
    except (OSError, VeneerError) as error:
        reason = f"{program.NAME} cannot mount at {root}: {error}"
    return Finding(PROGRAM, not reason, reason or _SERVED)


def _tried(root: Path) -> str:
    """What goes wrong in a small union; "" if nothing does."""
    from veneer.drivers import treecopy
    from veneer.drivers.fuse_overlayfs import program
    from veneer.drivers.mount import mounted

    with tempfile.TemporaryDirectory(dir=root, prefix=".probe-") as name:
        lower, own, target = (Path(name, each) for each in ("lower", "own", "target"))
        for each in (lower / "diff/directory", lower / "work", own / "diff", own / "work", target):
            each.mkdir(parents=True)
        (lower / "diff/directory/file").touch()
        try:
            with mounted([program.stack(root, [str(lower / "diff")], own)], target):
                treecopy.delete_tree(target / "directory")
                (target / "directory").mkdir()
                if os.listdir(target / "directory"):
                    return "a directory that was deleted and made again shows what was in it"
        finally:
            treecopy.delete_tree(own)
    return ""
