"""A stack of branches as the mount that the mounter in use makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from veneer.drivers import treecopy
from veneer.drivers.aufs import kernel, mounters, shadow
from veneer.drivers.aufs.live import Places, ShimBranch
from veneer.drivers.mount import Mount
from veneer.drivers.mounters import Finding


def writable(mounter: Finding, places: Places, snapshot: str, lowers: Sequence[str]) -> Mount:
    """The branch of `snapshot` to write to, on those of `lowers`, nearest first; at least one."""
    branch, state = places.branch(snapshot), places.state(snapshot)
    unique = tuple(dict.fromkeys(lowers))
    if mounter.name == mounters.KERNEL:
        return Mount("aufs", "none", kernel.options(branch, [places.branch(lower) for lower in unique]))
    if mounter.name == mounters.FUSE:
        from veneer.drivers.aufs import fuse_mount

        return fuse_mount.union(places, unique, snapshot)
    layers = [] if places.hides_all(snapshot) else places.layers(unique)
    below = tuple(layers) or (str(treecopy.empty(Path(places.root))),)
    return Mount(
        "overlay", "overlay", places.options, below, branch, state / "work",
        keeper=ShimBranch(places, snapshot, unique), volatile=mounter.volatile,
    )  # fmt: skip


def view(mounter: Finding, places: Places, layers: Sequence[str]) -> Mount:
    """The branches, nearest first, to look at; at least one."""
    unique = tuple(dict.fromkeys(layers))
    if mounter.name == mounters.KERNEL:
        lowers = [places.branch(layer) for layer in unique]
        return Mount("aufs", "none", kernel.options(None, lowers), readonly=True)
    if mounter.name == mounters.FUSE:
        from veneer.drivers.aufs import fuse_mount

        if len(unique) == 1 and not shadow.needed(places.branch(unique[0])):
            return Mount.bind(places.branch(unique[0]), readonly=True)
        return fuse_mount.union(places, unique)
    return places.view(unique)  # a branch without markers is its own view
