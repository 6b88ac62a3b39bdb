"""A container before it runs: its tree mounted, the small files it is given, everything in memory and out of sight.

All of it lies in a file system in memory that only the enclosure sees: secrets touch no disk, and when the last
process inside ends nothing has to be cleaned up.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from veneer.drivers import mount as mounting
from veneer.drivers import mount_syscalls as sys_mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from socket import socket
    from typing import Protocol, TypeVar

    from veneer.drivers.mount import Mount

    T = TypeVar("T")

    class Inside(Protocol):
        """Where bundles are: an enclosure, or here."""

        def inside(self, work: Callable[[], T]) -> T:
            """What `work` gives, done there."""


_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def own(file: int | str | Path, uid: int, gid: int) -> None:
    """Give a file away, to ids that our user namespace has; without those it stays ours, and we are its root."""
    try:
        os.chown(file, uid, gid)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise


class Here:
    """For who is in a mount namespace of his own already."""

    def inside(self, work: Callable[[], T]) -> T:
        return work()


class Bundle:
    """What the runtime is given; `folder`, an empty directory, is where it appears inside the enclosure.

    `root` is a descriptor of the container's tree.  Close it, or use it in a `with`; the mounts go with the enclosure.
    """

    def __init__(self, enclosure: Inside, folder: Path, mounts: Sequence[Mount]) -> None:
        self.enclosure = enclosure
        self.folder = folder
        self.rootfs = folder / "rootfs"
        self._count = 0
        self.root, self.log = enclosure.inside(lambda: self._make(mounts))

    def __enter__(self) -> Bundle:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.root)
        os.close(self.log)

    def _make(self, mounts: Sequence[Mount]) -> tuple[int, int]:
        flags = sys_mount.MS_NOSUID | sys_mount.MS_NODEV
        sys_mount.mount(b"tmpfs", os.fsencode(self.folder), b"tmpfs", flags, b"mode=0711")
        self.rootfs.mkdir()
        (self.folder / "state").mkdir()
        mounting.attach(mounts, self.rootfs)
        log = os.open(self.folder / "log", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            return os.open(self.rootfs, _DIRECTORY), log
        except BaseException:
            os.close(log)
            raise

    def file(self, content: bytes, *, mode: int = 0o644, uid: int = 0, gid: int = 0) -> str:
        """The path of a new file to mount in the container."""
        return self.enclosure.inside(lambda: self._file(self._place(), content, mode, uid, gid))

    def _file(self, path: Path, content: bytes, mode: int, uid: int, gid: int) -> str:
        with open(path, "xb") as file:
            file.write(content)
            own(file.fileno(), uid, gid)
            os.fchmod(file.fileno(), mode)
        return os.fspath(path)

    def tree(self, mounts: Sequence[Mount], inner: bytes = b"") -> tuple[str, bool]:
        """The path of `inner`, a real path without links, in `mounts` that are made for it; whether it is a directory.

        Raises FileNotFoundError.
        """

        def made() -> tuple[str, bool]:
            place = self._place()
            place.mkdir()
            mounting.attach(mounts, place)
            path = os.fspath(place / os.fsdecode(inner)) if inner else os.fspath(place)
            os.lstat(path)
            return path, os.path.isdir(path)

        return self.enclosure.inside(made)

    def shown(self, fd: int) -> str:
        """The path of what an O_PATH descriptor is of, wherever its name leads by now; it is closed."""

        def mounted() -> str:
            place = self._place()
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                place.mkdir()
            else:
                place.touch()
            flags = sys_mount.MS_BIND | sys_mount.MS_REC
            sys_mount.mount(f"/proc/self/fd/{fd}".encode(), os.fsencode(place), b"", flags, b"")
            return os.fspath(place)

        try:
            return self.enclosure.inside(mounted)
        finally:
            os.close(fd)

    def socket(self, listener: socket, *, mode: int, uid: int, gid: int) -> str:
        """Bind a Unix socket; its path, to mount in the container."""
        path = self._place()

        def bound() -> None:
            # By its bare name: a socket's path may have no more than 107 bytes.  The directory is this thread's alone.
            os.chdir(path.parent)
            listener.bind(path.name)
            own(path.name, uid, gid)
            os.chmod(path.name, mode)

        self.enclosure.inside(bound)
        return os.fspath(path)

    def write(self, name: str, content: bytes) -> None:
        """Write a file that the runtime reads."""

        def written() -> None:
            (self.folder / name).write_bytes(content)

        self.enclosure.inside(written)

    def hide(self, path: str) -> None:
        """Have nothing at a path of the host where something is mounted.

        What a program writes there, as crun does that takes the place for a control group, goes with the enclosure.
        """

        def hidden() -> None:
            place = os.fsencode(path)
            try:
                sys_mount.umount2(place, sys_mount.MNT_DETACH)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                # What a user namespace was given is locked; the whole directory that it is in is covered.
                place = os.path.dirname(place)
            sys_mount.mount(b"tmpfs", place, b"tmpfs", sys_mount.MS_NOSUID | sys_mount.MS_NODEV, b"mode=0755")

        self.enclosure.inside(hidden)

    def _place(self) -> Path:
        self._count += 1
        return self.folder / f"given-{self._count}"
