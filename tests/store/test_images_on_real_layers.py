"""Images on layers that are really unpacked: what rmi says is gone is gone from the disk."""

from __future__ import annotations

from pathlib import Path

from tests.support.programs import needs, run
from veneer.oci import manifest as oci
from veneer.oci import strictjson
from veneer.oci.digest import DiffID
from veneer.oci.reference import Reference
from veneer.store import capture
from veneer.store.accounting import disk_usage
from veneer.store.image import Image
from veneer.store.layers import Layer
from veneer.store.removal import prune, remove
from veneer.store.store import Store


def _config(diff_ids: list[DiffID], created_by: str) -> bytes:
    return strictjson.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": "2024-01-01T00:00:00Z",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [str(diff_id) for diff_id in diff_ids]},
            "history": [{"created_by": f"{created_by} {number}"} for number in range(len(diff_ids))],
        }
    )


def _stacked(store: Store, folder: Path, name: str, below: Image | None, content: bytes) -> Image:
    """An image with one more layer, a file `name`, and a name of its own."""
    source = folder / name
    source.mkdir()
    (source / name).write_bytes(content)
    with store.lease("test") as lease:
        layer: Layer = capture.tree(store.layers, lease, source, below.top if below else None)
        diff_ids = [*(below.config.diff_ids if below else ()), layer.diff_id]
        image = store.images.add(lease, _config(diff_ids, name), parent=below.id if below else None, built=True)
        store.images.tag(image.id, Reference.parse(f"{name}:1"))
    return store.images.get(image.id)


def test_an_image_goes_with_its_directories_and_blobs_and_leaves_others_whole(store: Store, tmp_path: Path) -> None:
    base = _stacked(store, tmp_path, "base", None, b"b" * 1000)
    top = _stacked(store, tmp_path, "top", base, b"t" * 200)
    twin = _stacked(store, tmp_path, "twin", base, b"w" * 30)
    assert (base.size, top.size, twin.size) == (1000, 1200, 1030)
    usage = disk_usage(store)
    assert (usage.shared, usage.unique, usage.hidden) == (1000, 230, 0)

    assert top.top is not None
    directory = store.layers.directory(store.layers.get(top.top))
    manifest = oci.parse(store.blobs.read(top.manifest))
    assert isinstance(manifest, oci.Manifest)
    doomed = [
        directory,
        store.blobs.path(top.id),
        *(store.blobs.path(b) for b in (top.manifest, manifest.layers[1].digest)),
    ]
    assert all(path.exists() for path in doomed)
    assert manifest.layers[1].media_type == oci.OCI_LAYER_GZIP

    removed = remove(store, "top:1")
    assert [(removal.kind, removal.text) for removal in removed] == [
        ("untagged", "top:1"), ("deleted", top.id), ("deleted", top.top),
    ]  # fmt: skip
    assert not any(path.exists() for path in doomed)
    assert store.check(deep=True) == []
    assert prune(store, all=True, dry_run=True).bytes == 1030
    assert prune(store, all=True).bytes == 1030
    assert disk_usage(store).total == 0
    assert store.check(deep=True) == []
    assert [path.name for path in (store.root / "blobs" / "sha256").iterdir()] == []


def test_other_tools_unpack_an_image_right_out_of_the_data_root(store: Store, tmp_path: Path) -> None:
    needs("skopeo", "umoci")
    base = _stacked(store, tmp_path, "base", None, b"hello")
    top = _stacked(store, tmp_path, "top", base, b"world")
    run("skopeo", "copy", "--insecure-policy", f"oci:{store.root}:top:1", f"oci:{tmp_path / 'copy'}:copied")
    run("umoci", "raw", "unpack", "--image", f"{tmp_path / 'copy'}:copied", tmp_path / "tree")
    assert (tmp_path / "tree" / "base").read_bytes() == b"hello"
    assert (tmp_path / "tree" / "top").read_bytes() == b"world"
    raw = run("skopeo", "inspect", "--raw", f"oci:{store.root}:top:1").out.encode()
    assert raw == store.blobs.read(top.manifest)
