"""Devices and FIFOs that a hard link copies up from a lower layer."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from veneer.changeset.settle import settle
from veneer.changeset.unpack import Unpacked
from veneer.changeset.whiteout import WhiteoutStyle
from veneer.oci.digest import DiffID, Digest


def test_a_fifo_copied_up_keeps_its_permissions_whatever_the_umask(tmp_path: Path) -> None:
    lower, upper = tmp_path / "lower", tmp_path / "upper"
    lower.mkdir()
    upper.mkdir()
    os.mkfifo(lower / "pipe")
    (lower / "pipe").chmod(0o666)
    unpacked = Unpacked(DiffID(Digest.of(b"")), 0, 0, 1, lower_links=((b"name", b"pipe"),))
    before = os.umask(0o077)
    lower_fd, upper_fd = os.open(lower, os.O_RDONLY), os.open(upper, os.O_RDONLY)
    try:
        settle(upper_fd, unpacked, [lower_fd], WhiteoutStyle.OVERLAY)
    finally:
        os.umask(before)
        os.close(lower_fd)
        os.close(upper_fd)
    assert stat.S_IMODE((upper / "name").lstat().st_mode) == 0o666
