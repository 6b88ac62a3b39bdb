"""Layers whose owners are seen as others: id-mapped mounts.

The kernel takes a file's owner for an id of a user namespace, and shows which id of ours that is.  So one copy of a
layer serves every range of ids, and nothing on the disk is changed for it.  Overlay takes such mounts as its lower
layers, mounted nowhere, from Linux 6.15 on; its upper one has owners as they are seen.
Sources: mount_setattr(2), ID-mapped mounts; user_namespaces(7).
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from veneer.drivers import mount_syscalls as sys_mount

if TYPE_CHECKING:
    from veneer.drivers.mount_value import Mount
    from veneer.drivers.userns import Extents

_MOST = 4294967295


@contextlib.contextmanager
def user_namespace(ids: Extents) -> Iterator[int]:
    """A descriptor of a user namespace with this map of uids and gids, in which nobody is.  Raises OSError."""
    child = sys_mount.in_user_namespace(_stay)
    try:
        text = "".join(f"{inside} {outside} {count}\n" for inside, outside, count in ids)
        for kind in ("uid_map", "gid_map"):
            Path(f"/proc/{child}/{kind}").write_text(text)
        namespace = os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    try:
        yield namespace
    finally:
        os.close(namespace)


def clone(directory: Path, namespace: int, *, readonly: bool = False) -> int:
    """A mount of the directory, mounted nowhere, in which owners are those of the namespace.  Raises OSError."""
    tree = sys_mount.open_tree_clone(os.fsencode(directory))
    try:
        apply(tree, namespace, readonly=readonly)
    except BaseException:
        os.close(tree)
        raise
    return tree


def apply(mount: int, namespace: int, *, readonly: bool = False) -> None:
    """Have a mount that is mounted nowhere yet show the owners of the namespace.  Raises OSError."""
    attributes = sys_mount.MOUNT_ATTR_IDMAP | (sys_mount.MOUNT_ATTR_RDONLY if readonly else 0)
    sys_mount.mount_setattr(mount, set_attributes=attributes, propagation=sys_mount.MS_PRIVATE, userns=namespace)


def configure_layers(context: int, mount: Mount, held: contextlib.ExitStack) -> None:
    """Hand an overlay's layers over, with other owners; `held` keeps them until it is made.  Raises OSError."""
    from veneer.drivers.mount import detached_image, set_layer

    sys_mount.fsconfig(context, sys_mount.SET_STRING, "source", os.fsencode(mount.source))
    namespace = held.enter_context(user_namespace(mount.ids))
    for lower in mount.lowers:
        if mount.data and os.path.isfile(lower):
            layer = detached_image(lower)
            held.callback(os.close, layer)
            apply(layer, namespace)
        else:
            layer = clone(Path(lower), namespace)
            held.callback(os.close, layer)
        sys_mount.fsconfig(context, sys_mount.SET_FD, "lowerdir+", None, layer)
    for directory in mount.data:
        set_layer(context, "datadir+", directory)
    if mount.upper is not None and mount.work is not None:
        # As they are: overlay makes its own files in them as root, whom the map has no place for.
        set_layer(context, "upperdir", mount.upper)
        set_layer(context, "workdir", mount.work)


def shown(number: int, ids: Extents) -> int:
    """As whom an id on the disk is seen."""
    return next((number - first + other for first, other, count in ids if first <= number < first + count), number)


def parse(text: str) -> tuple[int, int, int]:
    """Read INSIDE:OUTSIDE:COUNT, as an extent.  Raises ValueError."""
    parts = text.split(":")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) <= 10 for part in parts):
        raise ValueError(text)
    inside, outside, count = map(int, parts)
    if not count or max(inside, outside) + count > _MOST:
        raise ValueError(text)
    return inside, outside, count


def _stay() -> None:
    """The child: wait to be killed."""
    while True:
        signal.pause()
