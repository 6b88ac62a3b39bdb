from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from veneer.config import Config
from veneer.drivers.driver import load, new_snapshot_id
from veneer.oci.reference import Reference
from veneer.store import check, indexes
from veneer.store.containers import Container, new_id
from veneer.store.durability import Session
from veneer.store.layers import Layer
from veneer.store.store import Store
from veneer.testing.images import directory, fifo, file, hardlink, image, symlink

pytestmark = pytest.mark.usefixtures("root_only")

SAMPLE = image(
    {"bin": directory(), "bin/tool": b"tool\n", "bin/alias": hardlink("bin/tool"), "gone": b"", "deep/er": b"low\n"},
    {".wh.gone": b"", ".wh.never": b"", "etc": directory(0o711), "etc/link": symlink("name"),
     "etc/name": file(b"n\n", 0o600), "etc/pipe": fifo()},
)  # fmt: skip


@pytest.fixture
def driver() -> str:
    return "vfs"


@pytest.fixture
def store(driver: str, config: Config) -> Iterator[Store]:
    """A store with one image in it."""
    with Store.open(config.replaced(storage_driver=driver, unpack_workers=1)) as opened:
        support = load(driver, opened.root).probe()
        if not support.usable:
            pytest.skip(support.reason)
        with opened.lease("test") as lease:
            with opened.layers.intake(lease, SAMPLE.parsed.diff_ids) as intake:
                for position in intake.missing:
                    each = SAMPLE.layers[position]
                    intake.feed(position, opened.blobs.put(lease, each.blob), each.descriptor().media_type)
                intake.commit()
            manifest = SAMPLE.manifest
            opened.images.add(lease, SAMPLE.config, manifest=manifest.raw, manifest_type=manifest.media_type)
        opened.images.tag(SAMPLE.image_id, Reference.parse("check/me:1"))
        yield opened


def top(store: Store) -> Layer:
    return store.layers.get(SAMPLE.parsed.chain_ids[-1])


def tree(store: Store) -> Path:
    """The topmost layer's files."""
    return store.layers.directory(top(store))


def codes(store: Store, *, deep: bool) -> set[str]:
    return {finding.code for finding in store.check(deep=deep)}


@pytest.mark.parametrize("driver", ["overlay2", "vfs"])
def test_a_whole_store_has_nothing_to_report(store: Store) -> None:
    assert store.check() == []
    assert store.check(deep=True) == []


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)


def make_container(store: Store) -> Container:
    """A container of the sample, with nothing written."""
    with store.lease("test") as lease:
        return store.containers.create(
            lease, id=new_id(), name="one", image=SAMPLE.image_id, image_name="one", top=SAMPLE.parsed.chain_ids[-1],
            document={"Config": {}},
        )  # fmt: skip


LAYER = SAMPLE.layers[1]
QUICK: dict[str, Callable[[Store], object]] = {
    "blob-missing": lambda store: store.blobs.path(LAYER.digest).unlink(),
    "blob-size": lambda store: os.truncate(store.blobs.path(LAYER.digest), 5),
    "snapshot-missing": lambda store: store.driver.remove(top(store).snapshot),
    "index-missing": lambda store: indexes.path(store, LAYER.diff_id).unlink(),
    "index-damaged": lambda store: os.truncate(indexes.path(store, LAYER.diff_id), 20),
    "index-json": lambda store: (store.root / "index.json").write_text("{}"),
    "stray-blob": lambda store: (store.root / "blobs" / "sha256" / ("0" * 64)).write_text("stray"),
    "stray-index": lambda store: (store.root / "indexes" / "sha256" / ("0" * 64)).write_text("stray"),
    "stray-snapshot": lambda store: store.driver.create(new_snapshot_id(), ()),
    "stray-cache-mount": lambda store: (store.root / "cache-mounts" / "abc" / "data").mkdir(parents=True),
    "stray-container": lambda store: (store.root / "containers" / ("0" * 64)).mkdir(parents=True),
    "stray-volume": lambda store: (store.root / "volumes" / "abc" / "_data").mkdir(parents=True),
    "container-missing": lambda store: store.containers.folder(make_container(store).id).rmdir(),
    "volume-missing": lambda store: store.volumes.directory(store.volumes.create("abc").name).rmdir(),
    "stray-scratch": lambda store: (store.root / "ingest" / "dead").mkdir(),
    "layer-mixed": lambda store: store.catalog.connection.execute(
        "INSERT INTO layer_copy VALUES (?, 'overlay2', ?, 1)", (top(store).chain_id, top(store).snapshot)
    ),
    "migration-cut-off": lambda store: store.catalog.connection.execute(
        "INSERT INTO setting VALUES ('migrating', 'erofs')"
    ),
    "row-dangling": lambda store: store.catalog.connection.execute(
        "PRAGMA foreign_keys = OFF; UPDATE image SET top = 'sha256:0'; PRAGMA foreign_keys = ON"
    ),
}


@pytest.mark.parametrize("code", QUICK)
def test_a_quick_check_sees_it(store: Store, code: str) -> None:
    QUICK[code](store)
    assert codes(store, deep=False) == {code}


@pytest.mark.parametrize("which", ["rw", "init"])
def test_a_quick_check_sees_that_a_containers_layer_is_gone(store: Store, which: str) -> None:
    container = make_container(store)
    snapshot = getattr(container, which)
    store.driver.remove(snapshot)
    (finding,) = store.check()
    assert (finding.code, finding.subject, finding.damage) == ("snapshot-missing", snapshot, True)
    assert container.id in finding.fact


@pytest.mark.parametrize("damaged", ["config", "manifest", "layer"])
def test_a_deep_check_sees_a_flipped_bit_in_any_blob(store: Store, damaged: str) -> None:
    digest = {"config": SAMPLE.image_id, "manifest": SAMPLE.digest, "layer": LAYER.digest}[damaged]
    flip(store.blobs.path(digest))
    assert codes(store, deep=False) == set()
    (finding,) = store.check(deep=True)
    assert (finding.code, finding.subject, finding.damage) == ("blob-digest", digest, True)


def instead(path: Path, make: Callable[[Path], object]) -> None:
    """Something else in the place of what is there."""
    path.unlink(missing_ok=True)
    make(path)


TREE: dict[str, tuple[Callable[[Path], object], str]] = {
    "content": (lambda tree: (tree / "etc/name").write_bytes(b"m\n"), "/etc/name: has another content"),
    "power cut": (lambda tree: os.truncate(tree / "etc/name", 0), "/etc/name: has 0 bytes instead of 2"),
    "gone": (lambda tree: (tree / "etc/name").unlink(), "/etc/name: is missing"),
    "mode": (lambda tree: (tree / "etc").chmod(0o777), "/etc: has mode 0777 instead of 0711"),
    "owner": (lambda tree: os.chown(tree / "etc/pipe", 1, 2), "/etc/pipe: belongs to 1:2 instead of 0:0"),
    "kind": (lambda tree: instead(tree / "etc/pipe", Path.touch), "/etc/pipe: is of another kind"),
    "link": (lambda tree: instead(tree / "etc/link", lambda path: path.symlink_to("x")), "/etc/link: points elsewhere"),
    "undeleted": (lambda tree: instead(tree / "gone", Path.touch), "/gone: is there instead of being deleted"),
}


@pytest.mark.parametrize("driver", ["overlay2", "vfs"])
@pytest.mark.parametrize("damage", TREE)
def test_a_deep_check_compares_a_layers_files_with_its_index(store: Store, damage: str) -> None:
    do, fact = TREE[damage]
    do(tree(store))
    (finding,) = store.check(deep=True)
    assert (finding.code, finding.subject, finding.damage) == ("snapshot-differs", top(store).snapshot, True)
    assert finding.fact.startswith(fact)


@pytest.mark.parametrize("driver", ["overlay2"])
def test_a_deep_check_sees_what_was_added_to_a_layer_and_a_deletion_that_is_gone(store: Store) -> None:
    (tree(store) / "etc" / "planted").write_bytes(b"evil\n")
    (tree(store) / "gone").unlink()
    assert [finding.fact for finding in store.check(deep=True)] == [
        "/etc/planted: is not in the layer",
        "/gone: is missing",
    ]


@pytest.mark.parametrize("driver", ["overlay2", "vfs"])
def test_a_layer_that_may_not_have_reached_the_disk_is_reported_but_is_no_damage(store: Store) -> None:
    store.layers.__dict__["session"] = Session("another boot", 1)
    findings = store.check(deep=True)
    assert {finding.code for finding in findings} == {"snapshot-untrusted"}
    assert not any(finding.damage for finding in findings)


def test_a_damaged_database_is_the_only_thing_reported(store: Store) -> None:
    store.catalog.connection.wal_checkpoint(mode=3)
    store.close()
    with (store.root / "state.db").open("r+b") as database:
        database.seek(4096)
        database.write(b"\xff" * 4096)
    with Store.open(store.config) as again:
        assert codes(again, deep=True) == {"catalog-damaged"}


def test_every_code_has_its_meaning_and_every_meaning_a_test() -> None:
    tested = {*QUICK, "blob-digest", "snapshot-differs", "snapshot-untrusted", "catalog-damaged"}
    tested.add("layer-lost")  # in test_drafts.py, with the layers that can be
    assert set(check.CODES) == tested
