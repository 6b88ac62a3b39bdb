"""How the cost of a pull grows: with layers, with files, with bytes."""

from __future__ import annotations

import hashlib
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.corpus import gzipped_layer
from benchmarks.journeys import at, fresh
from benchmarks.measure import Measure
from benchmarks.tools import Veneer
from tests.support.registries import RealRegistry
from veneer.oci.digest import Digest
from veneer.oci.manifest import DOCKER_MANIFEST, Manifest
from veneer.testing.images import Member, Tree, directory, image, layer_tar

_END_OF_TAR = 1024


@dataclass(frozen=True)
class Point:
    """`measure` of pulling an image of `amount` layers, files or bytes (`axis` says which)."""

    axis: str
    amount: int
    measure: Measure


def _small_layer(number: int) -> Tree:
    """Ten entries of the layer's own."""
    tree: dict[str, Member | bytes] = {f"layer-{number}": directory()}
    return tree | {f"layer-{number}/{n}": b"x" * 100 for n in range(9)}


def _many_files(count: int, target: Path) -> None:
    """A layer of `count` files of 100 bytes, a thousand to a directory, written without holding it in memory."""
    with target.open("wb") as out:
        for start in range(0, count, 1000):
            folder = f"data/{start // 1000:04}"
            tree: dict[str, Member | bytes] = {folder: directory()}
            tree |= {f"{folder}/{n:03}": b"%099d\n" % n for n in range(min(1000, count - start))}
            out.write(layer_tar(tree)[:-_END_OF_TAR])
        out.write(bytes(_END_OF_TAR))


def _many_bytes(size: int, target: Path) -> None:
    """A layer of files of 10 MB that compress to about half."""
    source = random.Random(1)
    with target.open("wb") as out:
        for n in range(max(1, size // 10_000_000)):
            half = source.randbytes(5_000_000)
            out.write(layer_tar({f"file-{n}": half + bytes(5_000_000)})[:-_END_OF_TAR])
        out.write(bytes(_END_OF_TAR))


def _put(registry: RealRegistry, work: Path, repository: str, tar: Path) -> str:
    """Push an image whose only layer is `tar`, gzipped, without reading it into memory."""
    with tar.open("rb") as source:
        diff_id = Digest.sha256(hashlib.file_digest(source, "sha256").hexdigest())
    packed = work / "growth.tar.gz"
    with tar.open("rb") as source, packed.open("wb") as out:
        subprocess.run(["gzip", "-1", "-n"], stdin=source, stdout=out, check=True)
    layer = gzipped_layer(packed)
    rootfs = {"type": "layers", "diff_ids": [str(diff_id)]}
    sample = image(style="docker", rootfs=rootfs, history=())
    manifest = Manifest.build(DOCKER_MANIFEST, sample.manifest.config, (layer,))
    with packed.open("rb") as data:
        registry.put_blob(repository, layer.digest, data)
    registry.put_blob(repository, sample.manifest.config.digest, sample.config)
    registry.put_manifest(repository, "1", manifest.raw, manifest.media_type)
    packed.unlink()
    return f"{registry.host}/{repository}:1"


def growth(work: Path, layers: list[int], files: list[int], sizes: list[int]) -> list[Point]:
    """One pull for each amount on each axis, each into an empty store."""
    points = []
    shutil.rmtree(work / "growth", ignore_errors=True)
    registry = RealRegistry.start(work / "growth")

    def measure(axis: str, amount: int, name: str) -> None:
        inodes = max(500_000, amount * 11 // 10 if axis == "files" else 0)
        with fresh(work, inodes=inodes) as folder, at(Veneer, folder) as engine:
            points.append(Point(axis, amount, engine.pull(name)))
        taken = points[-1].measure
        print(f"  {axis:6} {amount:12,} {taken.seconds:8.2f} s {taken.peak / 1e6:6.0f} MB", file=sys.stderr, flush=True)

    try:
        for count in layers:
            sample = image(*[_small_layer(n) for n in range(count)], style="docker")
            measure("layers", count, registry.put(f"growth/layers-{count}:1", sample))
        tar = work / "growth.tar"
        for count in files:
            _many_files(count, tar)
            measure("files", count, _put(registry, work, f"growth/files-{count}", tar))
        for size in sizes:
            _many_bytes(size, tar)
            measure("bytes", size, _put(registry, work, f"growth/bytes-{size}", tar))
        tar.unlink(missing_ok=True)
    finally:
        registry.stop()
        shutil.rmtree(work / "growth")
    return points
