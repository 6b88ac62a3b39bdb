"""Where metadata images cannot be mounted, the reason says what is in the way."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from veneer.drivers.erofs.driver import Erofs
from veneer.drivers.mount import filesystem_of

pytestmark = pytest.mark.usefixtures("root_only")


def test_on_a_file_system_whose_files_cannot_be_mounted_that_is_said(tmp_path: Path) -> None:
    if filesystem_of(Path("/dev/shm")) != "tmpfs" or not Erofs(tmp_path / "erofs").probe().usable:
        pytest.skip("there is no tmpfs at /dev/shm, or EROFS images cannot be mounted elsewhere either")
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix=f"veneer-test-{os.getpid()}-") as folder:
        support = Erofs(Path(folder, "erofs")).probe()
    assert not support.usable
    assert support.reason.startswith("the kernel mounts no EROFS image that is a file on tmpfs (choose a data root on ")
