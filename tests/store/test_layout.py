"""The data root is an OCI image layout that skopeo and umoci read in place."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.store.shelf import Shelf, ref
from tests.support.programs import needs, run
from veneer.oci import manifest as oci
from veneer.oci.digest import BlobDigest, Digest
from veneer.oci.manifest import Descriptor, Manifest
from veneer.store.images import Image
from veneer.store.removal import remove

LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    made = Shelf(tmp_path / "root")
    (made.root / "oci-layout").write_bytes(LAYOUT)
    yield made
    made.close()


def entries(shelf: Shelf) -> list[dict[str, Any]]:
    document = json.loads((shelf.root / "index.json").read_bytes())
    assert (document["schemaVersion"], document["mediaType"]) == (2, oci.OCI_INDEX)
    manifests: list[dict[str, Any]] = document["manifests"]
    return manifests


def names(shelf: Shelf) -> dict[str, str]:
    """Familiar name -> digest."""
    return {entry["annotations"][oci.ANNOTATION_REF_NAME]: entry["digest"] for entry in entries(shelf)}


def test_every_tag_is_an_entry_under_its_familiar_and_its_full_name(shelf: Shelf) -> None:
    nginx = shelf.image("a", tags=["nginx", "reg.example:5000/team/app:1.2"])
    shelf.image("b")
    assert entries(shelf) == [
        {
            "mediaType": oci.OCI_MANIFEST,
            "digest": nginx.manifest,
            "size": shelf.blobs.size(nginx.manifest),
            "platform": {"os": "linux", "architecture": "amd64"},
            "annotations": {oci.ANNOTATION_IMAGE_NAME: full, oci.ANNOTATION_REF_NAME: familiar},
        }
        for full, familiar in [
            ("docker.io/library/nginx:latest", "nginx:latest"),
            ("reg.example:5000/team/app:1.2", "reg.example:5000/team/app:1.2"),
        ]
    ]


def test_it_follows_every_change_of_names(shelf: Shelf) -> None:
    one, two = shelf.image("a", tags=["x:1", "y:1"]), shelf.image("b")
    assert names(shelf) == {"x:1": one.manifest, "y:1": one.manifest}
    shelf.images.tag(two.id, ref("x:1"))
    assert names(shelf) == {"x:1": two.manifest, "y:1": one.manifest}
    shelf.images.untag(ref("x:1"))
    assert names(shelf) == {"y:1": one.manifest}
    remove(shelf.store, "y:1")
    assert names(shelf) == {}
    assert not shelf.layout.refresh()
    assert shelf.layout.is_current()


def test_a_crash_between_commit_and_file_is_noticed_and_mended_by_the_next_change(shelf: Shelf) -> None:
    image = shelf.image("a", tags=["x:1"])
    (shelf.root / "index.json").unlink()
    (shelf.root / ".index.json.new").write_bytes(b'{"half')
    assert not shelf.layout.is_current()
    shelf.images.tag(image.id, ref("x:2"))
    assert set(names(shelf)) == {"x:1", "x:2"}
    assert [path.name for path in shelf.root.glob(".*")] == []


def test_an_image_whose_blobs_are_not_all_here_is_left_out(shelf: Shelf) -> None:
    config = shelf.config(["a"])
    missing = Descriptor(oci.OCI_LAYER_GZIP, BlobDigest(Digest.of(b"never fetched")), 13)
    descriptor = Descriptor(oci.OCI_CONFIG, BlobDigest(Digest.of(config)), len(config))
    manifest = Manifest.build(oci.OCI_MANIFEST, descriptor, (missing,))
    with shelf.lease() as lease:
        shelf.layers(lease, ["a"])
        image = shelf.images.add(lease, config, manifest=manifest.raw)
    shelf.images.tag(image.id, ref("x"))
    assert names(shelf) == {}


def platforms(shelf: Shelf) -> tuple[Image, Image]:
    return shelf.image("a"), shelf.image("b", architecture="arm64")


def test_a_multi_platform_name_is_its_index_when_all_of_it_is_here(shelf: Shelf) -> None:
    mine, other = platforms(shelf)
    index = shelf.index(mine, other)
    shelf.images.tag(mine.id, ref("x"), index=index.digest)
    (entry,) = entries(shelf)
    assert (entry["mediaType"], entry["digest"], entry["size"]) == (oci.OCI_INDEX, index.digest, len(index.raw))
    assert "platform" not in entry


def test_a_multi_platform_name_is_the_one_platform_that_is_here(shelf: Shelf, tmp_path: Path) -> None:
    elsewhere = Shelf(tmp_path / "elsewhere")
    mine, other = shelf.image("a"), elsewhere.image("b", architecture="arm64")
    foreign = elsewhere.blobs.read(other.manifest)
    elsewhere.close()
    children = tuple(
        Descriptor(oci.OCI_MANIFEST, digest, size)
        for digest, size in [(mine.manifest, shelf.blobs.size(mine.manifest)), (other.manifest, len(foreign))]
    )
    index = oci.Index.build(oci.OCI_INDEX, children)
    shelf.put(index.raw)
    shelf.images.tag(mine.id, ref("x"), index=index.digest)
    assert names(shelf) == {"x:latest": mine.manifest}
    # The other manifest alone does not make it whole: its config and layer are still missing.
    shelf.put(foreign)
    with shelf.catalog.transaction() as connection:
        from veneer.store import manifests

        manifests.record(connection, oci.parse(foreign))
    shelf.layout.refresh()
    assert names(shelf) == {"x:latest": mine.manifest}


_TAG_MANY = """
import sys
from pathlib import Path
from tests.store.shelf import Shelf, ref
root, image_id, prefix = sys.argv[1:]
shelf = Shelf(Path(root))
image = shelf.images.find(image_id)
print("ready", flush=True)
sys.stdin.readline()
for number in range(20):
    shelf.images.tag(image.id, ref(f"{prefix}:{number}"))
shelf.close()
"""


def test_two_processes_never_write_an_old_state_over_a_new_one(shelf: Shelf) -> None:
    image = shelf.image("a")
    home = Path(__file__).parents[2]
    with contextlib.ExitStack() as stack:
        workers = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", _TAG_MANY, str(shelf.root), image.id, prefix],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=home,
                )
            )
            for prefix in ("p", "q")
        ]  # fmt: skip
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        for worker in workers:
            worker.communicate()
            assert worker.returncode == 0
    assert set(names(shelf)) == {f"{prefix}:{number}" for prefix in "pq" for number in range(20)}
    assert shelf.layout.is_current()


# ---- read by others


def test_skopeo_copies_an_image_out_of_the_store_by_name_unchanged(shelf: Shelf, tmp_path: Path) -> None:
    needs("skopeo")
    image = shelf.image("a", "b", tags=["nginx", "localhost:5000/team/app:1.2"])
    for number, name in enumerate(["nginx:latest", "localhost:5000/team/app:1.2"]):
        target = tmp_path / f"copy-{number}"
        run("skopeo", "copy", "--insecure-policy", f"oci:{shelf.root}:{name}", f"dir:{target}")
        assert (target / "manifest.json").read_bytes() == shelf.blobs.read(image.manifest)
        assert (target / image.id.hex).read_bytes() == image.config.raw
        inspected = json.loads(run("skopeo", "inspect", f"oci:{shelf.root}:{name}").out)
        assert inspected["Digest"] == image.manifest


def test_skopeo_copies_every_platform_of_an_index(shelf: Shelf, tmp_path: Path) -> None:
    needs("skopeo")
    mine, other = platforms(shelf)
    index = shelf.index(mine, other)
    shelf.images.tag(mine.id, ref("x:1"), index=index.digest)
    run("skopeo", "copy", "--insecure-policy", "--all", f"oci:{shelf.root}:x:1", f"dir:{tmp_path / 'copy'}")
    assert (tmp_path / "copy" / "manifest.json").read_bytes() == index.raw
    arm = run("skopeo", "--override-arch", "arm64", "inspect", "--config", "--raw", f"oci:{shelf.root}:x:1")
    assert arm.out.encode() == other.config.raw


def test_umoci_lists_the_names(shelf: Shelf) -> None:
    needs("umoci")
    shelf.image("a", tags=["nginx", "x:1"])
    assert run("umoci", "ls", "--layout", shelf.root).out.split() == ["nginx:latest", "x:1"]
