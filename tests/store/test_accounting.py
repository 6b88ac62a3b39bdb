"""What things take on disk: whatever is shared counts once, and the sums come out even."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store.shelf import Shelf
from veneer.oci.digest import ImageID
from veneer.store.accounting import DiskUsage, disk_usage
from veneer.store.removal import User, prune


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    made = Shelf(tmp_path / "root")
    yield made
    made.close()


SIZES = {"base": 1000, "a": 20, "b": 3}


def rows(usage: DiskUsage) -> list[tuple[str, int, int, int]]:
    return [(str(one.image.tags[0].familiar), one.size, one.shared, one.unique) for one in usage.images]


def test_an_empty_store_takes_nothing(shelf: Shelf) -> None:
    usage = disk_usage(shelf.store)
    assert (usage.images, usage.total, usage.reclaimable, usage.active) == ((), 0, 0, 0)


def test_a_layer_that_two_images_have_is_shared_and_counted_once(shelf: Shelf) -> None:
    shelf.image("base", tags=["base:1"], sizes=SIZES)
    shelf.image("base", "a", tags=["a:1"], sizes=SIZES)
    shelf.image("base", "b", tags=["b:1"], sizes=SIZES)
    usage = disk_usage(shelf.store)
    assert rows(usage) == [("b:1", 1003, 1000, 3), ("a:1", 1020, 1000, 20), ("base:1", 1000, 1000, 0)]
    assert (usage.layers, usage.shared, usage.unique, usage.hidden) == (1023, 1000, 23, 0)


def test_the_steps_an_image_was_built_in_do_not_make_it_shared(shelf: Shelf) -> None:
    base = shelf.image("base", sizes=SIZES)
    middle = shelf.image("base", "a", parent=base, sizes=SIZES)
    shelf.image("base", "a", "b", parent=middle, tags=["t:1"], sizes=SIZES)
    assert rows(disk_usage(shelf.store)) == [("t:1", 1023, 0, 1023)]


def test_the_same_content_in_another_place_is_another_layer(shelf: Shelf) -> None:
    shelf.image("a", "b", tags=["t:1"], sizes=SIZES)
    shelf.image("b", "a", tags=["u:1"], sizes=SIZES)
    usage = disk_usage(shelf.store)
    assert rows(usage) == [("u:1", 23, 0, 23), ("t:1", 23, 0, 23)]
    assert usage.layers == 46


def test_one_directory_that_serves_two_places_counts_once(shelf: Shelf) -> None:
    shelf.image("a", tags=["t:1"], sizes=SIZES)
    shelf.image("b", "a", tags=["u:1"], sizes=SIZES)
    with shelf.catalog.transaction() as connection:
        mine = "SELECT snapshot FROM layer WHERE parent IS NULL AND diff_id = (SELECT diff_id FROM layer AS upper"
        mine += " WHERE upper.parent IS NOT NULL)"
        connection.execute(f"UPDATE layer SET snapshot = ({mine}) WHERE parent IS NOT NULL")
        connection.execute("DELETE FROM snapshot WHERE id NOT IN (SELECT snapshot FROM layer)")
    usage = disk_usage(shelf.store)
    assert rows(usage) == [("u:1", 23, 20, 3), ("t:1", 20, 20, 0)]
    assert (usage.layers, usage.shared, usage.unique) == (23, 20, 3)


def test_what_no_listed_image_has_is_hidden(shelf: Shelf) -> None:
    shelf.image("base", tags=["t:1"], sizes=SIZES)
    with shelf.lease() as lease:
        shelf.layers(lease, ["a"], SIZES)
    usage = disk_usage(shelf.store)
    assert (usage.layers, usage.unique, usage.hidden) == (1020, 1000, 20)


def test_blobs_are_counted_as_they_lie_on_the_disk(shelf: Shelf) -> None:
    image = shelf.image("a", tags=["t:1"])
    on_disk = sum(path.stat().st_size for path in (shelf.root / "blobs" / "sha256").iterdir())
    usage = disk_usage(shelf.store)
    assert usage.blobs == on_disk
    assert usage.total == on_disk + image.size


def test_what_containers_use_is_not_reclaimable(shelf: Shelf) -> None:
    used = shelf.image("base", "a", tags=["used"], sizes=SIZES)
    shelf.image("base", "b", tags=["unused"], sizes=SIZES)

    def users_of(image_id: ImageID) -> Sequence[User]:
        return [User("c" * 64, running=True)] * 2 if image_id == used.id else []

    usage = disk_usage(shelf.store, users_of=users_of)
    assert [(one.containers, one.unique) for one in usage.images] == [(0, 3), (2, 20)]
    assert (usage.active, usage.layers_reclaimable) == (1, 3)
    kept = [used.id, used.manifest]
    kept += [row[0] for row in shelf.catalog.rows("SELECT child FROM blob_ref WHERE blob = ?", (used.manifest,))]
    sizes = {row[0]: row[1] for row in shelf.catalog.rows("SELECT digest, size FROM blob")}
    assert usage.blobs_reclaimable == usage.blobs - sum(sizes[digest] for digest in set(kept))
    everything = disk_usage(shelf.store)
    assert everything.reclaimable == everything.total


@settings(max_examples=30)
@given(st.lists(st.tuples(st.text("pqrs", max_size=5), st.booleans()), max_size=8))
def test_unique_and_shared_parts_add_up_to_what_is_on_disk(images: list[tuple[str, bool]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shelf = Shelf(Path(folder) / "root")
        sizes = {"p": 1, "q": 20, "r": 300, "s": 4000}
        parent = None
        for number, (layers, tagged) in enumerate(images):
            labels = {"n": str(number)}
            made = shelf.image(*layers, tags=[f"t:{number}"] * tagged, sizes=sizes, labels=labels, parent=parent)
            parent = made if number % 3 else None
        usage = disk_usage(shelf.store)
        on_disk = shelf.catalog.value("SELECT coalesce(sum(size), 0) FROM snapshot")
        assert usage.layers == on_disk
        assert usage.unique + usage.shared + usage.hidden == on_disk
        assert usage.unique == sum(one.unique for one in usage.images)
        assert all(one.shared >= 0 and one.unique >= 0 for one in usage.images)
        for one in usage.images:
            # Removing every other image frees all but this one's layers.
            others = {other.image.top for other in usage.images if other is not one}
            assert one.unique == 0 or one.image.top not in others
        # What a prune of everything says it frees is what was there.
        freed = prune(shelf.store, all=True, dry_run=True).bytes
        assert freed == on_disk - _left_over(shelf)
        shelf.close()


def _left_over(shelf: Shelf) -> int:
    """Sizes of layers that no image has: what only collection can free."""
    found: int = shelf.catalog.value(
        "WITH RECURSIVE needed(id) AS ("
        "SELECT top FROM image UNION SELECT parent FROM needed JOIN layer ON chain_id = id"
        ") SELECT coalesce(sum(size), 0) FROM snapshot WHERE id NOT IN"
        " (SELECT snapshot FROM layer WHERE chain_id IN (SELECT id FROM needed))"
    )
    return found
