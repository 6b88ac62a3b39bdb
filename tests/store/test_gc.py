from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

import pytest

from veneer.config import Config
from veneer.oci.digest import ImageID
from veneer.oci.reference import Reference
from veneer.store.leases import Lease
from veneer.store.locks import hold_file, locked
from veneer.store.store import Store
from veneer.testing.images import SampleImage, Tree, directory, image, index

BASE: Tree = {"bin": directory(), "bin/tool": b"tool\n"}
OTHER: Tree = {"opt": directory(), "opt/thing": b"thing\n"}


@pytest.fixture
def store(config: Config) -> Iterator[Store]:
    with Store.open(config.replaced(storage_driver="vfs")) as opened:
        yield opened


DIES = """
import os, sys
from pathlib import Path
sys.path[:] = sys.argv[1:-1]
from veneer.config import Config
from veneer.store.store import Store
with Store.open(Config(root=Path(sys.argv[-1]))) as store, store.lease("doomed") as lease:
    store.blobs.put(lease, b"orphan")
    (lease.scratch / "junk").write_bytes(bytes(1000))
    os.kill(os.getpid(), 9)
"""


def take_in(store: Store, lease: Lease, sample: SampleImage) -> ImageID:
    with store.layers.intake(lease, sample.parsed.diff_ids) as intake:
        for position, each in enumerate(sample.layers):
            blob = store.blobs.put(lease, each.blob)
            if position in intake.missing:
                intake.feed(position, blob, each.descriptor().media_type)
        intake.commit()
    return store.images.add(
        lease, sample.config, manifest=sample.manifest.raw, manifest_type=sample.manifest.media_type
    ).id


def drop(store: Store, image_id: ImageID) -> None:
    """What removal does to the rows."""
    with store.catalog.transaction() as transaction:
        transaction.execute("DELETE FROM image WHERE id = ?", (image_id,))


def files(store: Store) -> set[str]:
    """Everything in the store but the database, locks, the reserve and the layout files."""
    found = set()
    for path in store.root.rglob("*"):
        relative = str(path.relative_to(store.root))
        if (
            not relative.startswith(("state.db", "locks", "reserve", "index.json", "oci-layout"))
            and path.name != "lock"
            and not path.is_dir()
        ):
            found.add(relative)
    return found


def test_a_store_in_use_loses_nothing(store: Store) -> None:
    with store.lease("test") as lease:
        image_id = take_in(store, lease, image(BASE, OTHER))
    before = files(store)
    assert store.collect().items == []
    assert files(store) == before
    assert store.images.get(image_id).config.raw


def test_what_an_image_needed_alone_goes_with_it(store: Store) -> None:
    one, other = image(BASE, OTHER), image(BASE)
    with store.lease("test") as lease:
        kept = take_in(store, lease, other)
        only = files(store)
        gone = take_in(store, lease, one)
    drop(store, gone)
    planned = store.collect(dry_run=True)
    assert files(store) > only
    done = store.collect()
    assert done == planned
    assert files(store) == only
    kinds = sorted(item.kind for item in done.items)
    assert kinds == ["blob", "blob", "blob", "index", "snapshot"]  # config, manifest, layer; index and tree
    assert done.bytes >= sum(len(data) for data in (one.config, one.manifest.raw, one.layers[1].blob))
    assert store.images.get(kept).config.raw == other.config
    assert store.collect().items == []


def test_everything_goes_when_nothing_is_needed(store: Store) -> None:
    with store.lease("test") as lease:
        drop(store, take_in(store, lease, image(BASE, OTHER)))
    store.collect()
    assert files(store) == set()
    for table in ("blob", "layer", "snapshot", "trash", "lease"):
        assert store.catalog.value(f"SELECT count(*) FROM {table}") == 0


def test_a_dry_run_touches_nothing(store: Store) -> None:
    with store.lease("test") as lease:
        drop(store, take_in(store, lease, image(BASE)))
    (store.root / "blobs" / "sha256" / "stray").write_bytes(b"stray")
    (store.root / "partial" / "half").write_bytes(b"half")
    before = files(store)
    assert {item.kind for item in store.collect(dry_run=True).items} == {"blob", "snapshot", "index", "partial"}
    assert files(store) == before
    assert store.catalog.value("SELECT count(*) FROM blob") == 3


def test_a_live_lease_keeps_what_it_holds(store: Store) -> None:
    sample = image(BASE, OTHER)
    with store.lease("test") as lease:
        drop(store, take_in(store, lease, sample))
        before = files(store)
        assert store.collect().items == []
        assert files(store) == before
    assert store.collect().bytes > 0


def test_a_layer_on_its_way_in_is_not_taken_for_rubbish(store: Store) -> None:
    sample = image(BASE)
    with store.lease("test") as lease, store.layers.intake(lease, sample.parsed.diff_ids) as intake:
        intake.feed(0, store.blobs.put(lease, sample.layers[0].blob))
        intake.wait(0)
        assert store.collect().items == []
        (made,) = intake.commit()
        assert store.collect().items == []
        assert (store.layers.directory(made) / "bin/tool").read_bytes() == b"tool\n"


def test_a_download_under_way_stays_and_a_dead_one_goes(store: Store) -> None:
    sample = image(BASE).layers[0]
    with (
        store.lease("test") as lease,
        store.blobs.writer(lease, expect=sample.digest, size=len(sample.blob)) as writer,
    ):
        writer.write(sample.blob[:10])
        assert store.collect().items == []
    assert [(item.kind, item.name, item.bytes) for item in store.collect().items] == [
        ("partial", sample.digest.hex, 10)
    ]
    assert list((store.root / "partial").iterdir()) == []


def test_what_a_dead_lease_left_goes(store: Store) -> None:
    died = subprocess.run([sys.executable, "-c", DIES, *sys.path, str(store.root)], check=False)
    assert died.returncode == -9
    assert store.catalog.value("SELECT count(*) FROM lease") == 1
    assert sorted((item.kind, item.bytes) for item in store.collect().items) == [("blob", 6), ("scratch", 1000)]
    assert store.catalog.value("SELECT count(*) FROM lease") == 0
    assert files(store) == set()


def test_files_nobody_knows_go(store: Store) -> None:
    strays = [
        store.root / "blobs" / "sha256" / ("0" * 64),
        store.root / "indexes" / "sha256" / ("1" * 64),
        store.root / "trash" / "left-over",
        store.root / "vfs" / ("2" * 32) / "dir" / "file",
    ]
    for path in strays:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345")
    found = {item.kind: item.bytes for item in store.collect().items}
    assert found == {"blob": 5, "index": 5, "trash": 5, "snapshot": 5}
    assert files(store) == set()


def test_an_index_keeps_the_blobs_it_names(store: Store) -> None:
    one, other = image(BASE), image(OTHER, platform="linux/arm64")
    both = index(one, other)
    with store.lease("test") as lease:
        image_id = take_in(store, lease, one)
        take_in(store, lease, other)
        blob = store.blobs.put(lease, both.raw, both.media_type)
        store.images.tag(image_id, Reference.parse("example/both:1"), index=blob)
    before = files(store)
    assert store.collect().items == []
    assert files(store) == before


def test_of_several_blobs_of_one_layer_those_stay_that_somebody_names_or_made(store: Store) -> None:
    sample = image(BASE)
    layer = sample.layers[0]
    plain, zstd = replace(layer, compression=""), replace(layer, compression="zstd")
    with store.lease("test") as lease:
        take_in(store, lease, sample)
        for each, made_by in ((plain, ""), (zstd, "veneer zstd")):
            store.blobs.put(lease, each.blob)
            store.layers.record_blob(lease, layer.diff_id, each.descriptor(), made_by)
    assert [item.name for item in store.collect().items] == [plain.digest]
    assert {each.digest for each in store.layers.blobs(layer.diff_id)} == {layer.digest, zstd.digest}


def test_a_blob_that_comes_back_while_it_is_collected_stays(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from veneer.store import gc

    with store.lease("test") as lease:
        digest = store.blobs.put(lease, b"back again")
    rows_gone, put = Event(), Event()

    def pause(name: str) -> None:
        if name == "gc-rows-gone":
            rows_gone.set()
            assert put.wait(60)

    monkeypatch.setattr(gc, "crashpoint", pause)

    def put_again() -> None:
        assert rows_gone.wait(60)
        with Store.open(store.config) as other, other.lease("again") as lease:
            other.blobs.put(lease, b"back again")
            put.set()
            done.wait(60)

    done = Event()
    thread = Thread(target=put_again)
    thread.start()
    store.collect()
    assert store.blobs.read(digest) == b"back again"
    done.set()
    thread.join(60)


def test_a_blob_swept_between_its_name_and_its_row_is_linked_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from veneer.store import blobs

    def sweep(name: str) -> None:
        if name == "blob-linked":
            assert [item.kind for item in store.collect().items] == ["blob"]

    monkeypatch.setattr(blobs, "crashpoint", sweep)
    with store.lease("test") as lease:
        digest = store.blobs.put(lease, b"swept")
        assert store.blobs.read(digest) == b"swept"
    assert Path(store.blobs.path(digest)).stat().st_nlink == 1


def test_a_lease_being_born_is_not_taken_for_a_dead_one(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from veneer.store import leases

    taken: list[str] = []

    def refuse(key: str) -> None:
        taken.append(key)
        raise InterruptedError  # rather than wait for ourselves

    def hold(path: Path) -> int:
        # Here the folder has no held lock yet; a collection would find its own lock taken, and wait.
        with pytest.raises(InterruptedError), locked(store.root / "locks", [leases.INGEST_KEY], waiting=refuse):
            pass
        return hold_file(path)

    monkeypatch.setattr(leases, "hold_file", hold)
    with store.lease("new"):
        assert taken == [leases.INGEST_KEY]
