"""Containerd roots that somebody has made up, databases and all: nothing outside is read, and what is wrong is said."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.cli.conftest import Veneer
from tests.distribution.foreign.test_bolt import SIZE, database, inline, leaf
from tests.distribution.foreign.test_foreign_roots import sample
from veneer.distribution.foreign.root import ForeignDamaged, require
from veneer.oci.digest import Digest
from veneer.oci.manifest import OCI_INDEX
from veneer.testing.images import SampleImage, image, index

pytestmark = pytest.mark.usefixtures("root_only")

Tree = Mapping[str, "bytes | Tree"]
SECRET = "what nobody was to read"
ONE, OTHER = sample(), image({"other": b"x"})
BLOBS = "io.containerd.content.v1.content/blobs/sha256"
METADATA = "io.containerd.metadata.v1.bolt/meta.db"


def bucket(tree: Tree) -> list[tuple[bytes, bytes, int]]:
    return [
        (key.encode(), value, 0) if isinstance(value, bytes) else (key.encode(), inline(*bucket(value)), 1)
        for key, value in tree.items()
    ]


def written(path: Path, tree: Tree) -> None:
    items = bucket(tree)
    over = len(leaf(2, *items)) // SIZE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(database(leaf(2, *items, over=over)))


def target(digest: str, media_type: str) -> Tree:
    return {"target": {"digest": digest.encode(), "mediatype": media_type.encode()}}


def root(folder: Path, names: dict[str, SampleImage], **further: Tree) -> Path:
    """A root whose namespace `one` has these images; `further` goes beside them."""
    (folder / BLOBS).mkdir(parents=True)
    for one in names.values():
        for digest, data in {**one.blobs(), one.digest: one.manifest.raw}.items():
            (folder / BLOBS / digest.hex).write_bytes(data)
    images = {name: target(one.digest, one.manifest.media_type) for name, one in names.items()}
    written(folder / METADATA, {"v1": {"one": {"images": images, **further}}})
    return folder


@pytest.fixture
def veneer(tmp_path: Path) -> Veneer:
    return Veneer(tmp_path / "root")


def test_a_root_made_here_is_read(tmp_path: Path, veneer: Veneer) -> None:
    theirs = root(tmp_path / "theirs", {"docker.io/old/app:1": ONE})
    assert veneer("import-store", str(theirs)).text == "Imported image: old/app:1\n"


@pytest.mark.parametrize("name", ["../A b", "\x1b[2J", "a/UPPER:1", "x" * 500, "a@sha256:12"])
def test_a_name_that_is_none_is_told_and_its_image_shown(tmp_path: Path, name: str) -> None:
    there = Veneer(root(tmp_path / "theirs", {name: ONE, "docker.io/other:1": OTHER}))
    listed = there("images", "--no-trunc", "--format", "{{.Tag}} {{.ID}}")
    assert sorted(listed.text.splitlines()) == sorted([f"1 {OTHER.image_id}", f"<none> {ONE.image_id}"])
    assert listed.err.startswith("Warning: left out: ")
    assert "\x1b" not in listed.err


def test_directories_are_those_of_snapshotters_that_are_known(tmp_path: Path, veneer: Veneer) -> None:
    """Not of one whose name leads elsewhere; and a number is all that a snapshot adds to a path."""
    (tmp_path / "secret").mkdir()
    chains = ONE.parsed.chain_ids
    known: Tree = {chain: {"name": f"one/{n}/{chain}".encode()} for n, chain in enumerate(chains)}
    theirs = root(
        tmp_path / "theirs", {"docker.io/old/app:1": ONE}, snapshots={"../../secret": known, "overlayfs": known}
    )
    stored: Tree = {
        f"one/{n}/{chain}": {"id": b"\xff" * 8 + b"\x7f", "kind": b"\3", "size": b"\xff" * 20}
        for n, chain in enumerate(chains)
    }
    written(theirs / "io.containerd.snapshotter.v1.overlayfs/metadata.db", {"v1": {"snapshots": stored}})
    [told] = json.loads(Veneer(theirs)("layer", "inspect", chains[0]).text)
    assert told["Directory"] == str(theirs / f"io.containerd.snapshotter.v1.overlayfs/snapshots/{(1 << 63) - 1}/fs")
    assert told["Copies"] == []
    assert "belongs to no layer" in Veneer(theirs)("layer", "which", str(tmp_path / "secret")).err
    for blob in ONE.layers:
        (theirs / BLOBS / blob.digest.hex).unlink()
    assert "is missing" in veneer("import-store", str(theirs)).err


def link(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.parents[len(path.parts) - path.parts.index("theirs") - 1].parent / "secret")


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def huge(path: Path) -> None:
    with path.open("wb") as out:
        out.truncate(1 << 40)


def says(path: Path) -> None:
    path.write_text("{}")


TAMPERED: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "a config behind a link": (ONE.image_id.hex, link, "is a link"),
    "a config without end": (ONE.image_id.hex, huge, "more than the 4194304 bytes"),
    "a manifest that is a fifo": (ONE.digest.hex, fifo, "is no file"),
    "another manifest": (ONE.digest.hex, says,
                         "its bytes have digest"),
    "no manifest": (ONE.digest.hex, Path.unlink, "is missing"),
}  # fmt: skip


@pytest.mark.parametrize("case", TAMPERED)
def test_what_is_damaged_is_told_and_the_rest_is_shown(tmp_path: Path, case: str) -> None:
    name, tamper, message = TAMPERED[case]
    (tmp_path / "secret").write_text(SECRET)
    theirs = root(tmp_path / "theirs", {"docker.io/old/app:1": ONE, "docker.io/other:1": OTHER})
    tamper(theirs / BLOBS / name)
    listed = Veneer(theirs)("images", "--no-trunc", "--format", "{{.ID}}")
    assert listed.text.split() == [OTHER.image_id]
    [warning] = listed.err.splitlines()
    assert message in warning
    assert SECRET not in listed.text + listed.err


def test_a_layer_behind_a_link_is_not_taken_in(tmp_path: Path, veneer: Veneer) -> None:
    (tmp_path / "secret").write_bytes(ONE.layers[0].blob)
    theirs = root(tmp_path / "theirs", {"docker.io/old/app:1": ONE})
    link(theirs / BLOBS / ONE.layers[0].digest.hex)
    assert "is a link" in veneer("import-store", str(theirs)).err
    assert veneer("images", "-q").text == ""


def test_indexes_in_indexes_come_to_an_end(tmp_path: Path) -> None:
    theirs = root(tmp_path / "theirs", {"docker.io/other:1": OTHER})
    document = index(OTHER)
    for _ in range(6):
        (theirs / BLOBS / document.digest.hex).write_bytes(document.raw)
        document = document.build(OCI_INDEX, (document.descriptor,) * 3)
    (theirs / BLOBS / document.digest.hex).write_bytes(document.raw)
    images = {"docker.io/deep:1": target(document.digest, OCI_INDEX), "docker.io/no:1": target("sha256:x", OCI_INDEX)}
    written(theirs / METADATA, {"v1": {"one": {"images": images}}})
    found = require(theirs)
    assert found.images == ()
    assert any("indexes nested deeper than" in fault for fault in found.faults)
    assert any("invalid digest: 'sha256:x'" in fault for fault in found.faults)


def test_an_image_with_more_layers_than_its_config_knows_is_told(tmp_path: Path) -> None:
    manifest = json.loads(ONE.manifest.raw)
    manifest["layers"].append(manifest["layers"][0])
    raw = json.dumps(manifest).encode()
    theirs = root(tmp_path / "theirs", {"docker.io/old/app:1": ONE})
    (theirs / BLOBS / Digest.of(raw).hex).write_bytes(raw)
    images = {"docker.io/old/app:1": target(Digest.of(raw), ONE.manifest.media_type)}
    written(theirs / METADATA, {"v1": {"one": {"images": images}}})
    assert "has 3 layers, its config 2" in require(theirs).faults[0]


@pytest.mark.parametrize("tamper", [link, fifo, huge])
def test_a_database_that_is_none_is_refused(tmp_path: Path, tamper: Callable[[Path], None]) -> None:
    (tmp_path / "secret").write_text(SECRET)
    theirs = root(tmp_path / "theirs", {"docker.io/old/app:1": ONE})
    tamper(theirs / METADATA)
    with pytest.raises(ForeignDamaged):
        require(theirs)
