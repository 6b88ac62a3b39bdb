"""What the kill tests of migrations kill: `python migrate_worker.py ROOT DRIVER [CRASHPOINT PASSES]` moves everything;
it dies at the crash point, if one is given, after so many times through it."""

from __future__ import annotations

import sys
from pathlib import Path

from veneer.config import Config
from veneer.store import durability
from veneer.store.moving import migrate
from veneer.store.store import Store

CRASHPOINTS = (
    "migrate-begun", "snapshot-created", "layers-unpacked", "copies-unpacked", "layers-committed", "copies-committed",
    "migrate-brought", "migrate-served", "init-layer-made", "migrate-container-made", "migrate-container-moved",
    "gc-rows-gone", "gc-swept", "lease-dropped",
)  # fmt: skip


def main(root: str, to: str, point: str = "", passes: str = "0") -> None:
    if point:
        durability.arm(point, int(passes))
    with Store.open(Config(root=Path(root), unpack_workers=1, durability="none")) as store:
        print("ready", flush=True)
        left = migrate(store, to, is_running=lambda folder: False).left
    assert not left, left


if __name__ == "__main__":
    main(*sys.argv[1:])
