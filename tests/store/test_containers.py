"""Containers as rows, and the two layers each has on top of its image's."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.built import make_layer
from veneer.config import Config
from veneer.drivers import treecopy
from veneer.drivers.mount import mounted
from veneer.oci.digest import ChainID, Digest, ImageID
from veneer.store.containers import AmbiguousContainer, Container, NameInUse, NoSuchContainer, new_id
from veneer.store.store import Store

pytestmark = pytest.mark.usefixtures("root_only")

IMAGE = ImageID(Digest.of(b"an image's config"))


@pytest.fixture(params=["overlay2", "vfs", "erofs"])
def store(request: pytest.FixtureRequest, config: Config) -> Iterator[Store]:
    """A store for each driver."""
    from veneer.drivers.driver import load

    config.root.parent.mkdir(exist_ok=True)
    with Store.open(config.replaced(storage_driver=request.param)) as opened:
        support = load(request.param, opened.root).probe()
        if not support.usable:
            pytest.skip(support.reason)
        yield opened


def base(store: Store, more: Callable[[Path], object] = lambda root: None) -> ChainID:
    """A layer with a file in an /etc of mode 0700, and what `more` makes."""

    def fill(root: Path) -> None:
        (root / "etc").mkdir()
        (root / "etc/passwd").write_bytes(b"root")
        more(root)
        (root / "etc").chmod(0o700)

    with store.lease("test") as lease:
        return make_layer(store, lease, fill).chain_id


def create(store: Store, name: str, top: ChainID | None, id: str = "") -> Container:
    with store.lease("test") as lease:
        return store.containers.create(
            lease, id=id or new_id(), name=name, image=IMAGE, image_name="base", top=top, document={"Config": {}}
        )


@pytest.fixture
def view(store: Store, tmp_path: Path) -> Iterator[Path]:
    target = tmp_path / "view"
    target.mkdir()
    yield target


def test_a_container_is_found_by_id_by_name_and_by_the_beginning_of_its_id(store: Store) -> None:
    one, two = create(store, "one", None, "ab" + "0" * 62), create(store, "two", None, "ac" + "0" * 62)
    for reference in (one.id, "one", "/one", "ab", "ab0"):
        assert store.containers.get(reference) == one
    with pytest.raises(AmbiguousContainer, match="multiple IDs found with provided prefix: a"):
        store.containers.get("a")
    with pytest.raises(NoSuchContainer, match="No such container: three"):
        store.containers.get("three")
    named = create(store, "ab", None)
    assert store.containers.get("ab") == named, "a name counts more than the beginning of an id"
    assert [each.name for each in store.containers.list()] == ["ab", "two", "one"]
    assert two.document == {"Config": {}}


def test_a_name_is_one_containers_alone(store: Store) -> None:
    one, two = create(store, "one", None), create(store, "two", None)
    with pytest.raises(NameInUse, match=f'The container name "/one" is already in use by container "{one.id}"'):
        create(store, "one", None)
    with pytest.raises(NameInUse):
        store.containers.rename(two.id, "one")
    store.containers.rename(two.id, "three")
    assert store.containers.get("three").id == two.id
    assert store.check() == []


def test_what_one_writes_no_other_sees_and_the_image_stays(store: Store, view: Path) -> None:
    top = base(store)
    one, two = create(store, "one", top), create(store, "two", top)
    with mounted(store.containers.mounts(one), view):
        (view / "etc/passwd").write_bytes(b"changed")
    with mounted(store.containers.mounts(two), view):
        assert (view / "etc/passwd").read_bytes() == b"root"
    with mounted(store.containers.mounts(one), view):
        assert (view / "etc/passwd").read_bytes() == b"changed"
    with mounted(store.layers.mounts(top), view):
        assert (view / "etc/passwd").read_bytes() == b"root"
    assert one.init == two.init, "the init layer is shared"


def test_the_init_layer_has_what_the_image_lacks_and_directories_stay_as_they_are(store: Store, view: Path) -> None:
    def more(root: Path) -> None:
        (root / "etc/hosts").write_bytes(b"own")
        (root / "dev").symlink_to("elsewhere")
        (root / "elsewhere").mkdir()
        (root / "elsewhere").chmod(0o711)

    top = base(store, more)
    with mounted(store.containers.mounts(create(store, "one", top)), view):
        assert (view / "etc/hosts").read_bytes() == b"own"
        assert stat.S_IMODE((view / "etc").stat().st_mode) == 0o700
        assert (view / "etc/mtab").readlink() == Path("/proc/mounts")
        assert stat.S_IMODE((view / ".dockerenv").stat().st_mode) == 0o755
        assert (view / "elsewhere/pts").is_dir(), "links lead about in the tree"
        assert stat.S_IMODE((view / "elsewhere").stat().st_mode) == 0o711
        assert sorted(os.listdir(view)) == [".dockerenv", "dev", "elsewhere", "etc", "proc", "sys"]


def test_a_removed_container_leaves_nothing_and_its_images_layers_go_with_the_last(store: Store) -> None:
    top = base(store)
    one, two = create(store, "one", top), create(store, "two", top)
    store.containers.remove(one.id)
    store.containers.remove(one.id)
    assert not store.containers.folder(one.id).exists()
    store.collect()
    assert store.layers.find(top) is not None, "a container keeps its layers"
    store.containers.remove(two.id)
    store.collect()
    assert store.layers.find(top) is None
    assert list(store.driver.snapshots()) == []
    assert store.check() == []


def test_a_collection_may_take_the_folder_of_a_container_that_is_being_removed(
    store: Store, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = create(store, "one", base(store))
    folder = store.containers.folder(one.id)
    (folder / "bundle").mkdir()
    delete_files = treecopy._delete_files

    def collected_first(fd: int) -> list[str]:
        if folder.exists():
            with Store.open(config) as other:
                other.collect()
            assert not folder.exists()
        return delete_files(fd)

    monkeypatch.setattr(treecopy, "_delete_files", collected_first)
    store.containers.remove(one.id)
    assert os.listdir(store.root / "trash") == []
    assert store.check() == []


def test_a_folder_or_a_layer_without_a_row_is_swept_and_those_with_one_are_not(store: Store) -> None:
    kept = create(store, "kept", base(store))
    stray = store.containers.folder(new_id())
    stray.mkdir()
    assert [finding.code for finding in store.check()] == ["stray-container"]
    store.collect()
    assert not stray.exists()
    assert store.containers.folder(kept.id).is_dir()
    assert {kept.rw, kept.init} <= set(store.driver.snapshots())
    assert store.check() == []
