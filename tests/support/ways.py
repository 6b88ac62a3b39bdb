"""Every way there is to unite layers on this machine: the drivers, and each of their mounters."""

from __future__ import annotations

from pathlib import Path

import pytest

from veneer.config import Config
from veneer.drivers.driver import load

WAYS: dict[str, dict[str, str]] = {
    "overlay2": {"storage_driver": "overlay2"},
    "vfs": {"storage_driver": "vfs"},
    "erofs": {"storage_driver": "erofs"},
    "aufs by overlay": {"storage_driver": "aufs", "aufs_mounter": "overlay-shim"},
    "aufs by FUSE": {"storage_driver": "aufs", "aufs_mounter": "fuse"},
    "fuse-overlayfs": {"storage_driver": "fuse-overlayfs"},
    "fuse-overlayfs by the program": {"storage_driver": "fuse-overlayfs", "fuse_overlayfs_mounter": "program"},
}
"""What it is called here -> the settings that ask for it."""


def environment(way: str) -> dict[str, str]:
    """The same settings as a command takes them from its environment."""
    return {f"VENEER_{name.upper()}": value for name, value in WAYS[way].items()}


def require(way: str, root: Path) -> dict[str, str]:
    """The settings of a way; skips the test, with the driver's reason, where it does not work below `root`."""
    settings = WAYS[way]
    root.mkdir(parents=True, exist_ok=True)
    support = load(settings["storage_driver"], root, Config.load({"root": root, **settings})).probe()
    if not support.usable:
        pytest.skip(support.reason)
    return settings
