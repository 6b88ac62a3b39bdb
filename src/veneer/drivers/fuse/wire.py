"""FUSE's protocol, as far as a union needs it: numbers, structures, answers.  All integers are little-endian words as
the machine has them; offsets are from the beginning of a request.

Source: Linux include/uapi/linux/fuse.h, version 7.38; Documentation/filesystems/fuse.rst.
"""

from __future__ import annotations

import os
import stat
from struct import Struct

MAJOR, MINOR = 7, 38
ROOT_ID = 1
HEADER_SIZE = 40
MAX_WRITE = 1 << 20
"""Bytes in one WRITE or READ; the kernel's own limit is 256 pages."""
BUFFER_SIZE = MAX_WRITE + 8192
FOREVER = 86_400
"""Seconds the kernel may remember what it was told: nobody but the server changes the tree."""

# Requests.
(LOOKUP, FORGET, GETATTR, SETATTR, READLINK, SYMLINK) = range(1, 7)
(MKNOD, MKDIR, UNLINK, RMDIR, RENAME, LINK, OPEN, READ, WRITE, STATFS, RELEASE) = range(8, 19)
(FSYNC, SETXATTR, GETXATTR, LISTXATTR, REMOVEXATTR, FLUSH, INIT, OPENDIR, READDIR, RELEASEDIR, FSYNCDIR) = range(20, 31)
INTERRUPT, DESTROY, BATCH_FORGET, FALLOCATE, READDIRPLUS, RENAME2, LSEEK, COPY_FILE_RANGE, TMPFILE = (
    36, 38, 42, 43, 44, 45, 46, 47, 51,
)  # fmt: skip

# INIT.
_ASYNC_READ = 1 << 0
_BIG_WRITES = 1 << 5
_DONT_MASK = 1 << 6
_DO_READDIRPLUS = 1 << 13
_READDIRPLUS_AUTO = 1 << 14
_NO_OPEN_SUPPORT = 1 << 17
_PARALLEL_DIROPS = 1 << 18
_POSIX_ACL = 1 << 20
_MAX_PAGES = 1 << 22
_CACHE_SYMLINKS = 1 << 23
_NO_OPENDIR_SUPPORT = 1 << 24
HANDLE_KILLPRIV_V2 = 1 << 28
WANTED = (
    _ASYNC_READ | _BIG_WRITES | _DONT_MASK | _DO_READDIRPLUS | _READDIRPLUS_AUTO | _NO_OPEN_SUPPORT | _PARALLEL_DIROPS
    | _POSIX_ACL | _MAX_PAGES | _CACHE_SYMLINKS | _NO_OPENDIR_SUPPORT | HANDLE_KILLPRIV_V2
)  # fmt: skip

# SETATTR's `valid`.
SET_MODE, SET_UID, SET_GID, SET_SIZE, SET_ATIME, SET_MTIME = 1, 2, 4, 8, 16, 32
SET_ATIME_NOW, SET_MTIME_NOW, KILL_SUIDGID = 128, 256, 2048

WRITE_KILL_SUIDGID = 4
RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2

request = Struct("=IIQQIII4x").unpack_from
"""length, opcode, unique, node, uid, gid, pid"""
init_in = Struct("=IIII").unpack_from
"""major, minor, max_readahead, flags"""
setattr_in = Struct("=II8xQ8xQQ8xII4xI4xII4x").unpack_from
"""valid, padding, size, atime, mtime, atimensec, mtimensec, mode, uid, gid"""
mknod_in = Struct("=III4x").unpack_from
"""mode, rdev, umask"""
mkdir_in = Struct("=II").unpack_from
"""mode, umask"""
tmpfile_in = Struct("=4xII4x").unpack_from
"""mode, umask"""
node_in = Struct("=Q").unpack_from
rename2_in = Struct("=QI4x").unpack_from
"""new directory, flags"""
read_in = Struct("=8xQI").unpack_from
"""offset, size"""
write_in = Struct("=8xQII").unpack_from
"""offset, size, flags"""
size_in = Struct("=II").unpack_from
"""size, flags"""
fallocate_in = Struct("=8xQQI").unpack_from
"""offset, length, mode"""
lseek_in = Struct("=8xqI").unpack_from
"""offset, whence"""
copy_in = Struct("=8xQQ8xQQ").unpack_from
"""offset, other node, its offset, length"""
forgets = Struct("=QQ").iter_unpack
"""(node, count)"""

answer = Struct("=IiQ").pack
"""length, -errno, unique"""
_init_out = Struct("=IIIIHHIIHHI28x").pack
put_answer = Struct("=IiQ").pack_into
ANSWER_SIZE = 16
_entry = Struct("=QQQQII").pack
_status = Struct("=3Q3q10I").pack
_dirent = Struct("=QQII").pack
_statfs = Struct("=5Q4I24x").pack
one_word = Struct("=I4x").pack
long_word = Struct("=Q").pack
OPENED = bytes(16)
"""An open file without a number or flags of the server's."""

NO_ENTRY = _entry(0, 0, FOREVER, 0, 0, 0) + bytes(88)
"""A name that is not there, to be remembered."""
TYPES = {stat.S_IFDIR: 4, stat.S_IFREG: 8, stat.S_IFLNK: 10, stat.S_IFIFO: 1, stat.S_IFCHR: 2, stat.S_IFBLK: 6,
         stat.S_IFSOCK: 12}  # fmt: skip
"""File type -> directory entry type."""
_SECOND = 1_000_000_000
_ATTRIBUTES = Struct("=QII").pack(FOREVER, 0, 0)


def init_out(flags: int, readahead: int) -> bytes:
    """The answer to INIT: what of the wanted `flags` the kernel offers."""
    return _init_out(MAJOR, MINOR, readahead, flags & WANTED, 64, 48, MAX_WRITE, 1, MAX_WRITE // 4096, 0, 0)


def _told(status: os.stat_result, inode: int, links: int) -> bytes:
    # As a tuple it has whole seconds, and is taken apart at once: this is half of what a look-up costs in Python.
    mode, _, _, _, uid, gid, size, atime, mtime, ctime = status[:]
    rdev = status.st_rdev
    if rdev:
        major, minor = os.major(rdev), os.minor(rdev)
        rdev = (minor & 0xFF) | (major << 8) | ((minor & ~0xFF) << 12)
    return _status(
        inode, size, status.st_blocks, atime, mtime, ctime,
        status.st_atime_ns % _SECOND, status.st_mtime_ns % _SECOND, status.st_ctime_ns % _SECOND,
        mode, links, uid, gid, rdev, 4096, 0,
    )  # fmt: skip


def entry(node: int, status: os.stat_result, inode: int, links: int) -> bytes:
    """A name and what it is."""
    return _entry(node, 0, FOREVER, FOREVER, 0, 0) + _told(status, inode, links)


def attributes(status: os.stat_result, inode: int, links: int) -> bytes:
    """What a file is."""
    return _ATTRIBUTES + _told(status, inode, links)


def dirent(inode: int, offset: int, kind: int, name: bytes) -> bytes:
    """One name of a directory, padded; `offset` is where the next begins."""
    return _dirent(inode, offset, len(name), kind) + name + bytes(-len(name) % 8)


def statfs(found: os.statvfs_result) -> bytes:
    return _statfs(
        found.f_blocks, found.f_bfree, found.f_bavail, found.f_files, found.f_ffree, found.f_bsize, found.f_namemax,
        found.f_frsize, 0,
    )  # fmt: skip


def device(word: int) -> int:
    """A device number as the kernel sends it."""
    return os.makedev((word & 0xFFF00) >> 8, (word & 0xFF) | ((word >> 12) & 0xFFF00))


def strings(data: memoryview) -> list[bytes]:
    """The NUL-ended strings in it."""
    return bytes(data).split(b"\0")[:-1]
