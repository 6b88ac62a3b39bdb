"""What a layer's directory needs from the layers below it, once those are there.

Layers are unpacked in any order and side by side, each into its own directory.  Three things cannot be known there:
what directories look like that the layer does not mention but that are needed for what is in it, what hard links
to files of lower layers are to hold, and which names an opaque root hides.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from veneer.changeset import whiteout
from veneer.changeset.entry import Kind
from veneer.changeset.failures import explain
from veneer.changeset.metadata import chmod_node
from veneer.changeset.safepath import DIRECTORY, open_beneath
from veneer.changeset.tar import BadArchive, shown
from veneer.changeset.whiteout import OPAQUE_MARKER, PREFIX, WhiteoutStyle

if TYPE_CHECKING:
    from veneer.changeset.entry import Entry
    from veneer.changeset.unpack import Unpacked

_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_FICLONE = 0x40049409
_COPY = 1 << 30


class LowerChanged(BadArchive):
    """A file of a layer below is not as long as it was a moment ago."""


class MissingTarget(BadArchive):
    """A hard link to a file that neither its layer nor one below it has."""


def settle(
    root_fd: int,
    unpacked: Unpacked,
    lowers: Sequence[int],
    style: WhiteoutStyle,
    *,
    what: str = "layer",
    true: Callable[[int, bytes], Entry | None] | None = None,
) -> None:
    """Complete the layer in the directory `root_fd` with what `lowers`, nearest first, make visible below it.

    Implied directories get the visible lower directory's mode, owner, attributes and time; without one they stay
    0755, root's, of time 0.  Hard links into lower layers become copies of what they name, linked to each
    other, as after a copy-up; the lower layers are not changed.  An opaque root becomes whiteouts, since the
    kernel does not look for the mark there.  Whiteouts in a directory that no lower layer has go: they have nothing
    to hide, and the kernel filters them from the listing of merged directories only.  May be repeated.  Does
    nothing for ERASE.  `true` tells what a regular file of the lower with that number really is, where its inode does
    not (None: it does).

    Raises MissingTarget (Corrupt) for a hard link to nothing, Unavailable for what this machine lacks; naming `what`.
    """
    if style is WhiteoutStyle.ERASE:
        return
    try:
        if whiteout.is_opaque(root_fd, style):
            _hide_all(root_fd, lowers, style)
        for path in unpacked.implied:
            _inherit(root_fd, path, lowers, style)
        copied: dict[bytes, bytes] = {}
        for path, target in unpacked.lower_links:
            first = copied.setdefault(target, path)
            if lower := _copy_up(root_fd, path, first, target, lowers, style):
                _correct(root_fd, path, true(lower - 1, target) if true is not None else None)
        for path in unpacked.whited_out:
            _drop_idle_whiteouts(root_fd, path, lowers, style)
    except MissingTarget as error:
        raise MissingTarget(f"{what}: {error.message}") from None
    except OSError as error:
        raise explain(error, what, os.fsencode(error.filename or b""), root_fd) from error


def _search(
    root_fd: int | None, path: bytes, lowers: Sequence[int], style: WhiteoutStyle
) -> tuple[int, bytes, int] | None:
    """Where `path` is visible in the union of `lowers`: a descriptor of its directory (to be closed), its name, and
    the number of the lower.

    `root_fd`, the layer itself, only takes part by what it hides: a directory on the way that is opaque.
    """
    parts = path.split(b"/")
    if root_fd is not None and _hides(root_fd, parts, style) is _STOP:
        return None
    return _below(parts, lowers, style)


def _below(parts: list[bytes], lowers: Sequence[int], style: WhiteoutStyle) -> tuple[int, bytes, int] | None:
    for number, lower in enumerate(lowers):
        found = _descend(lower, parts, style)
        if isinstance(found, int):
            return found, parts[-1], number
        if found is _STOP:
            return None
    return None


class _Verdict:
    """What one layer says about the layers below it, where it does not have the path itself."""


_STOP = _Verdict()
_GO_ON = _Verdict()


def _hides(root_fd: int, parts: list[bytes], style: WhiteoutStyle) -> _Verdict:
    verdict = _descend(root_fd, [*parts, b"."], style)
    if isinstance(verdict, int):
        opaque = whiteout.is_opaque(verdict, style) or _opaque_on_the_way(root_fd, parts, style)
        os.close(verdict)
        return _STOP if opaque else _GO_ON
    return verdict


def _opaque_on_the_way(root_fd: int, parts: list[bytes], style: WhiteoutStyle) -> bool:
    for count in range(len(parts)):
        fd = open_beneath(root_fd, b"/".join(parts[:count]))
        try:
            if whiteout.is_opaque(fd, style):
                return True
        finally:
            os.close(fd)
    return False


def _descend(lower: int, parts: list[bytes], style: WhiteoutStyle) -> int | _Verdict:
    """The directory of one layer that holds the last of `parts`; else whether the layers below it count."""
    fd = os.dup(lower)
    opaque = False
    for number, part in enumerate(parts):
        try:
            # The root's own mark was turned into whiteouts when that layer was settled.
            opaque = opaque or (number > 0 and whiteout.is_opaque(fd, style))
            status = os.stat(part, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            hidden = opaque or (style is WhiteoutStyle.AUFS and whiteout.is_hidden(fd, part, style))
            os.close(fd)
            return _STOP if hidden else _GO_ON
        except BaseException:
            os.close(fd)
            raise
        last = number == len(parts) - 1
        if whiteout.is_whiteout(status) or not (last or stat.S_ISDIR(status.st_mode)):
            os.close(fd)
            return _STOP
        if not last:
            try:
                below = os.open(part, DIRECTORY, dir_fd=fd)
            finally:
                os.close(fd)
            fd = below
    return fd


def _inherit(root_fd: int, path: bytes, lowers: Sequence[int], style: WhiteoutStyle) -> None:
    try:
        fd = open_beneath(root_fd, path)
    except OSError as error:
        if error.errno in _GONE:
            return  # a later member of the layer took its place
        raise
    try:
        # Its own opaque mark hides what a lower directory holds, not what it is like.
        parts = path.split(b"/")
        found = None if _opaque_on_the_way(root_fd, parts, style) else _below(parts, lowers, style)
        if found is None:
            return
        above, name, _ = found
        try:
            if not stat.S_ISDIR(os.stat(name, dir_fd=above, follow_symlinks=False).st_mode):
                return
            model = os.open(name, DIRECTORY, dir_fd=above)
        finally:
            os.close(above)
        try:
            _copy_attributes(model, fd)
        finally:
            os.close(model)
    finally:
        os.close(fd)


def _drop_idle_whiteouts(root_fd: int, path: bytes, lowers: Sequence[int], style: WhiteoutStyle) -> None:
    """Delete the whiteouts in the directory `path`, unless a lower layer has a directory there to merge with."""
    if not path:
        return  # the root is always merged
    found = _search(root_fd, path, lowers, style)
    if found is not None:
        above, name, _ = found
        try:
            if stat.S_ISDIR(os.stat(name, dir_fd=above, follow_symlinks=False).st_mode):
                return
        finally:
            os.close(above)
    try:
        fd = open_beneath(root_fd, path)
    except OSError as error:
        if error.errno in _GONE:
            return  # a later member of the layer took its place
        raise
    try:
        before = os.fstat(fd)
        for name in map(os.fsencode, os.listdir(fd)):
            if whiteout.is_hidden(fd, name, style):
                os.unlink(name, dir_fd=fd)
        os.utime(fd, ns=(before.st_atime_ns, before.st_mtime_ns))
    finally:
        os.close(fd)


def _copy_attributes(model: int, fd: int) -> None:
    """Give `fd` the owner, permissions, attributes (overlay's own excepted) and time of `model`."""
    status = os.fstat(model)
    mine = os.fstat(fd)
    if (mine.st_uid, mine.st_gid) != (status.st_uid, status.st_gid):
        os.fchown(fd, status.st_uid, status.st_gid)
    os.fchmod(fd, stat.S_IMODE(status.st_mode))
    for name in os.listxattr(model):
        if not name.startswith(("trusted.overlay.", "user.overlay.", "user.fuseoverlayfs.", "security.selinux")):
            os.setxattr(fd, name, os.getxattr(model, name))
    os.utime(fd, ns=(status.st_mtime_ns, status.st_mtime_ns))


def _copy_up(
    root_fd: int, path: bytes, first: bytes, target: bytes, lowers: Sequence[int], style: WhiteoutStyle
) -> int:
    """Put a copy of the lower `target` at `path`, or a link to the copy at `first` where that is another path.

    From which lower the copy is, counted from 1; 0 for a link.
    """
    number = 0
    parent, _, name = path.rpartition(b"/")
    into = open_beneath(root_fd, parent)
    try:
        before = os.fstat(into).st_mtime_ns
        if _exists(into, name):
            os.unlink(name, dir_fd=into)  # from an earlier, interrupted settle
        if first != path:
            beside, _, other = first.rpartition(b"/")
            fd = open_beneath(root_fd, beside)
            try:
                os.link(other, name, src_dir_fd=fd, dst_dir_fd=into, follow_symlinks=False)
            finally:
                os.close(fd)
        else:
            found = _search(None, target, lowers, style)
            if found is None:
                fact = f"hard link to {shown(target)!r}, which neither this layer nor one below has"
                raise MissingTarget(f"{shown(path)!r}: {fact}")
            number = found[2] + 1
            try:
                _copy(found[0], found[1], into, name)
            finally:
                os.close(found[0])
        os.utime(into, ns=(before, before))
        return number
    finally:
        os.close(into)


def _correct(root_fd: int, path: bytes, entry: Entry | None) -> None:
    """Give the copy at `path` the attributes that its original has by `entry`."""
    if entry is None or entry.kind is not Kind.REGULAR:
        return
    fd = open_beneath(root_fd, path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fchown(fd, entry.uid, entry.gid)
        os.fchmod(fd, entry.mode)
        kept = dict(entry.xattrs)
        for name in {os.fsencode(each) for each in os.listxattr(fd)} - kept.keys() - {b"security.selinux"}:
            os.removexattr(fd, name)
        for name, value in kept.items():
            os.setxattr(fd, name, value)
        os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
    finally:
        os.close(fd)


def _exists(dir_fd: int, name: bytes) -> bool:
    try:
        os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _copy(from_fd: int, source: bytes, into_fd: int, name: bytes) -> None:
    """Copy one file, symlink, device or FIFO with all its attributes."""
    status = os.stat(source, dir_fd=from_fd, follow_symlinks=False)
    if stat.S_ISDIR(status.st_mode):
        raise MissingTarget(f"{shown(name)!r}: hard link to a directory of a layer below")
    if stat.S_ISREG(status.st_mode):
        original = os.open(source, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=from_fd)
        try:
            copy = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600, dir_fd=into_fd)
            try:
                copy_content(original, copy, status.st_size)
                _copy_attributes(original, copy)
            finally:
                os.close(copy)
        finally:
            os.close(original)
        return
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(source, dir_fd=from_fd), name, dir_fd=into_fd)
    else:
        os.mknod(name, status.st_mode, status.st_rdev, dir_fd=into_fd)
    os.chown(name, status.st_uid, status.st_gid, dir_fd=into_fd, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        chmod_node(into_fd, name, stat.S_IMODE(status.st_mode))  # the umask took its part, and chown the set-id bits
    os.utime(name, ns=(status.st_mtime_ns, status.st_mtime_ns), dir_fd=into_fd, follow_symlinks=False)


def copy_content(source: int, target: int, size: int) -> None:
    """Copy `size` bytes between open files: by reference where the file system can, else in the kernel, else here."""
    import fcntl

    try:
        fcntl.ioctl(target, _FICLONE, source)
        return
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EPERM):
            raise
    done = 0
    while done < size:
        try:
            count = os.copy_file_range(source, target, min(size - done, _COPY), done, done)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EPERM):
                raise
            count = os.pwrite(target, os.pread(source, 1 << 20, done), done)
        if not count:
            raise LowerChanged(f"a file of a lower layer ends after {done} of {size} bytes", hint="veneer system check")
        done += count


def _hide_all(root_fd: int, lowers: Sequence[int], style: WhiteoutStyle) -> None:
    """Spell an opaque root in marks that work: a whiteout for each lower name, and opaque directories."""
    before = os.fstat(root_fd).st_mtime_ns
    own = {os.fsencode(name) for name in os.listdir(root_fd)}
    for name in sorted(own):
        if style is WhiteoutStyle.AUFS and name.startswith(PREFIX):
            continue
        if stat.S_ISDIR(os.stat(name, dir_fd=root_fd, follow_symlinks=False).st_mode):
            fd = os.open(name, DIRECTORY, dir_fd=root_fd)
            try:
                mtime_ns = os.fstat(fd).st_mtime_ns
                whiteout.make_opaque(fd, style)
                os.utime(fd, ns=(mtime_ns, mtime_ns))
            finally:
                os.close(fd)
    below = {os.fsencode(name) for lower in lowers for name in os.listdir(lower)}
    for name in sorted(below - own):
        hidden = PREFIX + name in own or name == OPAQUE_MARKER or (style is WhiteoutStyle.AUFS and name[:4] == PREFIX)
        if not hidden:
            whiteout.hide(root_fd, name, style)
    os.utime(root_fd, ns=(before, before))
