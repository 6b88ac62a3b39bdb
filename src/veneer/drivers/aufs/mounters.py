"""What can stack branches of aufs's format here: the kernel's aufs, an overlay with shadows, a FUSE server of ours.

Each is tried out where it would have to work.  They are asked in that order; whoever can do it does.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

from veneer.drivers.mounters import Finding, find
from veneer.errors import VeneerError

KERNEL = "kernel-aufs"
SHIM = "overlay-shim"
FUSE = "fuse"


def find_mounter(root: Path, wanted: str = "") -> Finding:
    """The mounter to use in the folder `root`: the one that is wanted, else the first that works.

    If none does, the reason names every one.  Raises NoSuchMounter.
    """
    return find("aufs_mounter", wanted, {name: functools.partial(trial, root) for name, trial in _TRIALS.items()})


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
    from veneer.drivers.fuse import start

    try:
        start.try_out()
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
