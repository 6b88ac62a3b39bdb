"""The data root of a real containerd, at work and stopped: listed, explained, imported, not touched."""

from __future__ import annotations

import functools
import io
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Veneer
from tests.distribution.foreign.test_foreign_roots import contents, paths, sample, state
from tests.support.peers import Containerd
from tests.support.programs import needs, run
from veneer.changeset.pack import pack
from veneer.changeset.whiteout import WhiteoutStyle
from veneer.distribution.foreign.root import ForeignDamaged, require
from veneer.engine.engine import open_engine
from veneer.testing.images import SampleImage, SampleLayer, directory, file, image, oci_archive

pytestmark = pytest.mark.usefixtures("root_only")

ONE, OTHER = sample(), image({"etc": directory(), "etc/name": file(b"another")})
MANY = image({"many": directory()})
BOTH = (image({"for": file(b"arm64")}, platform="linux/arm64"), image({"for": file(b"amd64")}))
NAMES = [f"docker.io/many/names:{number}" for number in range(40)]
SNAPSHOTS = "io.containerd.snapshotter.v1.{}/snapshots/{}"
BLOBS = "io.containerd.content.v1.content/blobs/sha256"


@functools.cache
def packed() -> tuple[SampleImage, bytes]:
    """An image whose layers were packed by veneer, and its archive."""
    layers = []
    for name in ("first", "second"):
        out = io.BytesIO()
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, name).write_text(name)
            tree = os.open(folder, os.O_RDONLY)
            pack(tree, WhiteoutStyle.OVERLAY, out)
            os.close(tree)
        layers.append(SampleLayer(out.getvalue()))
    one = image(*layers)
    return one, oci_archive(("docker.io/made/here:1", one))


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containerd]:
    """A containerd with several namespaces: layers unpacked by two snapshotters, layers that are not, a container."""
    needs("containerd", "ctr")
    folder = tmp_path_factory.mktemp("containerd")
    (folder / "one.tar").write_bytes(oci_archive(("docker.io/old/app:1", ONE)))
    (folder / "packed.tar").write_bytes(packed()[1])
    (folder / "others.tar").write_bytes(
        oci_archive(("docker.io/old/app:1", OTHER), ("docker.io/old/both:1", BOTH), *((name, MANY) for name in NAMES))
    )
    containerd = Containerd(folder)
    try:
        containerd("k8s.io", "images", "import", folder / "one.tar")
        containerd("k8s.io", "images", "import", folder / "packed.tar")
        for name in ("one.tar", "packed.tar"):
            containerd("default", "images", "import", "--snapshotter", "native", folder / name)
        containerd("moby", "images", "import", "--no-unpack", "--all-platforms", folder / "others.tar")
        containerd("k8s.io", "containers", "create", "docker.io/old/app:1", "box")
        containerd("default", "snapshots", "prepare", "work")
        yield containerd
    finally:
        containerd.stop()


@pytest.fixture
def stopped(node: Containerd, tmp_path: Path) -> Path:
    """A copy of its root, to tamper with."""
    return copied(node.root, tmp_path)


def copied(root: Path, folder: Path) -> Path:
    run("cp", "--archive", root, folder / "theirs")
    return folder / "theirs"


@pytest.fixture
def veneer(tmp_path: Path) -> Veneer:
    return Veneer(tmp_path / "root")


def test_a_root_is_listed_and_explained_while_containerd_runs(node: Containerd) -> None:
    there = Veneer(node.root)
    rows = [json.loads(line) for line in there("layer", "ls", "--no-trunc", "--format", "json").text.splitlines()]
    drivers = {row["DiffID"]: row["Driver"] for row in rows}
    assert drivers == {layer.diff_id: "overlayfs" for layer in (*ONE.layers, *packed()[0].layers)} | {
        layer.diff_id: "content" for one in (OTHER, MANY, *BOTH) for layer in one.layers
    }
    listed = there("images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}")
    told = dict(line.split() for line in listed.text.splitlines())
    # What an index stands for here has the name; what is for other machines has none.
    assert {told.pop(name.removeprefix("docker.io/")) for name in NAMES} == {MANY.image_id}
    assert told.pop("<none>:<none>") in (OTHER.image_id, BOTH[0].image_id)
    assert told == {"old/app:1": ONE.image_id, "old/both:1": BOTH[1].image_id,
                    "made/here:1": packed()[0].image_id}  # fmt: skip
    [warning] = listed.err.splitlines()
    assert (
        f"the name old/app:1 of image {OTHER.image_id} in namespace moby, for it is that of {ONE.image_id}" in warning
    )
    history = there("history", "--layers", "--no-trunc", "old/app:1").text.splitlines()
    assert history[1].split()[-3:] == [
        ONE.layers[1].diff_id, ONE.layers[1].digest, str(node.root / SNAPSHOTS.format("overlayfs", "2/fs"))
    ]  # fmt: skip
    assert there("history", "--quiet", "--no-trunc", "old/both:1").text.split() == [BOTH[1].image_id]


def test_a_path_is_traced_to_its_layer_in_every_namespace(node: Containerd) -> None:
    there = Veneer(node.root)
    for place in (SNAPSHOTS.format("overlayfs", "2/fs"), SNAPSHOTS.format("native", "2")):
        found = there("layer", "which", "--no-trunc", "--format", "{{.DiffID}} {{.Blob}} {{.Images}}",
                      str(node.root / place / "etc/name"))  # fmt: skip
        assert found.text.split() == [ONE.layers[1].diff_id, ONE.layers[1].digest, "old/app:1"]
    [told] = json.loads(there("layer", "inspect", ONE.layers[0].diff_id).text)
    assert [told["Directory"], *told["Copies"]] == [
        str(node.root / SNAPSHOTS.format(*each)) for each in (("overlayfs", "1/fs"), ("native", "1"))
    ]
    assert told["Blob"] == str(node.root / BLOBS / ONE.layers[0].digest.hex)
    box = there("layer", "which", str(node.root / SNAPSHOTS.format("overlayfs", "5/fs")))
    assert "belongs to no image's layer: container box writes there" in box.err
    work = there("layer", "which", str(node.root / SNAPSHOTS.format("overlayfs", "6/fs")))
    assert "belongs to no image's layer: snapshot work of namespace default" in work.err


def test_images_are_imported_with_the_bytes_they_came_in(node: Containerd, veneer: Veneer, tmp_path: Path) -> None:
    wanted = ("old/app:1", "old/both:1", OTHER.image_id)
    done = veneer("import-store", str(node.root), *wanted)
    assert done.text.splitlines() == [
        "Imported image: old/app:1", "Imported image: old/both:1", f"Imported image ID: {OTHER.image_id}"
    ]  # fmt: skip
    assert veneer("system", "check", "--deep").code == 0
    with open_engine(tmp_path / "root") as engine:
        for name, one in (("old/app:1", ONE), ("old/both:1", BOTH[1])):
            kept = engine.images.get(name)
            assert (kept.id, kept.manifest) == (one.image_id, one.digest)
    (tmp_path / "m").mkdir()
    assert veneer("mount", "old/app:1", str(tmp_path / "m")).code == 0
    assert ((tmp_path / "m/etc/name").read_text(), os.listdir(tmp_path / "m/keep")) == ("two", [])
    assert veneer("unmount", str(tmp_path / "m")).code == 0


def test_nothing_of_it_is_touched(stopped: Path, veneer: Veneer) -> None:
    held, everything = contents(stopped), paths(stopped)
    for name in everything:
        os.utime(name, ns=(0, os.lstat(name).st_mtime_ns), follow_symlinks=False)
    before = state(everything)
    for words in (["layer", "ls"], ["history", "old/app:1"]):
        assert Veneer(stopped)(*words).code == 0
    assert veneer("import-store", str(stopped), "old/app:1").code == 0
    assert state(everything) == before
    assert contents(stopped) == held


def test_a_root_is_read_while_containerd_writes(node: Containerd) -> None:
    """Each answer is that of one moment: a name that is made and removed again, and 40 that stay."""
    for number in range(4):
        node("moby", "images", "tag", NAMES[0], f"docker.io/come/and:{number}")
        seen = {str(each) for one in require(node.root).images for each in one.references}
        assert set(NAMES) | {f"docker.io/come/and:{number}"} <= seen
        node("moby", "images", "rm", f"docker.io/come/and:{number}")


def test_tars_that_were_discarded_are_packed_anew_or_said_to_be_lost(
    stopped: Path, veneer: Veneer, tmp_path: Path
) -> None:
    """As Kubernetes' nodes have it with `discard_unpacked_layers`."""
    for layer in (*packed()[0].layers, *ONE.layers):
        (stopped / BLOBS / layer.digest.hex).unlink()
    theirs = Veneer(stopped)
    assert (theirs("history", "old/app:1").code, theirs("history", "old/app:1").err.count("left out")) == (0, 1)
    lost = veneer("import-store", str(stopped), "old/app:1")
    assert (lost.code, lost.text) == (1, "")
    assert f"the bytes of layer {ONE.layers[0].diff_id} cannot be made" in lost.err
    assert veneer("import-store", str(stopped), "made/here:1").text == "Imported image: made/here:1\n"
    # The other snapshotter has whole trees, which are compared.
    (stopped / "io.containerd.snapshotter.v1.overlayfs/metadata.db").unlink()
    veneer = Veneer(tmp_path / "second")
    assert veneer("import-store", str(stopped), "made/here:1").text == "Imported image: made/here:1\n"
    assert veneer("system", "check", "--deep").code == 0


def test_what_is_damaged_is_told_and_the_rest_is_shown(stopped: Path, veneer: Veneer) -> None:
    (stopped / BLOBS / ONE.layers[1].digest.hex).write_bytes(b"something else")
    assert "invalid diffID for layer 1" in veneer("import-store", str(stopped), "old/app:1").err
    (stopped / BLOBS / OTHER.image_id.hex).write_bytes(b"{}")
    (stopped / BLOBS / BOTH[1].digest.hex).unlink()
    listed = Veneer(stopped)("images", "--no-trunc", "--format", "{{.ID}}")
    assert set(listed.text.split()) == {each.image_id for each in (ONE, MANY, BOTH[0], packed()[0])}
    assert f"{OTHER.image_id.hex}: its bytes have digest" in listed.err
    (stopped / "io.containerd.snapshotter.v1.overlayfs/metadata.db").write_bytes(b"nothing of the kind")
    listed = Veneer(stopped)("layer", "ls", "--format", "{{.Driver}}")
    assert (listed.text.split().count("native"), "overlayfs" in listed.text) == (4, False)
    assert "metadata.db is no bolt database" in listed.err
    (stopped / "io.containerd.metadata.v1.bolt/meta.db").write_bytes(b"")
    with pytest.raises(ForeignDamaged, match="is no bolt database"):
        require(stopped)


def test_a_root_of_docker_that_has_its_images_in_containerd_says_so(stopped: Path, tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    for name in ("containers", "volumes", "image/overlay2/layerdb"):
        (docker / name).mkdir(parents=True)
    (docker / "engine-id").write_text("x")
    there = Veneer(docker)
    assert "keeps its images in containerd's root: /var/lib/containerd" in there("images").err
    assert "hint: docker with the containerd image store" in there("history", "old/app:1").err
    # One that dockerd has started for itself lies within.
    (docker / "containerd").mkdir()
    stopped.rename(docker / "containerd/daemon")
    assert there("history", "--quiet", "--no-trunc", "old/app:1").text.split() == [ONE.image_id, "<missing>"]
