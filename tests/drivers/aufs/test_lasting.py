"""FUSE mounts that outlive the process that made them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support import leaks
from veneer.drivers.aufs.driver import Aufs
from veneer.drivers.aufs.mounters import FUSE
from veneer.drivers.mount import unmount
from veneer.testing.driver_bench import Bench, usable, write

_MOUNT = """
import sys
from pathlib import Path
from veneer.drivers.aufs.driver import Aufs
from veneer.drivers.mount import attach
root, target, *lowers = sys.argv[1:]
[mount] = Aufs(root, "fuse").mounts(None, lowers)
attach([mount.replaced(keeper=mount.keeper.replaced(lasting=True))], Path(target))
"""


def test_a_lasting_mount_serves_until_it_is_unmounted(tmp_path: Path) -> None:
    bench = Bench(usable(Aufs(tmp_path / "aufs", FUSE)), tmp_path)
    stack = bench.layers(lambda root: write(root, "f", "content"), lambda root: write(root, "g", ""))
    target = tmp_path / "target"
    target.mkdir()
    subprocess.run([sys.executable, "-c", _MOUNT, str(tmp_path / "aufs"), str(target), *stack], check=True)
    try:
        assert (target / "f").read_text() == "content"
    finally:
        unmount(target)
    assert not leaks.mounts_below(tmp_path)
