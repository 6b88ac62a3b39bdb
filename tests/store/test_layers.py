from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

import pytest

from veneer.changeset.entry import Kind
from veneer.config import Config
from veneer.drivers.mount import mounted
from veneer.errors import Corrupt
from veneer.oci.digest import DiffID, Digest, chain_ids
from veneer.progress import Report
from veneer.store import capture, indexes
from veneer.store.durability import Session
from veneer.store.intake import NotFed
from veneer.store.lasting import recover
from veneer.store.layers import Layer, LayerLost, NoSuchLayer
from veneer.store.leases import Lease
from veneer.store.store import Store
from veneer.testing.images import SampleLayer, Tree, directory, file, hardlink, layer_tar, symlink

BASE: Tree = {"bin": directory(), "bin/tool": b"tool\n", "etc": directory(0o700), "etc/name": b"base\n"}
ABOVE: Tree = {"etc": directory(0o700), "etc/extra": b"extra\n", "etc/.wh.name": b""}
ASIDE: Tree = {"opt": directory(), "opt/thing": file(b"thing\n", 0o755), "opt/link": symlink("thing")}

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


@pytest.fixture
def overlay(config: Config) -> Iterator[Store]:
    with Store.open(config.replaced(storage_driver="overlay2")) as opened:
        from veneer.drivers.driver import load

        support = load("overlay2", opened.root).probe()
        if not support.usable:
            pytest.skip(support.reason)
        yield opened


def test_a_driver_that_is_none_is_refused_though_the_layers_go_by_their_own(overlay: Store) -> None:
    from veneer.drivers.driver import NoSuchDriver

    assert overlay.working("overlay2").name == "overlay2"
    with (
        Store.open(overlay.config.replaced(storage_driver="btrfs")) as wrong,
        pytest.raises(NoSuchDriver, match="unknown storage driver 'btrfs'"),
    ):
        wrong.working("overlay2")


def layer(tree: Tree, compression: str = "gzip") -> SampleLayer:
    return SampleLayer(layer_tar(tree), compression)


def take_in(store: Store, lease: Lease, *samples: SampleLayer) -> list[Layer]:
    """Put the blobs and take in the layers, as a load does."""
    with store.layers.intake(lease, [sample.diff_id for sample in samples]) as intake:
        for position in intake.missing:
            sample = samples[position]
            intake.feed(position, store.blobs.put(lease, sample.blob), sample.descriptor().media_type)
        return intake.commit()


def seen(store: Store, layers: Sequence[Layer], target: Path) -> dict[str, bytes]:
    """The regular files of the file system that the layers make, read through a real mount."""
    target.mkdir(exist_ok=True)
    with mounted(store.layers.mounts(layers[-1].chain_id), target):
        return {
            str(p.relative_to(target)): p.read_bytes() for p in target.rglob("*") if p.is_file() and not p.is_symlink()
        }


def test_layers_taken_in_are_a_file_system(store: Store, tmp_path: Path) -> None:
    samples = [layer(BASE), layer(ABOVE, "zstd"), layer(ASIDE, "")]
    with store.lease("test") as lease:
        layers = take_in(store, lease, *samples)
        assert seen(store, layers, tmp_path / "view") == {
            "bin/tool": b"tool\n", "etc/extra": b"extra\n", "opt/thing": b"thing\n",
        }  # fmt: skip
    assert [each.chain_id for each in layers] == chain_ids([sample.diff_id for sample in samples])
    assert [each.parent for each in layers] == [None, layers[0].chain_id, layers[1].chain_id]
    assert [each.size for each in layers] == [10, 6, 6 + len("thing")]
    assert store.layers.stack(layers[2].chain_id) == layers
    assert store.layers.find(layers[1].chain_id) == store.layers.get(layers[1].chain_id) == layers[1]
    assert store.layers.list() == layers


def test_the_blob_a_layer_came_from_is_remembered(store: Store) -> None:
    sample = layer(BASE)
    with store.lease("test") as lease:
        take_in(store, lease, sample)
        plain = replace(sample, compression="")
        store.blobs.put(lease, plain.blob)
        store.layers.record_blob(lease, sample.diff_id, plain.descriptor())
    assert store.layers.blobs(sample.diff_id) == [sample.descriptor(), plain.descriptor()]
    assert store.layers.diff_ids_of_blobs(sample.digest[:20]) == [sample.diff_id]


def test_a_layer_is_unpacked_while_its_blob_is_written(store: Store) -> None:
    sample = layer(BASE)
    with store.lease("test") as lease, store.layers.intake(lease, [sample.diff_id]) as intake:
        assert intake.missing == [0]
        with store.blobs.writer(lease, expect=sample.digest, size=len(sample.blob)) as writer:
            intake.feed(0, writer, sample.descriptor().media_type)
            for start in range(0, len(sample.blob), 50):
                writer.write(sample.blob[start : start + 50])
            writer.commit()
            intake.wait(0)
        (made,) = intake.commit()
    assert (store.layers.directory(made) / "bin/tool").read_bytes() == b"tool\n"
    assert store.layers.blobs(sample.diff_id) == [sample.descriptor()]


def test_what_is_here_already_is_not_asked_for_again(store: Store) -> None:
    with store.lease("test") as lease:
        first = take_in(store, lease, layer(BASE), layer(ABOVE))
        with store.layers.intake(lease, [layer(BASE).diff_id, layer(ABOVE).diff_id]) as intake:
            assert intake.missing == []
            assert intake.commit() == first
        with store.layers.intake(lease, [layer(BASE).diff_id, layer(ASIDE).diff_id]) as intake:
            assert intake.missing == [1]


def test_one_layer_on_two_bases_is_stored_once(overlay: Store, tmp_path: Path) -> None:
    with overlay.lease("test") as lease:
        one = take_in(overlay, lease, layer(BASE), layer(ASIDE))
        other = take_in(overlay, lease, layer({"srv": directory(), "srv/x": b"x"}), layer(ASIDE))
        assert one[1].chain_id != other[1].chain_id
        assert one[1].snapshot == other[1].snapshot
        assert seen(overlay, other, tmp_path / "view") == {"srv/x": b"x", "opt/thing": b"thing\n"}
        assert {each.chain_id for each in overlay.layers.by_diff_id(layer(ASIDE).diff_id)} == {
            one[1].chain_id, other[1].chain_id,
        }  # fmt: skip


def test_a_shared_layer_stays_though_its_last_image_goes_while_another_is_coming_in(
    overlay: Store, tmp_path: Path
) -> None:
    other = layer({"srv": directory(), "srv/x": b"x"})
    with overlay.lease("first") as lease:
        take_in(overlay, lease, layer(BASE), layer(ASIDE))
    with (
        overlay.lease("second") as lease,
        overlay.layers.intake(lease, [other.diff_id, layer(ASIDE).diff_id]) as intake,
    ):
        assert intake.missing == [0]
        overlay.collect()
        intake.feed(0, overlay.blobs.put(lease, other.blob))
        layers = intake.commit()
        assert seen(overlay, layers, tmp_path / "view") == {"srv/x": b"x", "opt/thing": b"thing\n"}


def test_a_layer_that_leans_on_what_is_below_gets_its_own_files_on_every_base(overlay: Store) -> None:
    leaning = layer({"etc/motd": b"hello\n"})  # etc is not mentioned: it looks as it does below
    with overlay.lease("test") as lease:
        one = take_in(overlay, lease, layer(BASE), leaning)
        other = take_in(overlay, lease, layer({"etc": directory(0o711)}), leaning)
    assert one[1].snapshot != other[1].snapshot
    modes = [(overlay.layers.directory(each) / "etc").stat().st_mode & 0o777 for each in (one[1], other[1])]
    assert modes == [0o700, 0o711]


def test_a_hard_link_into_a_lower_layer_is_settled(store: Store, tmp_path: Path) -> None:
    linking = layer({"bin": directory(), "bin/alias": hardlink("bin/tool")})
    with store.lease("test") as lease:
        layers = take_in(store, lease, layer(BASE), linking)
        assert seen(store, layers, tmp_path / "view")["bin/alias"] == b"tool\n"


@pytest.mark.parametrize("twice", [ASIDE, {"etc/motd": b"hello\n"}], ids=["standing alone", "leaning"])
def test_an_image_may_have_one_layer_twice(store: Store, tmp_path: Path, twice: Tree) -> None:
    samples = [layer(BASE), layer(twice), layer(ABOVE), layer(twice)]
    with store.lease("test") as lease:
        with store.layers.intake(lease, [sample.diff_id for sample in samples]) as intake:
            assert intake.missing == [0, 1, 2]
            for position in reversed(intake.missing):
                intake.feed(position, store.blobs.put(lease, samples[position].blob))
            layers = intake.commit()
        view = seen(store, layers, tmp_path / "view")
    assert view["etc/extra"] == b"extra\n"
    assert len({each.chain_id for each in layers}) == 4


def test_a_wrong_diff_id_is_refused_and_leaves_nothing(store: Store) -> None:
    wrong = DiffID(Digest.of(b"something else"))
    with store.lease("test") as lease:
        blob = store.blobs.put(lease, layer(BASE).blob)
        with pytest.raises(Corrupt, match="layer 1 of 1"), store.layers.intake(lease, [wrong]) as intake:
            intake.feed(0, blob)
            intake.commit()
    assert store.layers.list() == []
    assert list(store.driver.snapshots()) == []


def test_a_damaged_archive_names_its_layer_and_leaves_nothing(store: Store) -> None:
    sample = layer(BASE)
    with store.lease("test") as lease:
        blob = store.blobs.put(lease, sample.blob[:-30])
        with (
            pytest.raises(Corrupt, match="layer 2 of 2"),
            store.layers.intake(lease, [layer(ASIDE).diff_id, sample.diff_id]) as intake,
        ):
            intake.feed(1, blob)
            intake.feed(0, store.blobs.put(lease, layer(ASIDE).blob))
            intake.commit()
        assert store.layers.list() == []
        assert list(store.driver.snapshots()) == []
        assert len(take_in(store, lease, layer(ASIDE), sample)) == 2


def test_a_position_can_be_fed_again_after_it_failed(store: Store) -> None:
    sample = layer(BASE)
    with store.lease("test") as lease, store.layers.intake(lease, [sample.diff_id]) as intake:
        intake.feed(0, store.blobs.put(lease, sample.blob[:-30]))
        with pytest.raises(Corrupt):
            intake.wait(0)
        intake.feed(0, store.blobs.put(lease, sample.blob))
        (made,) = intake.commit()
    assert (store.layers.directory(made) / "bin/tool").read_bytes() == b"tool\n"


def test_an_intake_left_without_commit_leaves_nothing(store: Store) -> None:
    with store.lease("test") as lease, store.layers.intake(lease, [layer(BASE).diff_id]) as intake:
        intake.feed(0, store.blobs.put(lease, layer(BASE).blob))
    assert store.layers.list() == []
    assert list(store.driver.snapshots()) == []


def test_a_layer_that_was_never_fed_is_asked_for(store: Store) -> None:
    with store.lease("test") as lease, store.layers.intake(lease, [layer(BASE).diff_id]) as intake:
        with pytest.raises(NotFed, match=layer(BASE).diff_id):
            intake.wait(0)
        with pytest.raises(NotFed):
            intake.commit()


def test_an_image_without_layers_is_no_trouble(store: Store) -> None:
    with store.lease("test") as lease, store.layers.intake(lease, []) as intake:
        assert intake.missing == []
        assert intake.commit() == []


def test_two_at_once_unpack_a_layer_once(config: Config, store: Store) -> None:
    waiting = Event()
    results: list[tuple[list[int], list[Layer]]] = []

    def progress(report: Report) -> None:
        assert report.status == "Waiting"
        waiting.set()

    def second() -> None:
        with (
            Store.open(store.config) as other,
            other.lease("second") as lease,
            other.layers.intake(lease, [layer(BASE).diff_id], progress=progress) as intake,
        ):
            results.append((intake.missing, intake.commit()))

    thread = Thread(target=second)
    with store.lease("first") as lease, store.layers.intake(lease, [layer(BASE).diff_id]) as intake:
        thread.start()
        assert waiting.wait(60)
        intake.feed(0, store.blobs.put(lease, layer(BASE).blob))
        layers = intake.commit()
    thread.join(60)
    assert results == [([], layers)]


def test_a_directory_becomes_a_layer_and_the_same_one_every_time(store: Store, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc" / "made").write_bytes(b"made here\n")
    (tree / "etc" / "link").symlink_to("made")
    with store.lease("test") as lease:
        (base,) = take_in(store, lease, layer(BASE))
        made = capture.tree(store.layers, lease, tree, base.chain_id)
        again = capture.tree(store.layers, lease, tree, base.chain_id)
        assert made == again
        assert made.parent == base.chain_id
        assert seen(store, [base, made], tmp_path / "view")["etc/made"] == b"made here\n"
        (blob,) = store.layers.blobs(made.diff_id)
        assert blob.media_type == "application/vnd.oci.image.layer.v1.tar+gzip"


def test_the_index_tells_what_is_in_a_layer(store: Store) -> None:
    with store.lease("test") as lease:
        take_in(store, lease, layer(BASE), layer(ABOVE))
    with store.layers.index(layer(ABOVE).diff_id) as index:
        assert [(entry.path, entry.kind) for entry in index if entry.path.startswith(b"etc/")] == [
            (b"etc/extra", Kind.REGULAR), (b"etc/name", Kind.WHITEOUT),
        ]  # fmt: skip


@pytest.mark.parametrize("damage", ["gone", "short"])
def test_a_lost_index_is_made_anew_from_the_blob(store: Store, damage: str) -> None:
    with store.lease("test") as lease:
        take_in(store, lease, layer(BASE))
    path = indexes.path(store, layer(BASE).diff_id)
    before = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(before[:40])
    with store.layers.index(layer(BASE).diff_id) as index:
        assert index.find(b"bin/tool") is not None
    assert path.read_bytes() == before


def test_an_unknown_layer_is_an_error_that_names_it(store: Store) -> None:
    chain_id = chain_ids([layer(BASE).diff_id])[0]
    assert store.layers.find(chain_id) is None
    for look in (store.layers.get, store.layers.stack, store.layers.mounts):
        with pytest.raises(NoSuchLayer, match=chain_id):
            look(chain_id)
    with pytest.raises(NoSuchLayer):
        store.layers.index(layer(BASE).diff_id)


def test_a_path_on_disk_leads_back_to_its_layer(store: Store, tmp_path: Path) -> None:
    with store.lease("test") as lease:
        layers = take_in(store, lease, layer(BASE), layer(ASIDE))
    folder = store.layers.directory(layers[1])
    assert store.layers.owner_of(folder / "opt" / "thing") == layers[1]
    assert store.layers.owner_of(folder) == layers[1]
    assert store.layers.owner_of(tmp_path) is None
    assert store.layers.owner_of(store.root / "blobs" / "sha256") is None


def test_another_driver_takes_new_stacks_and_goes_on_with_old_ones_where_they_are(store: Store) -> None:
    begun = store.driver.name
    with store.lease("test") as lease:
        take_in(store, lease, layer(BASE))
    other = "vfs" if begun == "overlay2" else "overlay2"
    with Store.open(store.config.replaced(storage_driver=other)) as again, again.lease("test") as lease:
        above = take_in(again, lease, layer(BASE), layer(ABOVE))
        aside = take_in(again, lease, layer(ASIDE), layer(ABOVE))
        assert [each.driver for each in above] == [begun, begun]
        assert [each.driver for each in aside] == [other, other]
    with Store.open(store.config.replaced(storage_driver="")) as again:
        assert again.driver.name == begun, "once asked for is not for ever"
        assert again.check(deep=True) == []


def after_a_reboot(store: Store) -> Store:
    """The same store in another session: what was not known to be on the disk is not trusted."""
    again = Store.open(store.config)
    again.layers.__dict__["session"] = Session("another boot", 1)
    return again


def test_a_layer_that_may_not_have_reached_the_disk_is_unpacked_anew_before_it_is_served(
    store: Store, tmp_path: Path
) -> None:
    with store.lease("test") as lease:
        layers = take_in(store, lease, layer(BASE), layer(ABOVE))
        assert [each.durable for each in layers] == [False, False]
        lost = store.layers.directory(layers[0])
    os.truncate(lost / "bin/tool", 0)  # the power cut
    with after_a_reboot(store) as again, again.lease("view"):
        assert again.layers.list() == layers
        assert seen(again, layers, tmp_path / "view") == {"bin/tool": b"tool\n", "etc/extra": b"extra\n"}
        assert again.layers.untrusted() <= {each.snapshot for each in layers}
        assert recover(again.layers) == 0
        again.collect()


def test_recovery_unpacks_everything_doubtful_at_once(store: Store) -> None:
    with store.lease("test") as lease:
        take_in(store, lease, layer(BASE), layer(ABOVE))
        take_in(store, lease, layer(BASE), layer(ASIDE))
        with after_a_reboot(store) as again:
            assert again.recover() == 3
            assert again.recover() == 0


def test_a_doubtful_layer_whose_blob_is_gone_is_never_served(store: Store) -> None:
    with store.lease("test") as lease:
        (made,) = take_in(store, lease, layer(BASE))
        store.blobs.path(layer(BASE).digest).unlink()
        with after_a_reboot(store) as again:
            with pytest.raises(LayerLost, match=made.diff_id):
                again.layers.mounts(made.chain_id)
            assert again.layers.get(made.chain_id) == made


def test_flushing_marks_layers_as_durable(store: Store) -> None:
    with store.lease("test") as lease:
        (made,) = take_in(store, lease, layer(BASE))
    store.layers.prove_durable()
    assert not store.layers.get(made.chain_id).durable  # too young: the kernel is still writing it back
    store.layers.prove_durable(all=True)
    assert store.layers.get(made.chain_id).durable
    with after_a_reboot(store) as again:
        assert again.layers.untrusted() == set()


def test_in_sync_mode_layers_are_durable_at_once(config: Config) -> None:
    with Store.open(config.replaced(durability="sync", storage_driver="vfs")) as store, store.lease("test") as lease:
        assert take_in(store, lease, layer(BASE))[0].durable


def test_without_durability_nothing_is_ever_called_durable(config: Config) -> None:
    with Store.open(config.replaced(durability="none", storage_driver="vfs")) as store, store.lease("test") as lease:
        (made,) = take_in(store, lease, layer(BASE))
        store.layers.prove_durable(all=True)
        assert not store.layers.get(made.chain_id).durable
