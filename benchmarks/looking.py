"""How long looking into an image takes: on synthetic ones, whose indexes are made and whose layers are not, and on one
in an archive that nobody has seen before."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from random import Random

from benchmarks.corpus import Corpus
from benchmarks.measure import Series, measured
from tests.support.programs import VENEER, run
from veneer.changeset.entry import Kind
from veneer.changeset.index import IndexBuilder
from veneer.testing.images import SampleLayer, directory, docker_archive, image, layer_tar


@dataclass(frozen=True)
class Shape:
    """An image of `files` files, `bytes` bytes and `layers` layers.

    `rewritten` of the base's files come again in a layer of their own with the same bytes, as `RUN chown -R` does it.
    """

    name: str
    files: int
    bytes: int
    layers: int
    rewritten: int = 0


SHAPES = (
    Shape("1 GB, 36,000 files, 6 layers", 36_000, 10**9, 6),
    Shape("3 GB, 200,000 files, 40 layers", 200_000, 3 * 10**9, 40),
    Shape("3 GB, 200,000 files, 40 layers, 80,000 of them by chown", 200_000, 3 * 10**9, 40, 80_000),
)
OPERATIONS = ("waste", "tree", "find", "find *")
NAMES = 1_000_000
IMAGES = 2000

_ASK = """
import sys
from pathlib import Path
from veneer.changeset.index import LayerIndex
what, folder = sys.argv[1], Path(sys.argv[2])
indexes = [LayerIndex.open(path) for path in sorted(folder.iterdir())]
from veneer.analysis.table import Table
table = Table(indexes)
if what == "waste":
    from veneer.analysis.waste import account, by_path
    assert by_path(account(table).losses)
elif what == "tree":
    from veneer.analysis.view import View
    view = View(table)
    for line in view.level():
        if line.place is not None:
            list(view.beneath(line.path, line.place))
elif what == "find":
    from veneer.analysis.events import history_of
    assert history_of(table, b"usr/share/d0/d0/f0")
elif what == "first names":
    from veneer.analysis.view import View
    from veneer.cli.commands.image_tree import Wanted, walk
    view = View(table)
    assert len(list(walk(view, b"d", table.find(b"d")[1], Wanted(1, 20, "size", "", False, False)))) == 21
elif what == "find *":
    import re
    from veneer.analysis.events import matching
    assert list(matching(table, re.compile(rb".*/f0")))
"""


def make(shape: Shape, folder: Path) -> None:
    """Write the indexes of an image of this shape, as files 000, 001, ... of `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    random = Random(1)
    own = shape.files - shape.rewritten
    share = own // (2 * max(shape.layers - 1, 1))
    base = own - share * (shape.layers - 1)
    size = shape.bytes // shape.files
    paths: list[tuple[bytes, bytes]] = []
    for layer in range(shape.layers):
        builder = IndexBuilder()
        last = layer == shape.layers - 1
        for top in (b"usr", b"usr/share", b"etc", b"var", b"var/lib"):
            builder.add(top, Kind.DIRECTORY, 0o755)
        for number in range(base if layer == 0 else share):
            if layer and number % 5 == 0 and paths:
                path, _ = random.choice(paths)  # one in five is a path that was there before
            else:
                folder_number = number // 20
                path = b"usr/share/d%d/d%d/f%d" % (folder_number % 97 if layer == 0 else layer, folder_number, number)
            digest = random.randbytes(32)
            builder.add(path, Kind.REGULAR, 0o644, 0, 0, size, 10**18, b"", digest)
            if layer == 0:
                paths.append((path, digest))
        if layer:
            builder.add(b"usr/share/d%d/gone" % random.randrange(97), Kind.WHITEOUT)
        if last:
            for path, digest in paths[: shape.rewritten]:
                builder.add(path, Kind.REGULAR, 0o644, 1000, 1000, size, 10**18, b"", digest)
        with open(folder / f"{layer:03}", "wb") as out:
            builder.write(out)


def make_crowded(folder: Path) -> None:
    """The same of an image with NAMES files in one directory, and a layer that deletes one of them."""
    folder.mkdir(parents=True, exist_ok=True)
    random = Random(1)
    base, top = IndexBuilder(), IndexBuilder()
    base.add(b"d", Kind.DIRECTORY, 0o755)
    for number in range(NAMES):
        base.add(b"d/name-%07d" % number, Kind.REGULAR, 0o644, size=number % 1000, digest=random.randbytes(32))
    top.add(b"d/name-0500000", Kind.WHITEOUT)
    for number, builder in enumerate((base, top)):
        with open(folder / f"{number:03}", "wb") as out:
            builder.write(out)


def many_images(work: Path, count: int) -> Path:
    """A store with `count` images of two layers: one that all share, one that ten share."""
    root = work / "looking" / f"store-{count}"
    if root.is_dir():
        return root
    base = SampleLayer(layer_tar({"etc": directory(), "etc/os": b"1"}), "")
    tops = [SampleLayer(layer_tar({f"app-{number}": b"x"}), "") for number in range(count // 10)]
    made = [image(base, tops[number // 10], config={"Env": [f"N={number}"]}) for number in range(count)]
    archive = work / "looking" / "many.tar"
    archive.write_bytes(docker_archive(*((each, [f"bench/app-{number}:1"]) for number, each in enumerate(made))))
    run(VENEER, "--root", root, "--durability", "none", "load", "-q", "-i", archive)
    archive.unlink()
    return root


_DECOMPRESS = """
import sys
from veneer.changeset.compression import decompressed
buffer = bytearray(1 << 20)
for path in sys.argv[1:]:
    with open(path, "rb", buffering=0) as source:
        plain = decompressed(source)
        while plain.readinto(buffer):
            pass
"""


def saved(work: Path, big: Corpus) -> Path:
    """The image as an OCI archive, its layers compressed, in a file of its own."""
    target = work / "looking" / f"saved-{big.files}-{big.bytes}.tar"
    if target.exists():
        return target
    folder = work / "looking" / "layout"
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    for descriptor, path in zip(big.manifest.layers, big.blobs, strict=True):
        os.link(path, blobs / descriptor.digest.hex)
    (blobs / big.manifest.config.digest.hex).write_bytes(big.config)
    (blobs / big.manifest.digest.hex).write_bytes(big.manifest.raw)
    one = {"mediaType": big.manifest.media_type, "digest": str(big.manifest.digest), "size": len(big.manifest.raw)}
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [one]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    run("tar", "--create", "--file", target, "--directory", folder, "oci-layout", "index.json", "blobs")
    shutil.rmtree(folder)
    return target


def looking(work: Path, rounds: int, big: Corpus) -> dict[tuple[str, str], Series]:
    """Each operation on each shape, `image shared` on many images, questions to the saved image `big`; each in a new
    process, its start included."""
    (work / "looking").mkdir(parents=True, exist_ok=True)
    results: dict[tuple[str, str], Series] = {}

    def measure(what: str, operation: str, command: list[str]) -> None:
        series = results[what, operation] = Series([measured(command) for _ in range(rounds)])
        print(f"  {what}, {operation}: {series.best:.2f} s", file=sys.stderr, flush=True)

    for shape in SHAPES:
        folder = work / "looking" / shape.name.replace(",", "").replace(" ", "-")
        if not folder.is_dir():
            make(shape, folder)
        for operation in OPERATIONS:
            measure(shape.name, operation, [sys.executable, "-c", _ASK, operation, str(folder)])
    crowded = work / "looking" / f"crowded-{NAMES}"
    if not crowded.is_dir():
        make_crowded(crowded)
    for operation in ("first names", "waste"):
        what = f"{NAMES:,} names in one directory"
        measure(what, operation, [sys.executable, "-c", _ASK, operation, str(crowded)])
    archive = saved(work, big)
    none = ["--root", str(work / "looking" / "no-store")]
    what = f"an archive never seen, {big.bytes / 1e6:,.0f} MB in {big.files:,} files"
    measure(what, "decompressed once by gzip", ["gzip", "--test", *map(str, big.blobs)])
    measure(what, "decompressed once by ISA-L", [sys.executable, "-c", _DECOMPRESS, *map(str, big.blobs)])
    measure(what, "image waste", [str(VENEER), *none, "image", "waste", "--archive", str(archive)])
    measure(what, "image find", [str(VENEER), *none, "image", "find", "--archive", str(archive), "*.so"])
    root = many_images(work, IMAGES)
    measure(f"{IMAGES:,} images", "image shared", [str(VENEER), "--root", str(root), "image", "shared"])
    return results
