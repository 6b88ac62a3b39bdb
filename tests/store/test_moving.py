"""`system migrate`: layers and containers go to another storage driver, and nothing is lost on the way."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.built import make_image, make_layer, writing
from tests.support.programs import run
from veneer.config import Config
from veneer.drivers.driver import NoSuchDriver, load
from veneer.drivers.mount import mounted
from veneer.oci.digest import ChainID, Digest, ImageID
from veneer.oci.reference import Reference
from veneer.progress import Report
from veneer.store.catalog import StoreFull
from veneer.store.containers import Container, new_id
from veneer.store.copies import copied, tar_size
from veneer.store.gc import Extent
from veneer.store.images import Image
from veneer.store.layers import lowers
from veneer.store.moving import AlreadyMoving, Moved, NotEnoughRoom, migrate
from veneer.store.moving_plan import MOVING, CutOff, Held, cut_off, held
from veneer.store.store import DriverGone, Store
from veneer.testing.images import SampleImage, directory, file, hardlink, image, symlink

pytestmark = pytest.mark.usefixtures("root_only")

PULLED = image(
    {"bin": directory(), "bin/tool": file(b"tool\n" * 99, 0o4755), "bin/alias": hardlink("bin/tool"), "gone/a": b"a"},
    {"gone/.wh..wh..opq": b"", "gone/b": b"b", "etc": directory(0o711), "etc/link": symlink("../bin/tool")},
    {"implied/deep": b"deep", "bin/.wh.alias": b""},
)
ANOTHER = image(PULLED.layers[0], {"opt/thing": b"tool\n" * 99})
IMAGE = ImageID(Digest.of(b"an image's config"))


@pytest.fixture
def begun() -> str:
    """The driver that a store is begun with."""
    return "overlay2"


BEGUN = ("overlay2", "vfs", "aufs")
FROM_EACH = pytest.mark.parametrize("begun", BEGUN)
FROM_EACH_TO_EACH = [
    (one, other) for one in BEGUN for other in ("overlay2", "vfs", "erofs", "aufs", "fuse-overlayfs") if one != other
]


@pytest.fixture
def config(config: Config) -> Config:
    """Nothing here is about power cuts, and waiting for a disk takes long."""
    return config.replaced(durability="none", unpack_workers=1)


@pytest.fixture
def store(begun: str, config: Config) -> Iterator[Store]:
    """A store with two pulled images that share a layer, and one built on the first: its layer has no blob."""
    config.root.parent.mkdir(exist_ok=True)
    with Store.open(config.replaced(storage_driver=begun)) as opened:
        support = load(begun, opened.root).probe()
        if not support.usable:
            pytest.skip(support.reason)
        for sample, name in ((PULLED, "pulled:1"), (ANOTHER, "another:1")):
            load_image(opened, sample, name)
        with opened.lease("test") as lease:
            below = opened.layers.stack(PULLED.parsed.chain_ids[-1])
            made = make_layer(opened, lease, writing(app_main=b"main", app_data=b"d" * 5000), below[-1].chain_id)
            make_image(opened, lease, [*below, made], tag="built:1")
    # From here on nobody asks for a driver.
    with Store.open(config) as opened:
        yield opened


def load_image(store: Store, sample: SampleImage, name: str) -> None:
    with store.lease("test") as lease:
        with store.layers.intake(lease, sample.parsed.diff_ids) as intake:
            for position, each in enumerate(sample.layers):
                blob = store.blobs.put(lease, each.blob)
                if position in intake.missing:
                    intake.feed(position, blob, each.descriptor().media_type)
            intake.commit()
        manifest = sample.manifest
        store.images.add(lease, sample.config, manifest=manifest.raw, manifest_type=manifest.media_type)
    store.images.tag(sample.image_id, Reference.parse(name).tagged())


def never(folder: Path) -> bool:
    return False


def to(store: Store, driver: str, **options: Any) -> Moved:
    if not load(driver, store.root).probe().usable:
        pytest.skip(f"{driver} does not work here")
    return migrate(store, driver, is_running=options.pop("is_running", never), **options)


def create(store: Store, name: str, top: ChainID | None) -> Container:
    with store.lease("test") as lease:
        return store.containers.create(
            lease, id=new_id(), name=name, image=IMAGE, image_name="base", top=top, document={"Config": {}}
        )


def tree(mounts: Any, target: Path) -> dict[str, tuple[object, ...]]:
    """What is there to be seen at a mount: kinds, modes, owners, contents, targets."""
    target.mkdir(exist_ok=True)
    found: dict[str, tuple[object, ...]] = {}
    with mounted(mounts, target):
        for path in sorted(target.rglob("*")):
            status = path.lstat()
            what: object = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
            found[str(path.relative_to(target))] = (status.st_mode, status.st_uid, status.st_gid, what)
    return found


def trees(store: Store, target: Path) -> dict[str, dict[str, tuple[object, ...]]]:
    return {each.tags[0].familiar: tree(store.layers.mounts(each.top), target) for each in store.images.list()}


def drivers(store: Store) -> set[str]:
    return {layer.driver for layer in store.layers.list()}


def whole(store: Store) -> bool:
    return store.check(deep=True) == []


def named(store: Store, name: str) -> Image:
    return store.images.find(name)


def top_of(store: Store, name: str) -> ChainID:
    top = named(store, name).top
    assert top is not None
    return top


@pytest.mark.parametrize(("begun", "other"), FROM_EACH_TO_EACH)
def test_images_are_the_same_with_another_driver(store: Store, begun: str, other: str, tmp_path: Path) -> None:
    before, ids = trees(store, tmp_path / "view"), [layer.chain_id for layer in store.layers.list()]
    moved = to(store, other)
    assert (moved.to, moved.layers, moved.left) == (other, len(ids), [])
    assert drivers(store) == {other}
    assert sorted(layer.chain_id for layer in store.layers.list()) == sorted(ids)
    assert trees(store, tmp_path / "view") == before
    assert [each.driver for each in held(store)] == [other]
    assert list(store.driver_named(begun).snapshots()) == []
    assert whole(store)
    assert store.driver.name == other, "new layers go there, too"


def test_there_and_back_everything_is_as_it_was(config: Config, tmp_path: Path) -> None:
    with Store.open(config.replaced(storage_driver="overlay2")) as store:
        load_image(store, PULLED, "pulled:1")
        container = create(store, "one", PULLED.parsed.chain_ids[-1])
        before = trees(store, tmp_path / "view")
    with Store.open(config) as store:
        to(store, "erofs")
        to(store, "overlay2")
        assert trees(store, tmp_path / "view") == before
        assert store.containers.get("one").driver == container.driver
        assert [each.driver for each in held(store)] == ["overlay2"]
        assert whole(store)


@FROM_EACH
def test_what_a_stopped_container_wrote_comes_along(store: Store, tmp_path: Path) -> None:
    container = create(store, "one", top_of(store, "built:1"))
    view = tmp_path / "view"
    view.mkdir()
    with mounted(store.containers.mounts(container), view):
        (view / "new").write_bytes(b"new")
        (view / "app/data").unlink()
        (view / "etc/link").unlink()
        (view / "etc/link").mkdir(mode=0o1777)
        os.chown(view / "gone/b", 7, 8)
    before = tree(store.containers.mounts(container), view)
    moved = to(store, "erofs")
    assert moved.containers == ["one"]
    container = store.containers.get("one")
    assert container.driver == "erofs"
    assert tree(store.containers.mounts(container), view) == before
    assert whole(store)
    store.collect()
    assert tree(store.containers.mounts(container), view) == before


def test_a_running_container_stays_and_is_named(store: Store, begun: str, tmp_path: Path) -> None:
    container = create(store, "busy", top_of(store, "built:1"))
    alone = create(store, "alone", None)
    before = tree(store.containers.mounts(container), tmp_path / "view")
    moved = to(store, "erofs", is_running=lambda folder: folder.name == container.id)
    assert [(left.kind, left.name, left.reason) for left in moved.left] == [("container", "busy", "it is running")]
    assert "veneer stop busy" in moved.left[0].hint
    assert store.containers.get("busy").driver == begun
    assert store.containers.get(alone.id).driver == "erofs"
    assert drivers(store) == {"erofs"}, "its image is served by the new driver all the same"
    store.collect()
    assert copied(store.layers, top_of(store, "built:1"), begun), "and its own stays as long as it is needed"
    assert tree(store.containers.mounts(container), tmp_path / "view") == before
    assert whole(store)
    store.containers.remove(container.id)
    store.collect(extent=Extent.ROWS)
    assert [each.driver for each in held(store)] == ["erofs"]


def test_a_container_with_what_no_layer_can_hold_stays_and_is_named(store: Store, begun: str, tmp_path: Path) -> None:
    odd, fine = (create(store, name, top_of(store, "built:1")) for name in ("odd", "fine"))
    (tmp_path / "view").mkdir()
    with mounted(store.containers.mounts(odd), tmp_path / "view") as view:
        (view / ".wh.bin").touch()
    before = tree(store.containers.mounts(odd), tmp_path / "view")
    moved = to(store, "vfs")
    assert [(left.kind, left.name) for left in moved.left] == [("container", "odd")]
    assert ".wh.bin: a layer cannot hold a name" in moved.left[0].reason
    assert "rename it" in moved.left[0].hint
    assert (store.containers.get("odd").driver, store.containers.get(fine.id).driver) == (begun, "vfs")
    assert tree(store.containers.mounts(odd), tmp_path / "view") == before
    assert whole(store)


def test_a_container_on_a_layer_that_is_gone_is_rescued_and_keeps_nobody_from_moving(
    store: Store, begun: str, tmp_path: Path
) -> None:
    """From a blob; on a layer that was built here and has none, it stays."""
    view = tmp_path / "view"
    view.mkdir()
    for name, top in (("one", top_of(store, "pulled:1")), ("two", top_of(store, "pulled:1")),
                      ("lost", top_of(store, "built:1"))):  # fmt: skip
        with mounted(store.containers.mounts(create(store, name, top)), view):
            (view / "new").write_text(name)
    built = store.layers.get(top_of(store, "built:1"))
    to(store, "erofs", is_running=lambda folder: True)
    for layer in (copied(store.layers, top_of(store, "built:1"), begun) or [])[1:]:
        shutil.rmtree(store.layers.directory(layer))
    store.driver_named("erofs").remove(store.layers.get(built.chain_id).snapshot)
    moved = to(store, "erofs")
    assert moved.containers == ["two", "one"]
    assert [(left.kind, left.name) for left in moved.left] == [("container", "lost")]
    assert tree(store.containers.mounts(store.containers.get("one")), view)["new"][3] == b"one"


def test_what_comes_in_meanwhile_does_not_give_the_store_its_old_driver_back(store: Store, begun: str) -> None:
    with store.catalog.transaction() as transaction:  # as after kill -9 of a migration that had just begun
        transaction.executemany("INSERT OR REPLACE INTO setting VALUES (?, ?)",
                                [("driver", "vfs"), (MOVING, "vfs")])  # fmt: skip
    create(store, "one", top_of(store, "pulled:1"))
    with store.lease("test") as lease:
        make_layer(store, lease, writing(more=b"more"), top_of(store, "pulled:1"))
    assert store.catalog.setting("driver") == "vfs"
    assert cut_off(store) == CutOff("vfs", len(store.layers.list()), 1, [begun])
    to(store, "vfs")
    assert cut_off(store) is None


def test_what_stayed_comes_along_the_next_time(store: Store) -> None:
    create(store, "busy", top_of(store, "built:1"))
    to(store, "erofs", is_running=lambda folder: True)
    moved = to(store, "erofs")
    assert (moved.layers, moved.containers, moved.left) == (0, ["busy"], [])
    assert [each.driver for each in held(store)] == ["erofs"]
    assert whole(store)


def test_kept_files_make_the_way_back_cheap(store: Store, begun: str) -> None:
    count = len(store.layers.list())
    to(store, "erofs", keep=True)
    store.collect()
    assert held(store) == sorted([Held("erofs", count, 0, 0), Held(begun, 0, count, 0)])
    seen: list[Report] = []
    to(store, begun, progress=seen.append)
    assert not [report for report in seen if report.status == "Bringing over"]
    assert held(store) == [Held(begun, count, 0, 0)]
    assert whole(store)


@pytest.mark.parametrize("target", ["vfs", "aufs"])
def test_how_far_it_is_is_told_in_bytes(store: Store, target: str) -> None:
    tars = {layer.diff_id.short: tar_size(store.layers, layer) for layer in store.layers.list()}
    seen: list[Report] = []
    to(store, target, progress=seen.append)
    counts = [report for report in seen if report.current is not None]
    parts = {report.id: report for report in counts if report.id != "Total"}
    assert {id: (part.current, part.total) for id, part in parts.items()} == {id: (n, n) for id, n in tars.items()}
    whole = [report.current for report in counts if report.id == "Total"]
    assert whole == sorted(whole, key=lambda each: each or 0)
    assert (counts[-1].id, counts[-1].current, counts[-1].total) == ("Total", sum(tars.values()), sum(tars.values()))
    assert counts[-1].rate and counts[-1].rate > 0


def test_a_dry_run_changes_nothing(store: Store, begun: str) -> None:
    create(store, "one", None)
    create(store, "busy", top_of(store, "built:1"))
    rows = store.catalog.rows("SELECT * FROM layer")
    moved = to(store, "erofs", dry_run=True, is_running=lambda folder: "busy" in store.containers.get(folder.name).name)
    assert (moved.layers, list(moved.containers), moved.after) == (len(rows), ["one"], -1)
    assert [left.name for left in moved.left] == ["busy"]
    assert 0 < moved.needed < moved.free
    assert store.catalog.rows("SELECT * FROM layer") == rows
    assert store.driver.name == begun


def test_equal_files_are_one_with_erofs(config: Config) -> None:
    versions = [image({"lib/big": b"b" * 200_000, f"lib/{n}": b"%d" % n * 9000}) for n in range(4)]
    with Store.open(config.replaced(storage_driver="overlay2")) as store:
        for n, sample in enumerate(versions):
            load_image(store, sample, f"app:{n}")
    with Store.open(config) as store:
        moved = to(store, "erofs")
        assert moved.after < moved.before * 0.55
        assert whole(store)


def test_layers_that_are_neither_whole_nor_to_be_had_stay(config: Config) -> None:
    with Store.open(config.replaced(storage_driver="overlay2")) as store:
        load_image(store, ANOTHER, "another:1")
        with store.lease("test") as lease:
            made = make_layer(store, lease, writing(a=b"1", b=b"2"))
            make_image(store, lease, [made], tag="broken:1")
        (store.layers.directory(made) / "a").write_bytes(b"2")
    with Store.open(config) as store:
        moved = to(store, "vfs")
        assert [(left.kind, left.name) for left in moved.left] == [("layers", made.chain_id)]
        assert "were changed" in moved.left[0].reason
        assert store.layers.get(made.chain_id).driver == "overlay2"
        assert store.layers.get(top_of(store, "another:1")).driver == "vfs"


def test_a_damaged_blob_does_not_keep_whole_files_from_moving(store: Store) -> None:
    (blob,) = store.layers.blobs(PULLED.layers[2].diff_id)
    path = store.blobs.path(blob.digest)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    moved = to(store, "erofs")
    if store.layers.serving(top_of(store, "pulled:1")) == "erofs":
        assert moved.left == []
    else:  # a tar that came from elsewhere is not the one its files give
        assert [left.kind for left in moved.left] == ["layers"]
    assert [finding.code for finding in store.check(deep=True)] == ["blob-digest"]


def test_no_room_is_told_before_anything_is_done(store: Store, begun: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = os.statvfs(store.root)

    class Full:
        f_bavail, f_frsize, f_files, f_favail = 1, found.f_frsize, found.f_files, found.f_favail

    monkeypatch.setattr("veneer.store.moving.os.statvfs", lambda path: Full)
    with pytest.raises(NotEnoughRoom, match=r"takes up to [\d.]+MB for a while, .* has 0\.00MB free"):
        to(store, "erofs")
    monkeypatch.undo()
    assert drivers(store) == {begun}
    assert store.catalog.setting("driver") == begun


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 MB."""
    place = tmp_path / "small"
    place.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", place)
    try:
        yield place
    finally:
        run("umount", place)


@pytest.mark.parametrize("moment", [("Bringing over", 1), ("Brought over", 2), ("Moved", 1)])
def test_a_disk_that_fills_up_on_the_way_costs_nothing(
    config: Config, small: Path, tmp_path: Path, moment: tuple[str, int]
) -> None:
    config = config.replaced(root=small / "root")
    samples = [image({f"bin/{n}": os.urandom(2_000_000), "etc/n": b"%d" % n}, {"etc/.wh.n": b""}) for n in range(3)]
    with Store.open(config.replaced(storage_driver="overlay2")) as store:
        for n, sample in enumerate(samples):
            load_image(store, sample, f"app:{n}")
        container = create(store, "one", samples[0].parsed.chain_ids[-1])
        view = tmp_path / "view"
        view.mkdir()
        with mounted(store.containers.mounts(container), view):
            (view / "written").write_bytes(os.urandom(3_000_000))
    left = [moment[1]]
    ballast = small / "ballast"

    def fill(report: Report) -> None:
        """Somebody else takes all the room there is, when so much is done."""
        left[0] -= report.status == moment[0]
        if left[0] == 0 and not ballast.exists():
            with ballast.open("wb") as file, suppress(OSError):
                while True:
                    file.write(bytes(1 << 20))
                    file.flush()

    with Store.open(config) as store:
        before = trees(store, view), tree(store.containers.mounts(store.containers.get("one"), readonly=True), view)
        with pytest.raises(StoreFull, match=f"{small}/root"):
            to(store, "vfs", progress=fill)
    for full in (True, False):
        if not full:
            ballast.unlink()
        with Store.open(config) as store:
            assert [finding for finding in store.check(deep=True) if finding.damage] == []
            one = store.containers.get("one")
            assert (trees(store, view), tree(store.containers.mounts(one, readonly=True), view)) == before
    with Store.open(config) as store:
        moved = to(store, "vfs")
        assert (moved.left, [each.driver for each in held(store)]) == ([], ["vfs"])
        one = store.containers.get("one")
        assert (trees(store, view), tree(store.containers.mounts(one, readonly=True), view)) == before
        store.collect()
        assert whole(store)


def test_one_migration_at_a_time(store: Store) -> None:
    with store.locked("migrate"), pytest.raises(AlreadyMoving):
        to(store, "erofs")


def test_a_driver_that_there_is_not_is_refused(store: Store) -> None:
    with pytest.raises(NoSuchDriver, match="zfs"):
        migrate(store, "zfs", is_running=never)


def test_layers_somebody_works_on_are_waited_for_and_then_left(store: Store, begun: str) -> None:
    top = top_of(store, "built:1")
    with Store.open(store.config) as other, other.lease("build") as lease, other.layers.draft(lease, top) as draft:
        moved = to(store, "erofs", patience=0.0)
        assert [(left.kind, left.name) for left in moved.left] == [("layers", PULLED.parsed.chain_ids[0])]
        assert f"build (process {os.getpid()})" in moved.left[0].reason
        writing(late=b"late")(draft.directory)
        layer = draft.publish(draft.measure(), standalone=False)
        assert layer.driver == begun
    assert whole(store)
    assert to(store, "erofs").left == []
    assert drivers(store) <= {"erofs"}
    assert whole(store)


def test_a_driver_that_is_gone_is_named_with_the_way_out(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    from veneer.drivers.driver import Support
    from veneer.drivers.overlay2 import Overlay2

    with Store.open(config.replaced(storage_driver="overlay2")) as store:
        load_image(store, PULLED, "pulled:1")
    monkeypatch.setattr(Overlay2, "probe", lambda self: Support(False, "no overlay in this kernel"))
    with Store.open(config.replaced(storage_driver="vfs")) as store:
        with pytest.raises(DriverGone, match="kept by overlay2, which does not work here: no overlay") as raised:
            store.layers.mounts(PULLED.parsed.chain_ids[-1])
        assert "veneer system migrate --to DRIVER" in raised.value.hint
        assert "vfs" in raised.value.hint
        assert to(store, "vfs").left == []
        assert store.layers.mounts(PULLED.parsed.chain_ids[-1])
        assert whole(store)


def test_a_container_s_copies_that_a_power_cut_took_are_made_again(store: Store, begun: str, tmp_path: Path) -> None:
    container = create(store, "busy", top_of(store, "pulled:1"))
    before = tree(store.containers.mounts(container), tmp_path / "view")
    to(store, "erofs", is_running=lambda folder: True)
    with store.catalog.transaction() as transaction:
        transaction.execute("UPDATE snapshot SET durable = 0, boot_id = 'earlier' WHERE driver = ?", (begun,))
    assert [finding.code for finding in store.check() if finding.damage] == []
    assert tree(store.containers.mounts(container), tmp_path / "view") == before
    top = container.top
    assert top is not None
    assert lowers(store.layers.ensure(top, begun))[0] != lowers(store.layers.ensure(top))[0]


@FROM_EACH
def test_commit_diff_and_size_of_a_container_whose_image_is_with_another_driver(store: Store, tmp_path: Path) -> None:
    from veneer.store import container_layer

    container = create(store, "busy", top_of(store, "built:1"))
    view = tmp_path / "view"
    view.mkdir()
    with mounted(store.containers.mounts(container), view):
        (view / "new").write_bytes(b"new")
        (view / "app/data").unlink()
    before = container_layer.changes(store, container), container_layer.size(store, container)
    with store.lease("test") as lease:
        layer, _ = container_layer.capture(store, lease, container)
    assert layer is not None
    to(store, "erofs", is_running=lambda folder: True)
    assert (container_layer.changes(store, container), container_layer.size(store, container)) == before
    with store.lease("test") as lease:
        again, _ = container_layer.capture(store, lease, container)
    assert again is not None
    assert (again.diff_id, again.driver) == (layer.diff_id, "erofs")
    assert whole(store)
