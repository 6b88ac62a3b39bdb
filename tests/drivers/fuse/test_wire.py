"""What the kernel and a FUSE server say to each other."""

from __future__ import annotations

import os

from veneer.drivers.fuse.wire import device


def test_device_numbers_are_read_as_the_kernel_writes_them() -> None:
    for major, minor in ((1, 3), (7, 200), (4095, 1_048_575), (8, 300)):
        word = (minor & 0xFF) | (major << 8) | ((minor & ~0xFF) << 12)
        assert device(word) == os.makedev(major, minor)
