"""What the kernel and a FUSE server say to each other."""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path

import pytest

from veneer.drivers import treecopy
from veneer.drivers.fuse import wire
from veneer.drivers.fuse.changes import WritableUnion
from veneer.drivers.fuse.server import Server


def test_device_numbers_are_read_as_the_kernel_writes_them() -> None:
    for major, minor in ((1, 3), (7, 200), (4095, 1_048_575), (8, 300)):
        word = (minor & 0xFF) | (major << 8) | ((minor & ~0xFF) << 12)
        assert wire.device(word) == os.makedev(major, minor)


@pytest.mark.parametrize("lower", [False, True])
def test_the_mode_of_a_link_is_not_that_of_what_it_leads_to(tmp_path: Path, lower: bool) -> None:
    """Kernels before 6.6 ask for it; whoever may make links in a container would change files of the machine."""
    for name in ("upper", "work", "lower"):
        (tmp_path / name).mkdir()
    (tmp_path / "outside").touch(mode=0o600)
    (tmp_path / ("lower" if lower else "upper") / "link").symlink_to(tmp_path / "outside")
    request = struct.pack("=II8xQ8xQQ8xII4xI4xII4x", wire.SET_MODE, 0, 0, 0, 0, 0, 0, 0o777, 0, 0)
    with (
        treecopy.directory(tmp_path / "upper") as upper,
        treecopy.directory(tmp_path / "lower") as below,
        treecopy.directory(tmp_path / "work") as work,
        (tmp_path / "outside").open("rb") as nobody,
    ):
        union = WritableUnion([upper, below], work, descriptors=16)
        server = Server(nobody.fileno(), union)
        with pytest.raises(OSError, match="not supported"):
            server.handlers[wire.SETATTR](union.child(union.root, b"link")[0], memoryview(request), (0, 0))
    assert stat.S_IMODE((tmp_path / "outside").stat().st_mode) == 0o600
