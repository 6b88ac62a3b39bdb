"""What can stack branches of aufs's format here: the kernel's aufs, an overlay with shadows, a FUSE server of ours.

Each is tried out where it would have to work.  They are asked in that order; whoever can do it does.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from veneer.errors import InvalidRequest, VeneerError
from veneer.values import Value

KERNEL = "kernel-aufs"
SHIM = "overlay-shim"
FUSE = "fuse"
MOUNTERS = (KERNEL, SHIM, FUSE)


class NoSuchMounter(InvalidRequest):
    """No way of mounting aufs's layers has that name."""


class Finding(Value):
    """Whether a mounter works; `reason` says why not, or how it does.  `options` and `volatile` are overlay's."""

    __slots__ = ()
    name: str
    usable: bool
    reason: str
    options: tuple[str, ...] = ()
    volatile: bool = False


def find(root: Path, wanted: str = "") -> Finding:
    """The mounter to use in the folder `root`: the one that is wanted, else the first that works.

    If none does, the reason names every one.  Raises NoSuchMounter.
    """
    if wanted and wanted not in MOUNTERS:
        raise NoSuchMounter(f"aufs_mounter cannot be {wanted!r}", hint=f"one of {', '.join(MOUNTERS)}; empty: any")
    reasons: list[str] = []
    for name in [wanted] if wanted else MOUNTERS:
        found = _TRIALS[name](root)
        if found.usable:
            chosen = "as aufs_mounter says" if wanted else "; ".join(reasons)
            return found.replaced(reason=f"{name}: {found.reason}" + (f" ({chosen})" if chosen else ""))
        reasons.append(f"{name}: {found.reason}")
    only = " (aufs_mounter, a setting, allows no other)" if wanted else ""
    return Finding(wanted, False, "; ".join(reasons) + only)


def _kernel(root: Path) -> Finding:
    from veneer.drivers.aufs import kernel
    from veneer.drivers.userns import privileged

    if not kernel.known():
        return Finding(KERNEL, False, "this kernel has no aufs")
    if not privileged():
        return Finding(KERNEL, False, "aufs cannot be mounted in a user namespace")
    return _tried(root, KERNEL, "the kernel's own")


def _shim(root: Path) -> Finding:
    from veneer.drivers import overlay_probe

    found = overlay_probe.abilities(root)
    return Finding(SHIM, found.usable, found.reason, found.options, found.volatile)


def _fuse(root: Path) -> Finding:
    from veneer.drivers.aufs import fuse_mount

    try:
        fuse_mount.try_out()
    except VeneerError as error:
        return Finding(FUSE, False, error.message)
    return Finding(FUSE, True, "a process of veneer's serves each mount")


_TRIALS: dict[str, Callable[[Path], Finding]] = {KERNEL: _kernel, SHIM: _shim, FUSE: _fuse}


def _tried(root: Path, name: str, how: str) -> Finding:
    """Whether the kernel's aufs mounts two branches in the folder `root`."""
    import tempfile

    from veneer.drivers.aufs import kernel
    from veneer.drivers.mount import Mount, mounted

    root.mkdir(mode=0o710, parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=root, prefix=".probe-") as folder:
            upper, lower, target = (Path(folder, each) for each in ("upper", "lower", "target"))
            for each in (upper, lower, target):
                each.mkdir()
            with mounted([Mount("aufs", "none", kernel.options(upper, [lower]))], target):
                return Finding(name, True, how)
    except (OSError, VeneerError) as error:
        return Finding(name, False, f"{error}")
