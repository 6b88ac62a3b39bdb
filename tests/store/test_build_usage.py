"""What the build cache takes is what a prune of it frees; what images with names stand on stays."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import pytest

from tests.crash.test_store_kill import assert_whole
from tests.support.built import make_image, make_layer, writing
from veneer.oci.digest import BlobDigest, ImageID
from veneer.oci.reference import Reference
from veneer.store.build_prune import InvalidStorage
from veneer.store.build_usage import CONTEXT, MOUNT, REGULAR, Record
from veneer.store.durability import arm
from veneer.store.filters import InvalidFilter
from veneer.store.images import Image
from veneer.store.leases import Lease
from veneer.store.store import Store

pytestmark = pytest.mark.usefixtures("root_only")


class Line:
    """Images built one on the other: a step for each size, each with a file of that many bytes (0: no layer)."""

    def __init__(self, store: Store, lease: Lease, name: str, *sizes: int, on: Image | None = None) -> None:
        self.images: list[Image] = []
        layers = list(store.layers.stack(on.top)) if on and on.top else []
        parent = on
        for number, size in enumerate(sizes):
            if size:
                top = layers[-1].chain_id if layers else None
                layers.append(make_layer(store, lease, writing(**{f"{name}{number}": b"x" * size}), top))
            step = {"cmd": ["/bin/sh", "-c", f"make {name} {number}"]}
            made = make_image(store, lease, layers, parent=parent.id if parent else None, comment=f"{name} {number}")
            store.builds.record(made.id, parent.id if parent else None, step)
            self.images.append(made)
            parent = made

    @property
    def top(self) -> Image:
        return self.images[-1]

    @property
    def ids(self) -> list[ImageID]:
        return [each.id for each in self.images]


@pytest.fixture
def building(store: Store) -> Iterator[Lease]:
    with store.lease("build") as lease:
        yield lease


def make(store: Store, name: str, *sizes: int, tag: str = "", on: Image | None = None) -> Line:
    """A finished build."""
    with store.lease("build") as lease:
        line = Line(store, lease, name, *sizes, on=on)
        if tag:
            store.images.tag(line.top.id, Reference.parse(tag).tagged())
    return line


def names(records: Sequence[Record]) -> list[str]:
    return [record.name for record in records]


def sizes(store: Store) -> dict[str, int]:
    return {record.name: record.size for record in store.builds.du()}


def reclaimable(store: Store) -> int:
    return sum(record.size for record in store.builds.du() if record.reclaimable)


def age(store: Store, line: Line, used: float, uses: int = 0) -> None:
    with store.catalog.transaction() as transaction:
        transaction.executemany(
            "UPDATE build_step SET used = ?, uses = ? WHERE image = ?", [(used, uses, each) for each in line.ids]
        )


def test_each_step_counts_what_it_added_and_a_layer_counts_once(store: Store) -> None:
    line = make(store, "a", 100, 0, 20)
    other = make(store, "b", 7, on=line.images[1])
    assert sizes(store) == dict(zip([*line.ids, *other.ids], [100, 0, 20, 7], strict=True))
    (record,) = store.builds.du({"id": [line.images[2].id.hex[:12]]})
    assert (record.type, record.description, record.parents) == (REGULAR, "/bin/sh -c make a 2", (line.ids[1].short,))
    assert record.reclaimable and not record.shared and not record.in_use and not record.mutable
    assert reclaimable(store) == 127


def test_what_an_image_with_a_name_stands_on_is_shared_and_stays(store: Store) -> None:
    line = make(store, "a", 100, 0, 20, tag="app:1")
    loose = make(store, "b", 7, 3, on=line.images[0])
    records = {record.name: record for record in store.builds.du()}
    assert [records[each].shared for each in line.ids] == [True, True, True]
    assert [records[each].shared for each in loose.ids] == [False, False]
    assert reclaimable(store) == 10
    pruned = store.builds.prune()
    assert names(pruned.records) == [loose.ids[1], loose.ids[0]]
    assert pruned.bytes == 10
    assert [each.id for each in store.images.ancestors(line.top.id)] == line.ids[::-1]
    assert {image.id for image in store.images.list(all=True)} == set(line.ids)
    assert store.check(deep=True) == []


def test_all_forgets_how_named_images_were_made_and_keeps_them_with_their_parents(store: Store) -> None:
    line = make(store, "a", 100, 0, 20, tag="app:1")
    loose = make(store, "b", 7)
    pruned = store.builds.prune(all=True)
    assert {*names(pruned.records)} == {*line.ids, *loose.ids}
    assert pruned.bytes == 7
    assert store.builds.du() == []
    assert [each.id for each in store.images.ancestors(line.top.id)] == line.ids[::-1], "history keeps its IDs"
    assert not store.builds.has_children(None), "the next build does every step anew"
    assert store.check(deep=True) == []


def test_a_prune_frees_what_du_says_and_a_dry_run_says_the_same(store: Store) -> None:
    make(store, "a", 100, 20, tag="app:1")
    base = make(store, "b", 1000, 1)
    make(store, "c", 50, 50, on=base.images[0])
    with store.cache_mounts.acquire("npm") as mount:
        (mount / "package").write_bytes(b"p" * 300)
    (store.root / "contexts").mkdir()
    (store.root / "contexts" / ("c" * 32)).write_bytes(b"m" * 40)
    expected = reclaimable(store)
    assert expected == 1101 + 300 + 40
    before = store.catalog.value("SELECT sum(size) FROM snapshot")
    told = store.builds.prune(dry_run=True)
    assert store.catalog.value("SELECT sum(size) FROM snapshot") == before
    done = store.builds.prune()
    assert (told.bytes, told.records) == (done.bytes, done.records)
    assert done.bytes == expected
    assert before - store.catalog.value("SELECT sum(size) FROM snapshot") == 1101
    assert {record.type for record in done.records} == {REGULAR, MOUNT, CONTEXT}
    assert reclaimable(store) == 0
    assert not os.listdir(store.root / "cache-mounts") and not os.listdir(store.root / "contexts")
    assert not os.listdir(store.root / "trash")


def test_a_layer_that_stays_with_another_step_is_not_counted_as_freed(store: Store) -> None:
    with store.lease("build") as lease:
        layer = make_layer(store, lease, writing(f=b"x" * 100))
        one = make_image(store, lease, [layer], comment="one")
        two = make_image(store, lease, [layer], comment="two")
        for each in (one, two):
            store.builds.record(each.id, None, {"cmd": each.id})
    assert reclaimable(store) == 100
    first = store.builds.prune(filters={"id": [one.id]})
    assert (names(first.records), first.bytes) == ([one.id], 0)
    assert reclaimable(store) == 100
    assert store.builds.prune().bytes == 100


def test_running_work_keeps_what_it_has_and_all_below(store: Store, building: Lease) -> None:
    line = make(store, "a", 100, 20, 3)
    assert store.blobs.acquire(building, line.images[1].manifest)
    assert store.builds.prune(dry_run=True).bytes == 123, "a manifest is no image"
    assert store.blobs.acquire(building, BlobDigest(line.ids[1]))
    assert [record.in_use for record in store.builds.du({"id": [line.ids[0]]})] == [True]
    assert reclaimable(store) == 3
    pruned = store.builds.prune(all=True)
    assert (names(pruned.records), pruned.bytes) == ([line.ids[2]], 3)


def test_a_mount_that_a_step_has_is_never_pruned(store: Store) -> None:
    with store.cache_mounts.acquire("npm") as mount:
        (mount / "package").write_bytes(b"p" * 300)
        (record,) = store.builds.du({"type": [MOUNT]})
        assert (record.in_use, record.reclaimable, record.size) == (True, False, 300)
        assert store.builds.prune(all=True).records == ()
        assert (mount / "package").exists()
    (record,) = store.builds.du()
    assert (record.description, record.in_use, record.mutable, record.uses) == ("cached mount npm", False, True, 1)
    assert store.builds.prune().bytes == 300
    with store.cache_mounts.acquire("npm") as mount:
        assert os.listdir(mount) == []


def test_a_step_stays_while_an_image_that_was_built_on_it_does(store: Store) -> None:
    line = make(store, "a", 100, 20)
    assert line.top.top is not None
    with store.lease("derive") as lease:
        child = make_image(store, lease, store.layers.stack(line.top.top), parent=line.top.id, comment="by hand")
    assert reclaimable(store) == 0
    assert store.builds.prune().records == ()
    assert store.images.get(child.id).parent == line.top.id
    other = make(store, "b", 5, 6)
    assert store.builds.prune(filters={"id": [other.ids[0]]}).records == (), "its child does not match, and stays"
    assert names(store.builds.prune(filters={"description": ["make b"]}).records) == other.ids[::-1]


def test_keep_storage_takes_the_longest_unused_until_so_much_is_left(store: Store) -> None:
    lines = [make(store, name, 100, 10) for name in "abc"]
    for line, used in zip(lines, (300.0, 100.0, 200.0), strict=True):
        age(store, line, used)
    pruned = store.builds.prune(keep_storage=210)
    assert names(pruned.records) == [*lines[1].ids[::-1], lines[2].ids[1]]
    assert reclaimable(store) == 210
    assert store.builds.prune(keep_storage=210).records == ()
    age(store, lines[0], 200.0, uses=1)
    assert names(store.builds.prune(keep_storage=110, dry_run=True).records) == [lines[2].ids[0]]
    with pytest.raises(InvalidStorage, match="-1 bytes"):
        store.builds.prune(keep_storage=-1)


@pytest.mark.parametrize(("filters", "left"), [
    ({"type": ["regular"]}, "ab"), ({"type": ["exec.cachemount"]}, "m"), ({"type": ["regular", "source.local"]}, "abc"),
    ({"until": ["200"]}, "a"), ({"shared": ["true"]}, "b"), ({"private": ["true"]}, "acm"), ({"shared": ["0"]}, "acm"),
    ({"inuse": ["true"]}, ""), ({"inuse": ["false"]}, "abcm"), ({"description": ["make a"]}, "a"),
    ({"description": ["a 0", "mount"]}, "am"), ({"id": ["nothing"]}, ""), ({"parent": ["000000000000"]}, ""),
])  # fmt: skip
def test_filters_are_buildkits(store: Store, filters: dict[str, list[str]], left: str) -> None:
    one, two = make(store, "a", 1), make(store, "b", 2, tag="app:1")
    age(store, one, 100.0)
    age(store, two, 300.0)
    with store.cache_mounts.acquire("m"):
        pass
    (store.root / "contexts").mkdir()
    (store.root / "contexts" / "c").write_bytes(b"")
    kinds = {one.ids[0]: "a", two.ids[0]: "b", "c": "c"}
    assert "".join(sorted(kinds.get(each, "m") for each in names(store.builds.du(filters)))) == left


@pytest.mark.parametrize("filters", [
    {"color": ["red"]}, {"type": ["blue"]}, {"inuse": ["maybe"]}, {"until": ["1h", "2h"]}, {"until": ["soon"]},
    {"private": ["true", "false"]},
])  # fmt: skip
def test_what_is_no_filter_is_refused(store: Store, filters: dict[str, list[str]]) -> None:
    with pytest.raises(InvalidFilter):
        store.builds.du(filters)
    with pytest.raises(InvalidFilter):
        store.builds.prune(filters=filters, dry_run=True)


@pytest.mark.parametrize("point", ["builder-prune-rows-gone", "gc-rows-gone", "gc-renamed", "gc-swept"])
def test_a_prune_that_is_killed_leaves_a_whole_store(store: Store, point: str) -> None:
    make(store, "a", 100, 20)
    kept = make(store, "b", 7, tag="app:1")
    with store.cache_mounts.acquire("npm") as mount:
        (mount / "package").write_bytes(b"p")
    config = store.config
    store.close()
    child = os.fork()
    if not child:
        arm(point)
        with Store.open(config) as mine:
            mine.builds.prune()
        os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    assert_whole(config)
    with Store.open(config) as again:
        again.builds.prune()
        assert names(again.builds.du()) == kept.ids
        assert again.check(deep=True) == []
