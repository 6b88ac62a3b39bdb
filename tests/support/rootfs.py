"""Root file systems to import as base images, made without any registry."""

from __future__ import annotations

from pathlib import Path

from tests.support.programs import needs, run

SCRIPT = Path(__file__).parents[2] / "scripts" / "rootfs.sh"


def busybox_tar(target: Path) -> Path:
    """A 2 MB root file system: static busybox and its applets, /etc/passwd, /tmp."""
    needs("busybox")
    run(SCRIPT, "busybox", target)
    return target
