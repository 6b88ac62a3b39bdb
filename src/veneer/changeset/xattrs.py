"""Extended attributes as layers keep them."""

from __future__ import annotations

import errno
import os

Xattrs = tuple[tuple[bytes, bytes], ...]
"""(name, value), by name."""

GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)
"""How the kernel says that a name seen a moment ago is no longer there, or no longer of that kind."""

_DRIVERS_OWN = (b"user.overlay.", b"user.fuseoverlayfs.", b"user.containers.override_")


def list_xattrs(target: int | bytes) -> list[str]:
    """The names on an open file, or on a path itself; empty where there can be none or it is gone."""
    try:
        return os.listxattr(target, follow_symlinks=isinstance(target, int))
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, *GONE):
            return []
        raise


def all_xattrs(target: int | bytes) -> dict[bytes, bytes]:
    """Every attribute that may be read, drivers' own included."""
    found: dict[bytes, bytes] = {}
    for name in list_xattrs(target):
        try:
            found[os.fsencode(name)] = os.getxattr(target, name, follow_symlinks=isinstance(target, int))
        except OSError as error:
            if error.errno not in (errno.ENODATA, *GONE):
                raise
    return found


def kept(found: dict[bytes, bytes]) -> Xattrs:
    """Those that go into a layer."""
    return tuple(sorted((name, value) for name, value in found.items() if iskept(name)))


def iskept(xattr: bytes) -> bool:
    """Whether an extended attribute goes into a layer."""
    return xattr == b"security.capability" or (xattr.startswith(b"user.") and not xattr.startswith(_DRIVERS_OWN))


def read_xattrs(target: int | bytes) -> Xattrs:
    """The extended attributes that a layer keeps of an open file, or of a path (not what it links to), by name."""
    return kept(all_xattrs(target))
