"""Layers made here: written once, published in one step, served without a blob."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.built import make_image, make_layer, writing
from veneer.changeset.index import LayerIndex
from veneer.changeset.pack import Packed
from veneer.config import Config
from veneer.drivers.mount import mounted
from veneer.oci.digest import ChainID, Digest
from veneer.oci.manifest import OCI_LAYER, Manifest
from veneer.store import indexes, manifests
from veneer.store.durability import Session
from veneer.store.layers import LayerLost
from veneer.store.store import Store

pytestmark = pytest.mark.usefixtures("root_only")


@pytest.fixture(params=["overlay2", "vfs"])
def store(request: pytest.FixtureRequest, config: Config) -> Iterator[Store]:
    """A store for each driver."""
    from veneer.drivers.driver import load

    config.root.parent.mkdir(exist_ok=True)
    with Store.open(config.replaced(storage_driver=request.param)) as opened:
        support = load(request.param, opened.root).probe()
        if not support.usable:
            pytest.skip(support.reason)
        yield opened


def after_a_reboot(store: Store) -> Store:
    """The same store in another session: what was not known to be on the disk is not trusted."""
    again = Store.open(store.config)
    again.layers.__dict__["session"] = Session("another boot", 1)
    return again


def document(store: Store, digest: object) -> Manifest:
    found = manifests.read(store.catalog, store.blobs, digest)  # type: ignore[arg-type]
    assert isinstance(found, Manifest)
    return found


def snapshots_on_disk(store: Store) -> set[str]:
    return set(store.driver.snapshots())


# ---- publishing


def test_a_published_draft_is_a_layer_with_an_index_and_no_blob(store: Store, tmp_path: Path) -> None:
    with store.lease("test") as lease:
        base = make_layer(store, lease, writing(etc_name=b"base\n"))
        above = make_layer(store, lease, writing(etc_more=b"more\n"), base.chain_id)
        with mounted(store.layers.mounts(above.chain_id), tmp_path):
            assert sorted(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()) == [b"base\n", b"more\n"]
    assert store.layers.get(above.chain_id) == above
    assert (above.parent, above.size, above.durable) == (base.chain_id, 5, False)
    assert store.layers.blobs(above.diff_id) == []
    with store.layers.index(above.diff_id) as index:
        assert [entry.path for entry in index] == [b"etc", b"etc/more"]


def test_what_a_mounted_draft_deletes_is_deleted(store: Store, tmp_path: Path) -> None:
    with store.lease("test") as lease:
        base = make_layer(store, lease, writing(etc_name=b"base\n", etc_other=b"other\n"))
        with store.layers.draft(lease, base.chain_id) as draft:
            with mounted(draft.mounts(), tmp_path):
                (tmp_path / "etc" / "name").unlink()
            layer = draft.publish(draft.measure(), standalone=False)
        with mounted(store.layers.mounts(layer.chain_id), tmp_path):
            assert os.listdir(tmp_path / "etc") == ["other"]


def test_the_same_draft_on_both_drivers_has_the_same_diff_id(config: Config, tmp_path: Path) -> None:
    def fill(directory: Path) -> None:
        (directory / "d").mkdir()
        (directory / "d" / "f").write_bytes(b"x")
        for path in (directory / "d" / "f", directory / "d"):
            os.utime(path, ns=(10**18, 10**18))

    found = set()
    for driver in ("overlay2", "vfs"):
        changed = config.replaced(storage_driver=driver, root=tmp_path / driver)
        with Store.open(changed) as store, store.lease("test") as lease:
            found.add(make_layer(store, lease, fill).diff_id)
    assert len(found) == 1


def test_a_draft_that_is_left_leaves_nothing(store: Store) -> None:
    with store.lease("test") as lease:
        with pytest.raises(ZeroDivisionError), store.layers.draft(lease, None) as draft:
            writing(f=b"x")(draft.directory)
            draft.measure()
            raise ZeroDivisionError
        assert snapshots_on_disk(store) == set()
        assert os.listdir(lease.scratch) == ["lock"]
    assert store.collect().items == []


def test_of_two_drafts_with_the_same_content_the_first_wins_and_both_end_well(store: Store) -> None:
    def fill(directory: Path) -> None:
        writing(f=b"x")(directory)
        os.utime(directory / "f", ns=(10**18, 10**18))

    with store.lease("one") as one, store.lease("two") as two:
        with store.layers.draft(one, None) as first, store.layers.draft(two, None) as second:
            for draft in (first, second):
                fill(draft.directory)
            won = first.publish(first.measure(), standalone=True)
            assert second.publish(second.measure(), standalone=True) == won
        assert snapshots_on_disk(store) == {won.snapshot}
    assert store.check(deep=True) == []


def test_a_draft_takes_the_place_of_a_layer_that_cannot_be_trusted(store: Store) -> None:
    def fill(directory: Path) -> None:
        writing(f=b"x")(directory)
        os.utime(directory / "f", ns=(10**18, 10**18))

    with store.lease("test") as lease:
        lost = make_layer(store, lease, fill)
        make_image(store, lease, [lost], tag="built:1")
    with after_a_reboot(store) as again:
        with again.lease("test") as lease:
            made = make_layer(again, lease, fill)
        assert (made.chain_id, made.snapshot == lost.snapshot) == (lost.chain_id, False)
        assert again.layers.ensure(made.chain_id) == [made]
        again.collect()
        assert snapshots_on_disk(again) == {made.snapshot}


@pytest.mark.parametrize("store", ["overlay2"], indirect=True)  # vfs writes each layer anew
def test_files_that_took_nothing_from_below_lie_there_once(store: Store) -> None:
    def fill(directory: Path) -> None:
        writing(f=b"x")(directory)
        os.utime(directory / "f", ns=(10**18, 10**18))

    with store.lease("test") as lease:
        one = make_layer(store, lease, writing(a=b"a"))
        other = make_layer(store, lease, writing(b=b"b"))
        assert store.layers.share(lease, one.diff_id, other.chain_id) is None  # a draft says whether it may be
        above = make_layer(store, lease, fill, one.chain_id, standalone=True)
        again = make_layer(store, lease, fill, other.chain_id, standalone=True)
        assert (again.parent, again.snapshot) == (other.chain_id, above.snapshot)
        shared = store.layers.share(lease, above.diff_id, None)
        assert shared is not None and (shared.parent, shared.snapshot) == (None, above.snapshot)
        assert snapshots_on_disk(store) == {one.snapshot, other.snapshot, above.snapshot}
    assert store.check(deep=True) == []


@pytest.mark.parametrize("store", ["overlay2"], indirect=True)  # vfs copies the parent when the draft begins
def test_a_draft_may_be_published_on_another_parent(store: Store) -> None:
    with store.lease("test") as lease:
        first = make_layer(store, lease, writing(a=b"a"))
        second = make_layer(store, lease, writing(b=b"b"), first.chain_id)
        with store.layers.draft(lease, first.chain_id) as draft:
            writing(c=b"c")(draft.directory)
            layer = draft.publish(draft.measure(), second.chain_id, standalone=True)
    assert [each.chain_id for each in store.layers.stack(layer.chain_id)] == [
        first.chain_id, second.chain_id, layer.chain_id,
    ]  # fmt: skip


def test_what_lies_below_a_draft_can_be_looked_at(store: Store) -> None:
    with store.lease("test") as lease:
        base = make_layer(store, lease, writing(etc_name=b"base\n"))
        above = make_layer(store, lease, writing(etc_more=b"more\n"), base.chain_id)
        with store.layers.draft(lease, above.chain_id) as draft:
            with draft.merged() as root:
                assert sorted(os.listdir(root)) == ["etc"]
                assert sorted(os.listdir(f"/proc/self/fd/{root}/etc")) == ["more", "name"]
            with draft.below() as below:
                names = [sorted(os.listdir(f"/proc/self/fd/{fd}/etc")) for fd in below]
        assert names == ([["more"], ["name"]] if store.driver.any_order else [["more", "name"]])


def test_a_draft_is_kept_from_collection_while_it_is_written(store: Store) -> None:
    with store.lease("test") as lease, store.layers.draft(lease, None) as draft:
        writing(f=b"x")(draft.directory)
        store.collect()
        assert (draft.directory / "f").read_bytes() == b"x"
        layer = draft.publish(draft.measure(), standalone=True)
        store.collect()
        assert (store.layers.directory(layer) / "f").read_bytes() == b"x"
    store.collect()
    assert snapshots_on_disk(store) == set()


# ---- images without blobs


def test_an_image_of_layers_without_blobs_names_their_plain_tars(store: Store) -> None:
    with store.lease("test") as lease:
        layer = make_layer(store, lease, writing(f=b"x"))
        image = make_image(store, lease, [layer], tag="built:1")
    (named,) = document(store, image.manifest).layers
    assert (named.media_type, str(named.digest)) == (OCI_LAYER, str(layer.diff_id))
    out = io.BytesIO()
    store.layers.tar(layer).write_to(out)
    assert (len(out.getvalue()), Digest.of(out.getvalue())) == (named.size, layer.diff_id)
    assert store.images.layout.render().count(b"built") == 0  # nobody could read it there
    assert store.check(deep=True) == []
    store.collect()
    assert store.images.find("built:1") == image


def test_a_layer_on_the_disk_outlives_a_power_cut_and_another_is_lost_in_words(store: Store) -> None:
    with store.lease("test") as lease:
        settled = make_layer(store, lease, writing(f=b"x"))
        store.layers.settle_built()
        lost = make_layer(store, lease, writing(g=b"y"), settled.chain_id)
        kept = make_image(store, lease, [settled], tag="kept:1")
        gone = make_image(store, lease, [settled, lost], parent=kept.id, tag="gone:1")
        store.builds.record(kept.id, None, {"step": 1})
        key = store.builds.record(gone.id, kept.id, {"step": 2})
    assert [step.image for step in store.builds.find(kept.id, key)] == [gone.id]
    with after_a_reboot(store) as again:
        assert again.layers.ensure(settled.chain_id) == [store.layers.get(settled.chain_id)]
        with pytest.raises(LayerLost, match="gone:1"):
            again.layers.mounts(lost.chain_id)
        assert list(again.builds.find(kept.id, key)) == []
        found = {finding.code: finding for finding in again.check(deep=True)}
        assert found.keys() == {"layer-lost"}
        assert found["layer-lost"].damage
        assert "gone:1" in found["layer-lost"].fact
        assert again.recover() == 0


def test_collection_drops_what_a_power_cut_took_from_the_cache_and_keeps_what_has_a_name(store: Store) -> None:
    with store.lease("test") as lease:
        first = make_layer(store, lease, writing(f=b"x"))
        second = make_layer(store, lease, writing(g=b"y"), first.chain_id)
        one = make_image(store, lease, [first])
        make_image(store, lease, [first, second], parent=one.id)
        tagged = make_image(store, lease, [first], comment="tagged", tag="tagged:1")
    with after_a_reboot(store) as again:
        again.collect(dry_run=True)
        assert len(again.images.list(all=True)) == 3
        again.collect()
        assert [image.id for image in again.images.list(all=True)] == [tagged.id]
        assert snapshots_on_disk(again) == {first.snapshot}


def test_nothing_is_settled_where_durability_is_none(config: Config) -> None:
    with Store.open(config.replaced(durability="none")) as store, store.lease("test") as lease:
        layer = make_layer(store, lease, writing(f=b"x"))
        store.layers.settle_built()
        assert not store.layers.get(layer.chain_id).durable


def test_a_lost_index_is_made_again_from_the_files(store: Store) -> None:
    with store.lease("test") as lease:
        base = make_layer(store, lease, writing(etc_name=b"base\n"))
        layer = make_layer(store, lease, writing(etc_more=b"more\n"), base.chain_id)
    path = indexes.path(store, layer.diff_id)
    before = path.read_bytes()
    path.unlink()
    with store.layers.index(layer.diff_id) as index:
        assert [entry.path for entry in index] == [b"etc", b"etc/more"]
    assert path.read_bytes() == before


def test_a_draft_says_what_it_measured(store: Store) -> None:
    with store.lease("test") as lease, store.layers.draft(lease, None) as draft:
        writing(d_f=b"12345")(draft.directory)
        packed = draft.measure()
        assert isinstance(packed, Packed)
        layer = draft.publish(packed, standalone=True)
    row = store.catalog.row("SELECT diff_id, tar_size, size, entries FROM snapshot WHERE id = ?", (layer.snapshot,))
    assert row == (packed.diff_id, packed.tar_size, 5, 2)
    assert layer.chain_id == ChainID(packed.diff_id)
    with LayerIndex.open(indexes.path(store, layer.diff_id)) as index:
        assert len(index) == 2
