"""What is put on a file once it exists: content, owner, permissions, extended attributes; all by descriptor."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections import Counter

from veneer.changeset.tar import TarReader, shown
from veneer.changeset.tree import Attributes, Frame
from veneer.changeset.xattrs import iskept

Xattrs = tuple[tuple[bytes, bytes], ...]

_EMPTY = hashlib.sha256(b"").digest()
_ZEROS = memoryview(bytes(1 << 20))
_MAX_ID = 0xFFFFFFFE  # 2^32-1 means "leave it" to chown
_DEFAULT_ACL = b"system.posix_acl_default"
_NO_XATTR = (errno.ENODATA, errno.EOPNOTSUPP)


def umask() -> int:
    """This process's umask, without changing it for its other threads."""
    with open("/proc/self/status", "rb") as status:
        for line in status:
            if line.startswith(b"Umask:"):
                return int(line[6:], 8)
    return 0o777  # Linux before 4.7 does not say: set every mode explicitly


def drop_default_acl(root_fd: int) -> None:
    """Free a layer's directory of a default ACL, which would add itself to everything made in it."""
    try:
        os.removexattr(root_fd, _DEFAULT_ACL)
    except OSError as error:
        if error.errno not in _NO_XATTR:
            raise


def write_content(fd: int, reader: TarReader, hashed: bool) -> bytes:
    """Write the member's content to `fd` straight from the reader's buffer; its SHA-256, b"" unless `hashed`."""
    if reader.segments is not None:
        return _write_sparse(fd, reader, hashed)
    if not reader.left:
        return _EMPTY if hashed else b""
    view = reader.take()
    _write(fd, view)
    if not reader.left:
        return hashlib.sha256(view).digest() if hashed else b""
    digest = hashlib.sha256(view if hashed else b"")
    while reader.left:
        view = reader.take()
        _write(fd, view)
        if hashed:
            digest.update(view)
    return digest.digest() if hashed else b""


def _write(fd: int, view: memoryview) -> None:
    done = os.write(fd, view)
    while done < len(view):  # a full disk writes a part first; the next call then says ENOSPC
        done += os.write(fd, view[done:])


def _write_sparse(fd: int, reader: TarReader, hashed: bool) -> bytes:
    """Write the pieces where they belong and leave the holes; the digest is that of the file as it reads."""
    digest = hashlib.sha256()
    at = 0
    for offset, length in reader.segments or ():
        if hashed:
            _hash_hole(digest, offset - at)
        at = offset + length
        os.lseek(fd, offset, os.SEEK_SET)
        # A piece's content may span fillings of the buffer, and a filling may hold several pieces.
        while length:
            view = reader.take_at_most(length)
            _write(fd, view)
            if hashed:
                digest.update(view)
            length -= len(view)
    if hashed:
        _hash_hole(digest, reader.size - at)
    os.ftruncate(fd, reader.size)
    return digest.digest() if hashed else b""


def content_digest(reader: TarReader) -> bytes:
    """The SHA-256 of the member's content as the file would read, holes and all; nothing is written."""
    if reader.segments is None:
        if not reader.left:
            return _EMPTY
        digest = hashlib.sha256(reader.take())
        while reader.left:
            digest.update(reader.take())
        return digest.digest()
    digest = hashlib.sha256()
    at = 0
    for offset, length in reader.segments:
        _hash_hole(digest, offset - at)
        at = offset + length
        while length:
            view = reader.take_at_most(length)
            digest.update(view)
            length -= len(view)
    _hash_hole(digest, reader.size - at)
    return digest.digest()


def _hash_hole(digest: hashlib._Hash, length: int) -> None:
    while length > 0:
        digest.update(_ZEROS[: min(length, len(_ZEROS))])
        length -= len(_ZEROS)


def drop_attributes(fd: int) -> None:
    """Remove the attributes that an image may set, before those of a later entry are set."""
    for name in map(os.fsencode, os.listxattr(fd)):
        if iskept(name):
            os.removexattr(fd, name)


def attributes_of(frame: Frame) -> Attributes:
    """What an earlier entry gave a directory, read back from the disk."""
    status = os.fstat(frame.fd)
    names = sorted(name for name in map(os.fsencode, os.listxattr(frame.fd)) if iskept(name))
    xattrs = tuple((name, os.getxattr(frame.fd, name)) for name in names)
    mode = frame.mode if frame.mode >= 0 else stat.S_IMODE(status.st_mode)
    return mode, status.st_uid, status.st_gid, frame.mtime_ns, xattrs


def make_node(dir_fd: int, name: bytes, mode: int, device: int) -> bool:
    """Make a device or FIFO; False where this user may not, and an empty file stands for the device.

    Something has to be there: it hides what the layers below have, and other names may be links to it.  The layer's
    index says what it is.
    """
    try:
        os.mknod(name, mode, device, dir_fd=dir_fd)
    except PermissionError:
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        os.close(os.open(name, flags, stat.S_IMODE(mode), dir_fd=dir_fd))
        return False
    return True


def chmod_node(dir_fd: int, name: bytes, mode: int) -> None:
    """Set permissions of a device or FIFO without opening it and without following a symlink."""
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        os.chmod(f"/proc/self/fd/{fd}", mode)
    finally:
        os.close(fd)


def chown(target: int | bytes, uid: int, gid: int, *, dir_fd: int | None = None) -> None:
    """Give a file an owner, where this user can: else it stays his own, and its layer's index says whose it is.

    `target` is an open file, or a name in `dir_fd`, itself if it is a symlink.
    """
    try:
        if isinstance(target, int):
            os.fchown(target, uid, gid)
        else:
            os.chown(target, uid, gid, dir_fd=dir_fd, follow_symlinks=False)
    except OSError as error:
        # EINVAL: in a user namespace, an id it has no mapping for.
        if error.errno != errno.EINVAL and (error.errno != errno.EPERM or os.geteuid() == 0):
            raise


class Owner:
    """Applies what may need privileges, and counts what could not be done without them."""

    def __init__(self) -> None:
        self.uid = os.geteuid()
        self.gid = os.getegid()
        self.is_root = self.uid == 0
        self._counts: Counter[str] = Counter()

    def file(self, fd: int, reader: TarReader, force: bool) -> None:
        """Give the open file its owner, unless it has that already and `force` is not set."""
        if force or reader.uid != self.uid or reader.gid != self.gid:
            try:
                os.fchown(fd, *ids(reader))
            except OSError as error:
                self._not_owned(error, reader)

    def name(self, dir_fd: int, name: bytes, reader: TarReader, force: bool) -> None:
        """The same for a name, itself if it is a symlink."""
        if force or reader.uid != self.uid or reader.gid != self.gid:
            try:
                os.chown(name, *ids(reader), dir_fd=dir_fd, follow_symlinks=False)
            except OSError as error:
                self._not_owned(error, reader)

    def _not_owned(self, error: OSError, reader: TarReader) -> None:
        # EINVAL: in a user namespace, an id it has no mapping for.
        if error.errno == errno.EPERM and not self.is_root:
            self.warn("owners not kept: files belong to the user who unpacked them")
        elif error.errno == errno.EINVAL:
            self.warn(
                "owners not kept: ids that this user namespace does not have; /etc/subuid and /etc/subgid give more"
            )
        else:
            raise error

    def attributes(self, fd: int, xattrs: Xattrs) -> Xattrs:
        """Set the extended attributes that are kept; these, whether or not the file system took them."""
        allowed = tuple(pair for pair in xattrs if iskept(pair[0]))
        if len(allowed) < len(xattrs):
            self.dropped(tuple(pair for pair in xattrs if not iskept(pair[0])))
        for name, value in allowed:
            try:
                os.setxattr(fd, name, value)
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSPC, errno.E2BIG, errno.EINVAL):
                    raise
                if error.errno == errno.ENOSPC and os.fstatvfs(fd).f_bavail == 0:
                    raise
                self.warn(f"attribute {shown(name)} not kept: {os.strerror(error.errno)}")
        return tuple(sorted(allowed))

    def dropped(self, xattrs: Xattrs) -> None:
        """Count attributes that are not applied."""
        for name, _ in xattrs:
            self.warn(f"attribute {shown(name)} not kept: images may not set it")

    def warn(self, fact: str) -> None:
        if fact in self._counts or len(self._counts) < 50:
            self._counts[fact] += 1
        else:
            self._counts["further kinds of warnings"] += 1

    def warnings(self) -> tuple[str, ...]:
        """Each fact once, with how many members it concerned."""
        return tuple(
            f"{fact} ({count} {'member' if count == 1 else 'members'})" for fact, count in self._counts.items()
        )


def ids(reader: TarReader) -> tuple[int, int]:
    uid, gid = reader.uid, reader.gid
    if not (0 <= uid <= _MAX_ID and 0 <= gid <= _MAX_ID):
        raise reader.bad(f"owner {uid}:{gid} is out of range")
    return uid, gid
