"""What a migration to another storage driver has before it: which layers, how much room, who has what now."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from veneer.oci.digest import ChainID, Digest
from veneer.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from veneer.drivers.driver import SnapshotID
    from veneer.drivers.protocol import StorageDriver
    from veneer.store.store import Store

MOVING = "migrating"
"""The key of the setting that says where to a migration goes, from its beginning to its end."""

_PER_ENTRY = 3072
"""Bytes that a file or directory takes beside its content, about: half a block, or a block, and its inode."""


class Left(Value):
    """What stays with its driver: `kind` is container, layers or mount, `name` what it is called; and why, and what to
    do about it."""

    __slots__ = ()
    kind: str
    name: str
    reason: str
    hint: str


class Held(Value):
    """How much a driver has: the layers it serves, those it has beside the driver that does, and containers."""

    __slots__ = ()
    driver: str
    layers: int
    copies: int
    containers: int


class CutOff(Value):
    """A migration to the driver `to` that did not come to its end: so many layers and containers are still with
    others, whose names are `drivers`."""

    __slots__ = ()
    to: str
    layers: int
    containers: int
    drivers: Sequence[str]

    @property
    def left(self) -> str:
        """What is still to be moved, and from where, in words."""
        counted = {"layer": self.layers, "container": self.containers}
        things = [f"{count} {noun}{'s' * (count != 1)}" for noun, count in counted.items() if count]
        return f"{', '.join(things)} still with {', '.join(self.drivers)}"


class Stack(Value):
    """Layers that share a base, served by another driver than they are to be: `missing` are to be made, which takes
    about `needed` bytes and `inodes`, for a moment `beside` bytes more; `frees` bytes are free when all is done.
    There are `tars` bytes to unpack."""

    __slots__ = ()
    base: ChainID
    layers: int
    missing: int
    needed: int
    inodes: int
    beside: int
    frees: int
    tars: int


def held(store: Store) -> list[Held]:
    """What each driver has, by name; from the catalogue alone."""
    counts: dict[str, list[int]] = {}
    for column, sql in enumerate((
        "SELECT driver, count(*) FROM layer JOIN snapshot ON snapshot.id = layer.snapshot GROUP BY driver",
        "SELECT driver, count(*) FROM layer_copy GROUP BY driver",
        "SELECT driver, count(*) FROM container GROUP BY driver",
    )):  # fmt: skip
        for driver, count in store.catalog.rows(sql):
            counts.setdefault(driver, [0, 0, 0])[column] = count
    return [Held(driver, *numbers) for driver, numbers in sorted(counts.items())]


def cut_off(store: Store) -> CutOff | None:
    """The migration that was begun last and is neither at its end nor at work; from the catalogue alone."""
    from veneer.store.locks import is_locked

    to = store.catalog.setting(MOVING)
    if to is None or is_locked(f"{store.config.root_name}/locks", "migrate"):
        return None
    others = [each for each in held(store) if each.driver != to and (each.layers or each.containers)]
    if not others:
        return None
    return CutOff(to, sum(each.layers for each in others), sum(each.containers for each in others),
                  [each.driver for each in others])  # fmt: skip


def stacks_to_move(store: Store, driver: StorageDriver) -> Iterator[Stack]:
    """The layers that `driver` does not serve, by their bases."""
    from veneer.store.copies import BATCH

    rows = store.catalog.rows(
        "SELECT layer.chain_id, layer.parent, layer.diff_id, old.driver, old.id, old.size, old.entries, copy.id,"
        " CASE WHEN EXISTS (SELECT 1 FROM blob_diff WHERE blob_diff.diff_id = layer.diff_id) THEN 0"
        " ELSE old.tar_size END, old.tar_size"
        " FROM layer JOIN snapshot AS old ON old.id = layer.snapshot"
        " LEFT JOIN layer_copy ON layer_copy.chain_id = layer.chain_id AND layer_copy.driver = ?"
        " LEFT JOIN snapshot AS copy ON copy.id = layer_copy.snapshot ORDER BY layer.created, layer.chain_id",
        (driver.name,),
    )
    known = {row[0]: row for row in rows}
    bases: dict[str, str] = {}

    def base_of(chain_id: str) -> str:
        path = []
        while chain_id not in bases and known[chain_id][1] is not None:
            path.append(chain_id)
            chain_id = known[chain_id][1]
        base = bases.get(chain_id, chain_id)
        bases.update(dict.fromkeys([*path, chain_id], base))
        return base

    groups: dict[str, list[Any]] = {}
    for row in rows:
        if row[3] != driver.name:
            groups.setdefault(base_of(row[0]), []).append(row)
    seen: set[str] = set()
    for base, members in groups.items():
        missing = [row for row in members if row[7] is None]
        needed = inodes = tars = 0
        for row in missing:
            if driver.any_order and row[2] in seen:
                continue  # most often one snapshot serves both
            seen.add(row[2])
            tars += row[9]
            # Of a driver whose layers are whole trees, each has all that is below it as well.
            parts = [row] if driver.any_order else _down(known, row)
            needed += sum(part[5] + part[6] * _PER_ENTRY for part in parts)
            inodes += sum(part[6] for part in parts)
        # What has no blob is written down as a tar first, not much at a time.
        beside = max((row[8] for row in missing), default=0) + min(BATCH, sum(row[8] for row in missing))
        old = {row[4]: row[5] for row in members}
        frees = sum(old.values())
        yield Stack(ChainID(Digest(base)), len(members), len(missing), needed, inodes, beside, frees, tars)


def _down(known: dict[str, Any], row: Any) -> Iterator[Any]:
    while True:
        yield row
        if row[1] is None:
            return
        row = known[row[1]]


def room_of(driver: StorageDriver, snapshot: SnapshotID) -> int:
    """About how many bytes it takes to have what a container wrote once more."""
    try:
        used = driver.usage(snapshot)
    except FileNotFoundError:
        return 0  # removed meanwhile, or lost
    return used.size + used.inodes * _PER_ENTRY


def on_disk(folder: Path) -> int:
    """The bytes of the blocks that all below a directory takes, each inode once; 0 if it is not there."""
    seen: set[tuple[int, int]] = set()
    total = 0
    waiting = [os.fspath(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    elif status.st_nlink > 1:
                        if (status.st_dev, status.st_ino) in seen:
                            continue
                        seen.add((status.st_dev, status.st_ino))
                    total += status.st_blocks * 512
        except FileNotFoundError:
            continue  # it went meanwhile, or never was
    return total
