"""What the kernel's overlay can do at one place, tried out there and remembered.

Documentation and version numbers do not decide it: distributions backport, sandboxes forbid, and inside a user
namespace an overlay may mount fine and then fail its first `rm -r d; mkdir d`.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from veneer.drivers import treecopy
from veneer.drivers.mount import Mount, MountFailed, MountUnsupported, filesystem_of, mounted
from veneer.drivers.userns import privileged
from veneer.errors import VeneerError
from veneer.values import Value

_FILE = ".probe.json"
_TRIAL = ".probe-"
_VERSION = 3

_OPTIONS = ("index=off", "metacopy=off", "redirect_dir=nofollow")
"""Said outright, since the module's own defaults are the administrator's to change: with metacopy an upper file may
have a size and no data, with redirect_dir a renamed directory is a name and no content.  Neither makes a layer."""


class Abilities(Value):
    """What was found.  `usable` False: `reason` says why, the rest means nothing."""

    usable: bool
    reason: str
    userxattr: bool = False
    native_diff: bool = False
    volatile: bool = False
    options: tuple[str, ...] = ()
    idmapped: bool = False
    """Whether lower layers may be shown with other owners (idmap.py)."""


def abilities(root: Path) -> Abilities:
    """What overlay can do in the directory `root` (made if missing), from the cache if it fits kernel, user and disk.

    Only a usable overlay is remembered: what made it fail, a full disk or a missing module, may be mended.
    """
    if os.statvfs(next(each for each in (root, *root.parents) if each.exists())).f_flag & os.ST_RDONLY:
        return _elsewhere(root)
    root.mkdir(mode=0o710, parents=True, exist_ok=True)
    key = _key(root)
    remembered = _recall(root, key)
    if remembered is not None:
        return remembered
    found = try_out(root)
    if found.usable:
        _remember(root, key, found)
    return found


def _elsewhere(root: Path) -> Abilities:
    """As `abilities`, of a directory that is read-only: layers there can be looked at, which takes the kernel alone."""
    import tempfile

    remembered = _recall(root, _key(root)) if root.exists() else None
    if remembered is not None:
        return remembered
    try:
        place = tempfile.gettempdir()
    except FileNotFoundError:
        place = "/dev/shm"  # memory, which may be written to where no disk may
    try:
        with tempfile.TemporaryDirectory(prefix="veneer-probe-", dir=place) as folder:
            return try_out(Path(folder))
    except OSError as error:
        return Abilities(
            False, f"an overlay cannot be tried at {root}, which is read-only, nor in {place}: {error.strerror}"
        )


def try_out(root: Path) -> Abilities:
    """As `abilities`, by trying: a few small mounts in a folder of their own inside `root`."""
    userxattr = not privileged()
    try:
        with _trial_folder(root) as folder:
            return _try_in(folder, userxattr)
    except (OSError, VeneerError) as error:
        return Abilities(False, _why(error, root))


def _key(root: Path) -> list[object]:
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:
        capabilities = next((line.split()[1] for line in status if line.startswith("CapEff:")), "")
    return [_VERSION, os.uname().release, os.stat(root).st_dev, os.geteuid(), privileged(), capabilities]


def _recall(root: Path, key: list[object]) -> Abilities | None:
    try:
        with open(root / _FILE, "rb") as file:
            saved = json.loads(file.read(4096))
        if saved["key"] != key:
            return None
        values = saved["abilities"]
        found = Abilities(**{**values, "options": tuple(values["options"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None  # nothing there, or nothing of use: trying out again is always right
    flags = (found.usable, found.userxattr, found.native_diff, found.volatile, found.idmapped)
    texts = (found.reason, *found.options)
    if not all(isinstance(flag, bool) for flag in flags) or not all(isinstance(text, str) for text in texts):
        return None
    return found if found.usable else None


def _remember(root: Path, key: list[object], found: Abilities) -> None:
    values = {
        "usable": found.usable, "reason": found.reason, "userxattr": found.userxattr, "native_diff": found.native_diff,
        "volatile": found.volatile, "options": list(found.options), "idmapped": found.idmapped,
    }  # fmt: skip
    text = json.dumps({"key": key, "abilities": values})
    new = root / f"{_FILE}.{os.getpid()}.{os.urandom(4).hex()}"
    try:
        new.write_text(text)
        os.replace(new, root / _FILE)
        treecopy.empty(root)  # what the view of one layer stands on, also when the disk is read-only some day
    except OSError:
        # Not remembering costs milliseconds next time; a full disk must not forbid reading layers.
        new.unlink(missing_ok=True)


@contextlib.contextmanager
def _trial_folder(root: Path) -> Iterator[Path]:
    """A folder in `root`, deleted at the end; folders of trials whose process died are deleted too."""
    import fcntl

    with contextlib.ExitStack() as held:
        with _directory(root) as guard:
            # One at a time: a folder that is made but not locked yet would be taken for a dead one's.
            fcntl.flock(guard, fcntl.LOCK_EX)
            for stale in root.glob(_TRIAL + "*"):
                with contextlib.suppress(FileNotFoundError), _directory(stale) as trial:
                    try:
                        fcntl.flock(trial, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except BlockingIOError:
                        continue
                    treecopy.delete_tree(stale)
            folder = root / (_TRIAL + os.urandom(8).hex())
            folder.mkdir(mode=0o700)
            held.callback(treecopy.delete_tree, folder)
            fcntl.flock(held.enter_context(_directory(folder)), fcntl.LOCK_EX)
        yield folder


@contextlib.contextmanager
def _directory(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        yield fd
    finally:
        os.close(fd)


def _try_in(folder: Path, userxattr: bool) -> Abilities:
    if not _knows_file_types(folder):
        kind = filesystem_of(folder)
        return Abilities(False, f"the {kind} file system does not tell file types in readdir (xfs: made with ftype=0)")
    options = (*(("userxattr",) if userxattr else ()), *_known_options())
    opaque = ("user" if userxattr else "trusted") + ".overlay.opaque"
    lowers = (folder / "l2", folder / "l1")
    target = folder / "merged"
    for path in ("l1/d/sub", "l1/r", "l1/e", "l2/d", "merged"):
        (folder / path).mkdir(parents=True)
    for path in ("l1/d/hidden", "l2/d/seen", "l1/r/f", "l1/e/f"):
        (folder / path).touch()
    os.setxattr(folder / "l2/d", opaque, b"y")
    with mounted([_fresh(folder, lowers, options)], target):
        if sorted(os.listdir(target / "d")) != ["seen"]:
            return Abilities(False, f"overlay does not honour {opaque} here")
        (target / "d" / "seen").write_bytes(b"changed")
        exdev = _cannot_rename(target / "r", target / "r2")
        # In a user namespace without userxattr the mount works and this fails with EIO.
        treecopy.delete_tree(target / "e")
        (target / "e").mkdir()
        if os.listdir(target / "e"):
            return Abilities(False, "overlay does not hide the content of a directory that was deleted and made again")
    try:
        os.mknod(folder / "whiteout", stat.S_IFCHR, 0)
    except PermissionError:
        return Abilities(False, "only root may make whiteouts (character devices 0:0) here; Linux 5.8 lets others")
    # A kernel that copies the marker up makes every later change of the directory hide the layers below it.
    faithful = not _has_attribute(folder / "upper" / "d", opaque)
    volatile = _mounts(_fresh(folder, lowers, (*options, "volatile")), target)
    # Overlay cannot use the attributes of a user namespace of its own on layers of others' owners.
    idmapped = not userxattr and _mounts(_fresh(folder, lowers, options).replaced(ids=((0, 1, 1),)), target)
    where = f"kernel overlay on {filesystem_of(folder)}, {'user' if userxattr else 'trusted'} attributes"
    return Abilities(True, where, userxattr, exdev and faithful, volatile, options, idmapped)


def _fresh(folder: Path, lowers: tuple[Path, ...], options: tuple[str, ...]) -> Mount:
    upper, work = folder / "upper", folder / "work"
    for path in (upper, work):
        if path.exists():
            treecopy.delete_tree(path)
        path.mkdir()
    return Mount.overlay(lowers, upper=upper, work=work, options=options)


def _mounts(mount: Mount, target: Path) -> bool:
    try:
        with mounted([mount], target):
            return True
    except (MountUnsupported, MountFailed):
        return False


def _known_options() -> tuple[str, ...]:
    """Those of our options this kernel's overlay has a parameter for; an unknown one would fail every mount."""
    parameters = Path("/sys/module/overlay/parameters")
    if not parameters.is_dir():
        return _OPTIONS
    return tuple(option for option in _OPTIONS if (parameters / option.partition("=")[0]).exists())


def _knows_file_types(folder: Path) -> bool:
    """Whether readdir tells a directory from a file; overlay without it shows deleted files.

    An entry of unknown type has to be asked by lstat, which fails once its file is gone.
    """
    child = folder / "type"
    child.mkdir()
    with os.scandir(folder) as entries:
        [entry] = [entry for entry in entries if entry.name == "type"]
    child.rmdir()
    try:
        return entry.is_dir(follow_symlinks=False)
    except FileNotFoundError:
        return False


def _cannot_rename(old: Path, new: Path) -> bool:
    try:
        old.rename(new)
    except OSError as error:
        if error.errno == errno.EXDEV:
            return True
        raise
    return False


def _has_attribute(path: Path, name: str) -> bool:
    try:
        os.getxattr(path, name)
    except OSError as error:
        if error.errno == errno.ENODATA:
            return False
        raise
    return True


def _why(error: OSError | VeneerError, root: Path) -> str:
    kind = filesystem_of(root)
    if kind in ("overlay", "fuse", "nfs", "nfs4", "9p", "virtiofs", "ecryptfs"):
        return f"the kernel's overlay cannot write to the {kind} file system of {root}"
    if isinstance(error, VeneerError):
        return f"{error}" + (f" ({error.hint})" if error.hint else "")
    return f"trying an overlay at {root} failed: {error.strerror}"
