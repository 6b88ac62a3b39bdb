"""The index of a layer that is only read is the one that unpacking it makes."""

from __future__ import annotations

import io
import os
from pathlib import Path
from random import Random

import pytest

from tests.analysis.stacks import random_layer
from tests.support.layers import FIFO, Layer, Workshop
from veneer.changeset.index import LayerIndex
from veneer.changeset.reading import LOOKED_AT, MOST_CLIMBERS, read_index
from veneer.changeset.tar import BadArchive
from veneer.changeset.unpack import unpack
from veneer.changeset.whiteout import WhiteoutStyle
from veneer.errors import Corrupt
from veneer.oci.digest import Digest
from veneer.testing.images import SampleLayer, layer_tar

pytestmark = pytest.mark.usefixtures("root_only")

LAYERS = {
    "nothing": Layer(),
    "files and directories": Layer().dir(b"a/", 0o700).file(b"./a/x", b"1").file(b"/b//c", b"2").symlink(b"s", b"a"),
    "a file twice": Layer().file(b"a", b"1").file(b"a", b"22"),
    "a directory replaced": Layer().dir(b"d").file(b"d/x", b"1").file(b"d", b"2"),
    "a file replaced by a directory": Layer().file(b"d", b"2").dir(b"d").file(b"d/x", b"1"),
    "a file on the way": Layer().file(b"d", b"2").file(b"d/x", b"1"),
    "a whiteout": Layer().file(b"d/.wh.x").file(b".wh.y"),
    "a whiteout beside its file": Layer().file(b"x", b"1").file(b".wh.x").file(b".wh.y").file(b"y", b"2"),
    "a whiteout beside its directory": Layer().dir(b"d").file(b"d/x").file(b".wh.d").file(b".wh.e").dir(b"e", 0o711),
    "opaque directories": Layer().dir(b"d", 0o711).file(b"d/x").file(b"d/.wh..wh..opq").file(b"n/.wh..wh..opq"),
    "an opaque root": Layer().file(b".wh..wh..opq").file(b"x"),
    "opaque, then a file": Layer().file(b"d/.wh..wh..opq").file(b"d", b"1"),
    "a symlink on the way": Layer().dir(b"real").symlink(b"l", b"real").file(b"l/x", b"1"),
    "a symlink that leads nowhere": Layer().symlink(b"l", b"nowhere").file(b"l/x", b"1"),
    "a hard link": Layer().file(b"a", b"1").hardlink(b"b", b"a").hardlink(b"c", b"./b"),
    "a hard link through a symlink": Layer().dir(b"r").file(b"r/f").symlink(b"l", b"r").hardlink(b"h", b"l/f"),
    "a hard link to a later file": Layer().hardlink(b"b", b"a").file(b"a", b"1"),
    "a hard link to what is below": Layer().hardlink(b"b", b"lower"),
    "aufs": Layer().dir(b".wh..wh.plnk").file(b".wh..wh.plnk/1.2", b"x").hardlink(b"a", b".wh..wh.plnk/1.2")
    .hardlink(b"b", b".wh..wh.plnk/1.2").file(b".wh..wh.aufs").dir(b".wh..wh.orph"),
    "attributes": Layer().pax({b"SCHILY.xattr.user.a": b"1", b"SCHILY.xattr.trusted.x": b"2"}).file(b"f", b"1"),
    "devices": Layer().node(b"n", b"3", (1, 3)).node(b"p", FIFO),
    "names": Layer().file(b"\xff\n\x1b").file("\u202e".encode()),
}  # fmt: skip


def content(index: LayerIndex) -> list[object]:
    return list(index)


def read(tar: bytes) -> LayerIndex:
    out = io.BytesIO()
    assert read_index(io.BytesIO(tar), out, what="layer sha256:abc") == Digest.of(tar)
    return LayerIndex.from_bytes(out.getvalue())


@pytest.mark.parametrize("name", LAYERS)
def test_reading_gives_the_index_that_unpacking_gives(name: str, workshop: Workshop) -> None:
    layer = LAYERS[name]
    assert content(read(layer.tar())) == content(workshop.unpack(layer).index)


def test_random_layers_read_as_they_unpack(tmp_path: Path) -> None:
    compared = 0
    for seed in range(150):
        random = Random(seed)
        tar = layer_tar(random_layer(random, None, 20))
        folder = tmp_path / str(seed)
        folder.mkdir()
        root, out = os.open(folder, os.O_RDONLY | os.O_DIRECTORY), io.BytesIO()
        try:
            unpack(io.BytesIO(tar), root, WhiteoutStyle.OVERLAY, index=out)
        except BadArchive:
            continue
        finally:
            os.close(root)
        assert content(read(tar)) == content(LayerIndex.from_bytes(out.getvalue())), f"seed {seed}"
        compared += 1
    assert compared > 100


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_compressed_layers_are_read_and_named_by_their_diff_id(compression: str) -> None:
    layer = SampleLayer(layer_tar({"a": b"1"}), compression)
    out = io.BytesIO()
    assert read_index(io.BytesIO(layer.blob), out) == layer.diff_id
    with pytest.raises(Corrupt, match=r"^my layer: "):
        read_index(io.BytesIO(layer.blob[:-9]), io.BytesIO(), what="my layer")


@pytest.mark.parametrize("layer", [
    Layer().file(b"../x"), Layer().file(b".wh.d/x"), Layer().file(b".wh.."), Layer().hardlink(b"a", b"a"),
    Layer().node(b"n", b"3", (0, 0)), Layer().symlink(b"s", b""), Layer().dir(b"d").hardlink(b"h", b"d"),
], ids=range(7))  # fmt: skip
def test_what_cannot_be_unpacked_is_refused_here_too(layer: Layer, workshop: Workshop) -> None:
    with pytest.raises(BadArchive) as unpacking:
        workshop.unpack(layer)
    with pytest.raises(BadArchive) as reading:
        read(layer.tar())
    assert reading.value.message == unpacking.value.message


def test_of_names_that_climb_a_few_are_kept_and_none_is_longer_than_a_name_may_be() -> None:
    layer, climbing = Layer(), list[bytes]()
    for number in range(MOST_CLIMBERS + 2):
        layer.file(b"../%d" % number)
    read_index(io.BytesIO(layer.tar()), io.BytesIO(), limits=LOOKED_AT, climbing=climbing)
    assert climbing == [b"../%d" % number for number in range(MOST_CLIMBERS)] + [b""] * 2
    long = Layer().pax({b"path": b"a/" * LOOKED_AT.name + b"../" * LOOKED_AT.name + b"x"}).file(b"x")
    with pytest.raises(BadArchive, match=r"'\.\.' component"):
        read_index(io.BytesIO(long.tar()), io.BytesIO(), limits=LOOKED_AT, climbing=[])
