"""The spellings of "deleted": how a layer says it (OCI, that is aufs names) and how each driver's disk does.

Source: OCI image-spec layer.md (Whiteouts); Linux Documentation/filesystems/overlayfs.rst (whiteouts and opaque
directories); aufs's uapi header for the `.wh.` names.
"""

from __future__ import annotations

import enum
import errno
import os
import stat

PREFIX = b".wh."
META_PREFIX = b".wh..wh."
OPAQUE_MARKER = b".wh..wh..opq"
PSEUDO_LINKS = b".wh..wh.plnk"
RESERVED = b".wh..wh.name."
"""On a driver's disk: what stands for `.wh.` in a name that a user made, and that no layer can hold.  aufs takes all
that begins with `.wh..wh.` for its own business, and shows it to nobody."""


class WhiteoutStyle(enum.Enum):
    """How the directory that a layer is unpacked into spells a deletion."""

    OVERLAY = "trusted.overlay."
    """Kernel overlay: a character device 0:0; directories opaque by `trusted.overlay.opaque`."""
    OVERLAY_USER = "user.overlay."
    """The same with `user.overlay.opaque`, for mounts with `userxattr`."""
    AUFS = "aufs"
    """Markers stay files: `.wh.NAME`, and `.wh..wh..opq` in an opaque directory."""
    ERASE = "erase"
    """No markers: the tree has the lower layers' files in it, and what is deleted goes at once."""
    PLAIN = "plain"
    """The archive is no layer: `.wh.` names are names like others, and there is nothing below."""

    @property
    def opaque_xattr(self) -> bytes:
        """The attribute that makes a directory opaque; b"" where there is none."""
        return self.value.encode() + b"opaque" if self.value.endswith(".overlay.") else b""


def hide(dir_fd: int, name: bytes, style: WhiteoutStyle) -> None:
    """Put the whiteout of `name` into a directory.  FileExistsError where something has its place."""
    if style is WhiteoutStyle.AUFS:
        os.close(os.open(PREFIX + name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o444, dir_fd=dir_fd))
    else:
        os.mknod(name, stat.S_IFCHR, 0, dir_fd=dir_fd)


def is_hidden(dir_fd: int, name: bytes, style: WhiteoutStyle) -> bool:
    """Whether a directory holds the whiteout of `name`."""
    marker = PREFIX + name if style is WhiteoutStyle.AUFS else name
    try:
        status = os.stat(marker, dir_fd=dir_fd, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False  # .wh. and a name of 252 bytes or more: no file system can hold that marker
        raise
    return style is WhiteoutStyle.AUFS or is_whiteout(status)


def is_whiteout(status: os.stat_result) -> bool:
    """Whether a file is overlay's whiteout, by its status."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def make_opaque(fd: int, style: WhiteoutStyle) -> None:
    """Have the directory `fd` hide everything that the layers below have in it."""
    if style is WhiteoutStyle.AUFS:
        os.close(os.open(OPAQUE_MARKER, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW, 0o444, dir_fd=fd))
    elif style.opaque_xattr:
        os.setxattr(fd, style.opaque_xattr, b"y")


def is_opaque(fd: int, style: WhiteoutStyle) -> bool:
    """Whether the directory `fd` is marked opaque.  Values other than y do not count, as for the kernel."""
    if style is WhiteoutStyle.AUFS:
        return is_hidden(fd, OPAQUE_MARKER.removeprefix(PREFIX), style)
    if not style.opaque_xattr:
        return False
    try:
        return os.getxattr(fd, style.opaque_xattr) == b"y"
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.EOPNOTSUPP):
            return False
        raise
