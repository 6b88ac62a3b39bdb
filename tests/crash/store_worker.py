"""What the kill tests kill: a process that uses a store in every way, at random, until it dies.

Run as `python store_worker.py ROOT SEED`; prints "ready" when it begins.  It ends by itself, saying why on stderr, if
the store lost something that it held.  `python store_worker.py CRASHPOINT ROOT` dies at that crash point.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from pathlib import Path

from veneer.config import Config
from veneer.errors import Conflict, NotFound
from veneer.oci.digest import DiffID
from veneer.oci.reference import Reference
from veneer.store import durability
from veneer.store.leases import Lease
from veneer.store.removal import remove
from veneer.store.store import Store
from veneer.testing.images import SampleImage, SampleLayer, directory, image, layer_tar

LAYERS = tuple(
    SampleLayer(
        layer_tar({"d": directory(), f"d/{n}": b"%d" % n * 5000} if n % 3 else {f"implied/{n}": b"%d" % n * 5000}),
        ("gzip", "zstd", "")[n % 3],
    )
    for n in range(6)
)
IMAGES: tuple[SampleImage, ...] = (
    image(LAYERS[0]), image(LAYERS[0], LAYERS[1]), image(LAYERS[0], LAYERS[1], LAYERS[2]),
    image(LAYERS[3], LAYERS[1]), image(LAYERS[4], LAYERS[5], LAYERS[4]),
)  # fmt: skip
CRASHPOINTS = (
    "lease-open", "lease-dropped", "blob-written", "blob-linked", "blob-row", "snapshot-created", "layers-unpacked",
    "layers-committed", "gc-reaped", "gc-rows-gone", "gc-renamed", "gc-swept",
)  # fmt: skip


class Lost(AssertionError):
    """The store lost what a live lease held."""


def put(store: Store, rng: random.Random) -> None:
    with store.lease("put") as lease:
        data = b"document %d" % rng.randrange(20) * rng.randrange(1, 50)
        digest = store.blobs.put(lease, data)
        if store.blobs.read(digest) != data:
            raise Lost(f"blob {digest}")


def download(store: Store, rng: random.Random) -> None:
    """A blob that comes in pieces, sometimes not all of them."""
    sample = rng.choice(LAYERS)
    stop = rng.randrange(len(sample.blob) * 2)
    with (
        store.lease("download") as lease,
        store.blobs.writer(lease, expect=sample.digest, size=len(sample.blob)) as writer,
    ):
        while writer.offset < len(sample.blob):
            if writer.offset > stop:
                return
            writer.write(sample.blob[writer.offset : writer.offset + 500])
        writer.commit()
        if store.blobs.read(sample.digest, 1 << 24) != sample.blob:
            raise Lost(f"blob {sample.digest}")


def take_in(store: Store, rng: random.Random) -> None:
    number = rng.randrange(len(IMAGES))
    sample = IMAGES[number]
    with store.lease("take in") as lease:
        layers = _layers(store, lease, sample, rng)
        for chain_id, each in zip(sample.parsed.chain_ids, layers, strict=True):
            found = store.layers.directory(store.layers.get(chain_id))
            with store.layers.index(each) as index:
                for entry in index:
                    if not (found / entry.path.decode()).exists():
                        raise Lost(f"layer {chain_id}: {entry.path!r}")
        added = store.images.add(
            lease, sample.config, manifest=sample.manifest.raw, manifest_type=sample.manifest.media_type
        )
        store.images.tag(added.id, Reference.parse(f"crash/image:{number}-{rng.randrange(3)}"))


def _layers(store: Store, lease: Lease, sample: SampleImage, rng: random.Random) -> Sequence[DiffID]:
    with store.layers.intake(lease, sample.parsed.diff_ids) as intake:
        for position, each in enumerate(sample.layers):
            if position not in intake.missing or rng.random() < 0.5:
                blob = store.blobs.put(lease, each.blob)
                if position in intake.missing:
                    intake.feed(position, blob, each.descriptor().media_type)
            else:
                with store.blobs.writer(lease, expect=each.digest, size=len(each.blob)) as writer:
                    intake.feed(position, writer, each.descriptor().media_type)
                    if writer.offset < len(each.blob):
                        writer.write(each.blob[writer.offset :])
                    writer.commit()
        return [layer.diff_id for layer in intake.commit()]


def remove_one(store: Store, rng: random.Random) -> None:
    tags = store.catalog.rows("SELECT name FROM tag")
    if tags:
        try:
            remove(store, rng.choice(tags)[0], force=True)
        except (NotFound, Conflict):
            return  # another process was faster, or holds it


def collect(store: Store, rng: random.Random) -> None:
    store.collect(dry_run=rng.random() < 0.2)


def feed_all(store: Store, lease: Lease, sample: SampleImage) -> None:
    """Take in an image's layers from stored blobs."""
    with store.layers.intake(lease, sample.parsed.diff_ids) as intake:
        for position, each in enumerate(sample.layers):
            blob = store.blobs.put(lease, each.blob)
            if position in intake.missing:
                intake.feed(position, blob, each.descriptor().media_type)
        intake.commit()


def until(point: str, root: str) -> None:
    """Do everything over and over, and die the second time at the crash point."""
    rng = random.Random(point)
    durability.arm(point, 1)
    with Store.open(Config(root=Path(root), unpack_workers=1)) as store:
        for _ in range(20):
            for step in (put, download, take_in, remove_one, collect):
                step(store, rng)


def main(root: str, seed: str) -> None:
    rng = random.Random(seed)
    if rng.random() < 0.5:
        durability.arm(rng.choice(CRASHPOINTS), rng.randrange(8))
    config = Config(root=Path(root), storage_driver="", unpack_workers=1)
    with Store.open(config) as store:
        print("ready", flush=True)
        while True:
            rng.choice((put, download, take_in, take_in, remove_one, collect))(store, rng)


if __name__ == "__main__":
    (until if sys.argv[1] in CRASHPOINTS else main)(*sys.argv[1:])
