"""Contents that the kernel seals, where kernel and file system can; without it they are as they were."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.loop import NoLoopMounts, loop_mounted
from veneer.drivers.erofs import verity
from veneer.drivers.erofs.driver import Erofs
from veneer.testing.driver_bench import Bench, usable, write

CONTENT = "content " * 1000
OBJECT = hashlib.sha256(CONTENT.encode())


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A fresh ext4 made with the feature."""
    try:
        with loop_mounted(tmp_path / "ext4", 64 << 20, options=("-O", "verity")) as target:
            yield target
    except NoLoopMounts as error:
        pytest.skip(str(error))


def bench_on(folder: Path) -> Bench:
    return Bench(usable(Erofs(folder / "erofs")), folder)


def test_contents_are_sealed_and_no_other_content_is_shown_in_their_place(disk: Path) -> None:
    bench = bench_on(disk)
    sealed = verity.usable(bench.driver.objects.prepare())  # type: ignore[attr-defined]
    stack = bench.layer(lambda root: write(root, "file", CONTENT))
    place = bench.driver.objects.path(OBJECT.digest())  # type: ignore[attr-defined]
    if not sealed:  # a kernel without CONFIG_FS_VERITY: nobody can seal, and all is to be seen all the same
        with pytest.raises(verity.CannotSeal):
            verity.measured(place)
        with bench.view(stack) as root:
            assert (root / "file").read_text() == CONTENT
        return
    assert verity.measured(place)
    with pytest.raises(PermissionError):
        place.write_text("other")
    with bench.view(stack) as root:
        assert (root / "file").read_text() == CONTENT
    place.unlink()
    place.write_text("X" * len(CONTENT))
    with bench.view(stack) as root, pytest.raises(OSError) as refused:
        (root / "file").read_text()
    assert refused.value.errno == errno.EIO


def test_whether_contents_are_sealed_is_said(tmp_path: Path) -> None:
    bench = bench_on(tmp_path)
    reason = bench.driver.probe().reason
    assert reason.startswith("contents are shared (")
    assert ("(sealed by fs-verity)" in reason) == verity.usable(bench.driver.objects.root)  # type: ignore[attr-defined]


def test_a_file_system_without_it_refuses_and_the_answer_is_remembered(tmp_path: Path) -> None:
    """Nothing is sealed on /dev/shm: tmpfs has no fs-verity on any kernel."""
    folder = Path("/dev/shm", f"veneer-test-{os.getpid()}")
    folder.mkdir()
    try:
        (folder / "file").write_text(CONTENT)
        with pytest.raises(verity.CannotSeal):
            verity.seal(folder / "file")
        assert not verity.usable(folder)
        [note] = [each for each in folder.iterdir() if each.name != "file"]
        said = note.read_text()
        assert said.endswith(" no")
        note.write_text(said.removesuffix("no") + "yes")
        assert verity.usable(folder)
        note.write_text("another kernel yes")
        assert not verity.usable(folder)
    finally:
        for each in folder.iterdir():
            each.unlink()
        folder.rmdir()


class PretendedKernel:
    """Seals files as fs-verity does, as far as a caller sees: a kernel without it cannot be given it."""

    def __init__(self) -> None:
        self.digests: dict[int, bytes] = {}
        self.held = contextlib.ExitStack()
        """The sealed files, open: the number of one that is removed may be another's at once."""

    def ioctl(self, fd: int, request: int, argument: bytearray) -> None:
        inode = os.fstat(fd).st_ino
        if request == 0x40806685:  # FS_IOC_ENABLE_VERITY, an argument of 128 bytes
            assert struct.unpack_from("=III", argument) == (1, 1, 4096)
            assert len(argument) == 128
            if inode in self.digests:
                raise OSError(errno.EEXIST, "sealed")
            self.held.callback(os.close, os.dup(fd))
            with open(f"/proc/self/fd/{fd}", "rb") as file:
                self.digests[inode] = digest_of(file.read())
            return
        assert request == 0xC0046686  # FS_IOC_MEASURE_VERITY
        if inode not in self.digests:
            raise OSError(errno.ENODATA, "not sealed")
        assert struct.unpack_from("=HH", argument) == (0, 32)
        argument[:] = struct.pack("=HH", 1, 32) + self.digests[inode]


def digest_of(data: bytes) -> bytes:
    """fs-verity's digest: a tree of SHA-256 over blocks of 4096 bytes, its root in a descriptor, hashed.

    Source: Linux Documentation/filesystems/fsverity.rst (Merkle tree; fs-verity descriptor).
    """
    level = [data[at : at + 4096] for at in range(0, len(data), 4096)]
    while len(level) > 1:
        hashes = b"".join(hashlib.sha256(block.ljust(4096, b"\0")).digest() for block in level)
        level = [hashes[at : at + 4096] for at in range(0, len(hashes), 4096)]
    root = hashlib.sha256(level[0].ljust(4096, b"\0")).digest() if level else bytes(32)
    descriptor = struct.pack("=BBBBIQ64s32s144x", 1, 1, 12, 0, 0, len(data), root, b"")
    return hashlib.sha256(descriptor).digest()


def test_the_image_says_each_contents_digest_and_the_kernel_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench_on(tmp_path / "trial")
    kernel = PretendedKernel()
    with kernel.held:
        monkeypatch.setattr(verity, "_ioctl", kernel.ioctl)
        # So that the real kernel, which has sealed nothing, does not look: it still reads every attribute.
        monkeypatch.setattr(verity, "OPTIONS", ("verity=off",))
        bench = bench_on(tmp_path)
        assert "(sealed by fs-verity)" in bench.driver.probe().reason
        stack = bench.layer(lambda root: write(root, "d/file", CONTENT))
        assert list(kernel.digests.values()).count(digest_of(CONTENT.encode())) == 1
        [mount] = bench.driver.mounts(None, stack)
        assert "verity=off" in mount.options
        image = Path(*mount.lowers)
        assert b"\x00\x24\x00\x01" + digest_of(CONTENT.encode()) in image.read_bytes()
        with bench.view(stack) as root:
            assert (root / "d/file").read_text() == CONTENT
        # What came before anything was sealed is when an image is first made of it.
        kernel.digests.clear()
        image.unlink()
        bench.driver.mounts(None, stack)
        assert digest_of(CONTENT.encode()) in kernel.digests.values()
