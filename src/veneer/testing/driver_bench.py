"""Stacks of layers made on a driver, for its conformance suite: by working in a mount, as a container does."""

from __future__ import annotations

import io
import os
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from veneer.drivers import treecopy
from veneer.drivers.driver import SnapshotID, Usage, new_snapshot_id
from veneer.drivers.mount import mounted
from veneer.drivers.protocol import StorageDriver
from veneer.drivers.userns import privileged

if TYPE_CHECKING:
    from veneer.changeset.pack import Packed
    from veneer.changeset.unpack import Unpacked

Stack = tuple[SnapshotID, ...]
"""The snapshots of one tree, nearest first."""

Facts = dict[bytes, tuple[object, ...]]
"""All that can be seen of a tree, by path; two trees are equal when their facts are."""

NOBODY: Stack = ()

CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
"""`security.capability` for CAP_NET_RAW."""


class Bench:
    """A driver and a folder to work in."""

    def __init__(self, driver: StorageDriver, folder: Path) -> None:
        self.driver = driver
        self.folder = folder

    def layer(self, change: Callable[[Path], object], on: Stack = NOBODY) -> Stack:
        """Change the tree `on` in a mount of its own, as a build step does; the stack with the new layer."""
        with self.writing(on) as (stack, root):
            change(root)
        self.driver.commit(stack[0])
        return stack

    def layers(self, *changes: Callable[[Path], object]) -> Stack:
        """One layer for each change, the first at the bottom."""
        stack = NOBODY
        for change in changes:
            stack = self.layer(change, stack)
        return stack

    @contextmanager
    def writing(self, on: Stack = NOBODY) -> Iterator[tuple[Stack, Path]]:
        """A new snapshot on `on`, mounted for writing: its stack, and the root of the tree."""
        snapshot = new_snapshot_id()
        self.driver.create(snapshot, on)
        with self.mounted(snapshot, on) as root:
            yield (snapshot, *on), root

    @contextmanager
    def mounted(self, snapshot: SnapshotID | None, on: Stack, *, readonly: bool = False) -> Iterator[Path]:
        mounts = self.driver.mounts(snapshot, on, readonly=readonly)
        with (
            tempfile.TemporaryDirectory(dir=self.folder, prefix="target-") as target,
            mounted(mounts, Path(target)) as root,
        ):
            yield root

    @contextmanager
    def view(self, stack: Stack) -> Iterator[Path]:
        """A read-only look at the tree."""
        with self.mounted(None, stack) as root:
            yield root

    def facts(self, stack: Stack) -> Facts:
        with self.view(stack) as root:
            return facts(root)

    def diff(self, stack: Stack) -> tuple[bytes, Packed]:
        """The top layer as the driver packs it: the tar, and what it says of it."""
        out = io.BytesIO()
        packed = self.driver.diff(stack[0], stack[1:], out)
        return out.getvalue(), packed

    def apply(self, tar: bytes, on: Stack = NOBODY) -> Stack:
        """A layer's tar as a layer on `on`."""
        return self.apply_all([tar], on)

    def indexed(self, tars: Sequence[bytes]) -> tuple[Stack, list[bytes]]:
        """The tars as layers, the first undermost, and the layers' indexes in the same order."""
        indexes = [io.BytesIO() for _ in tars]
        return self.apply_all(tars, indexes=indexes), [index.getvalue() for index in indexes]

    def apply_all(
        self,
        tars: Sequence[bytes],
        on: Stack = NOBODY,
        *,
        order: Sequence[int] | None = None,
        indexes: Sequence[io.BytesIO] = (),
    ) -> Stack:
        """The tars as layers, the first undermost; unpacked in `order` (positions) where the driver lets them be."""
        stacks: list[Stack] = [on]
        for _ in tars:
            stacks.append((new_snapshot_id(), *stacks[-1]))
        unpacked: dict[int, Unpacked] = {}
        for position in order if order is not None else range(len(tars)):
            stack = stacks[position + 1]
            root = self.driver.create(stack[0], stack[1:])
            unpacked[position] = self._unpack(tars[position], root, indexes[position] if indexes else None)
        for position in range(len(tars)):
            self._settle(stacks[position + 1], unpacked[position])
            self.driver.commit(stacks[position + 1][0])
        return stacks[-1]

    def _unpack(self, tar: bytes, root: Path, index: io.BytesIO | None) -> Unpacked:
        from veneer.changeset.unpack import unpack

        with treecopy.directory(root) as root_fd:
            return unpack(_Bytes(tar), root_fd, self.driver.whiteouts, index=index)

    def _settle(self, stack: Stack, unpacked: Unpacked) -> None:
        from contextlib import ExitStack

        from veneer.changeset.unpack import settle

        with ExitStack() as open_fds:
            fds = [open_fds.enter_context(treecopy.directory(self.driver.directory(one))) for one in stack]
            settle(fds[0], unpacked, fds[1:], self.driver.whiteouts)

    def usage(self, change: Callable[[Path], object], on: Stack = NOBODY) -> Usage:
        with self.writing(on) as (stack, root):
            change(root)
        self.driver.commit(stack[0])
        return self.driver.usage(stack[0])

    def own_facts(self, stack: Stack) -> list[Facts]:
        """What each layer's own directory holds on the disk, markers and all."""
        return [facts(self.driver.directory(snapshot)) for snapshot in stack]


class _Bytes:
    """Bytes as a layer's source."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def readinto(self, buffer: memoryview | bytearray, /) -> int:
        return self._file.readinto(buffer)


def facts(root: Path) -> Facts:
    """All that can be seen of the tree at `root` but times of access and change and inode numbers.

    Hard links show as the set of paths they share a file with.  A directory's size is the file system's business.
    """
    found: Facts = {}
    names: dict[tuple[int, int], list[bytes]] = {}
    waiting = [(os.fsencode(root), b"")]
    while waiting:
        path, relative = waiting.pop()
        st = os.lstat(path)
        content = b""
        if stat.S_ISREG(st.st_mode):
            with open(path, "rb") as file:
                content = file.read()
        elif stat.S_ISLNK(st.st_mode):
            content = os.readlink(path)
        elif stat.S_ISDIR(st.st_mode):
            waiting += [(path + b"/" + name, (relative + b"/" + name).lstrip(b"/")) for name in os.listdir(path)]
        if not stat.S_ISDIR(st.st_mode):
            names.setdefault((st.st_dev, st.st_ino), []).append(relative)
        size = 0 if stat.S_ISDIR(st.st_mode) else st.st_size
        found[relative] = (
            stat.filemode(st.st_mode), st.st_uid, st.st_gid, st.st_rdev, size, st.st_mtime_ns, content,
            _attributes(path),
        )  # fmt: skip
    for same in names.values():
        for name in same:
            found[name] += (tuple(sorted(same)),)
    return found


def _attributes(path: bytes) -> tuple[tuple[str, bytes], ...]:
    names = os.listxattr(path, follow_symlinks=False)
    return tuple(sorted((name, os.getxattr(path, name, follow_symlinks=False)) for name in names))


def usable(driver: StorageDriver) -> StorageDriver:
    """The driver; the test is skipped, and says why, where the machine has not what it needs."""
    support = driver.probe()
    if not support.usable:
        pytest.skip(support.reason)
    return driver


class DriverFixtures:
    """How the suites get their driver."""

    def make_driver(self, root: Path) -> StorageDriver:
        """The driver under test, with `root` as its own folder (not there yet)."""
        raise NotImplementedError("a driver's suite says how to make the driver")

    @pytest.fixture
    def driver(self, tmp_path: Path) -> StorageDriver:
        return usable(self.make_driver(tmp_path / "driver"))

    @pytest.fixture
    def bench(self, driver: StorageDriver, tmp_path: Path) -> Bench:
        return Bench(driver, tmp_path)


def write(root: Path, path: str, text: str) -> None:
    """A file with its directories."""
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def append(root: Path, path: str, text: str) -> None:
    """Write at the end of a file."""
    with (root / path).open("a") as file:
        file.write(text)


def one_of_everything(root: Path) -> None:
    """A file of every kind with every kind of attribute, all times set; devices if this process can make them."""
    for name in ("d/sub", "sticky", "setgid"):
        (root / name).mkdir(parents=True)
    (root / "sticky").chmod(0o1777)
    (root / "setgid").chmod(0o2755)
    (root / "file").write_bytes(b"\0content\xff" * 1000)
    (root / "empty").touch(mode=0o000)
    (root / "capable").touch(mode=0o755)
    (root / "linked").write_text("once")
    os.link(root / "linked", root / "linked2")
    os.link(root / "linked", root / "d/linked3")
    (root / "symlink").symlink_to("d/../nowhere")
    os.mkfifo(root / "fifo", 0o640)
    if privileged():
        os.mknod(root / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        os.mknod(root / "block", 0o660 | stat.S_IFBLK, os.makedev(7, 200))
    os.chown(root / "file", 1234, 2_000_000_000)
    (root / "file").chmod(0o6755)
    os.chown(root / "symlink", 5, 6, follow_symlinks=False)
    os.setxattr(root / "file", "user.note", b"\0\xffbinary")
    os.setxattr(root / "sticky", "user.note", b"")
    os.setxattr(root / "capable", "security.capability", CAPABILITY)
    for path in [*root.rglob("*"), root]:
        os.utime(path, ns=(0, 1_600_000_000_123_456_789), follow_symlinks=False)
