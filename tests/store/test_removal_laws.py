"""What holds for every graph of images: a dry run foretells, and nothing that is needed goes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store.shelf import Shelf, ref
from veneer.errors import VeneerError
from veneer.store.images import Image
from veneer.store.removal import Removal, prune, remove

NAMES = ["a:1", "a:2", "b:1", "c/d:1"]
DIGESTS = [f"{repository}@sha256:{number}" + "0" * 63 for repository in ("a", "b") for number in "12"]


@dataclass(frozen=True)
class Spec:
    """One image of a graph: how many of its parent's layers, plus which of its own, and its names."""

    parent: int | None
    added: str
    names: frozenset[str]


specs = st.builds(
    Spec,
    parent=st.none() | st.integers(0, 7),
    added=st.sampled_from(["", "", "p", "q", "pq"]),
    names=st.frozensets(st.sampled_from(NAMES + DIGESTS), max_size=2),
)


@contextmanager
def graph(images: list[Spec]) -> Iterator[tuple[Shelf, list[Image]]]:
    with tempfile.TemporaryDirectory() as folder:
        shelf = Shelf(Path(folder) / "root")
        made: list[Image] = []
        stacks: list[str] = []
        for number, spec in enumerate(images):
            parent = spec.parent % number if spec.parent is not None and number else None
            stacks.append((stacks[parent] if parent is not None else "") + spec.added)
            made.append(
                shelf.image(
                    *stacks[-1],
                    parent=made[parent] if parent is not None else None,
                    labels={"n": str(number)},
                    tags=sorted(name for name in spec.names if "@" not in name),
                    digests=sorted(name for name in spec.names if "@" in name),
                )
            )
        try:
            yield shelf, made
        finally:
            shelf.close()


def snapshot(shelf: Shelf) -> dict[str, set[tuple[object, ...]]]:
    return {
        table: set(shelf.catalog.rows(f"SELECT * FROM {table}")) for table in ("image", "tag", "digest_ref", "layer")
    }


def keys(state: dict[str, set[tuple[object, ...]]], *tables: str) -> set[object]:
    return {row[0] for table in tables for row in state[table]}


def check(before: dict[str, set[tuple[object, ...]]], shelf: Shelf, done: list[Removal]) -> None:
    after = snapshot(shelf)
    deleted = [removal.text for removal in done if removal.kind == "deleted"]
    untagged = [str(ref(removal.text)) for removal in done if removal.kind == "untagged"]
    assert len(set(deleted)) == len(deleted)
    assert len(set(untagged)) == len(untagged)
    # What was said is what went, and nothing else changed.
    assert keys(before, "image", "layer") - keys(after, "image", "layer") == set(deleted)
    assert keys(before, "tag", "digest_ref") - keys(after, "tag", "digest_ref") == set(untagged)
    for table in ("tag", "digest_ref", "layer"):
        assert after[table] <= before[table]
    # Parents of images that stay stay, and every layer that is left has an image that needs it.
    for image in shelf.images.list(all=True):
        assert image.parent is None or image.parent in keys(after, "image")
    needed = shelf.catalog.rows(
        "WITH RECURSIVE needed(id) AS ("
        "SELECT top FROM image UNION SELECT parent FROM needed JOIN layer ON chain_id = id"
        ") SELECT id FROM needed WHERE id IS NOT NULL"
    )
    assert keys(after, "layer") == {row[0] for row in needed}
    assert shelf.catalog.rows("PRAGMA foreign_key_check") == []


@settings(max_examples=25)
@given(st.lists(specs, min_size=1, max_size=8), st.data())
def test_rmi_does_what_its_dry_run_said_and_takes_only_what_nobody_needs(
    images: list[Spec], data: st.DataObject
) -> None:
    with graph(images) as (shelf, made):
        for _ in range(data.draw(st.integers(1, 4))):
            name = data.draw(st.sampled_from([*NAMES, *DIGESTS, *(image.id for image in made)]))
            force, parents = data.draw(st.booleans()), data.draw(st.booleans())
            before = snapshot(shelf)
            try:
                planned = remove(shelf.store, name, force=force, prune=parents, dry_run=True)
            except VeneerError as refusal:
                try:
                    remove(shelf.store, name, force=force, prune=parents)
                except type(refusal) as again:
                    assert (again.message, again.hint) == (refusal.message, refusal.hint)
                else:
                    raise AssertionError("only the dry run was refused") from refusal
                assert snapshot(shelf) == before
                continue
            assert snapshot(shelf) == before
            done = remove(shelf.store, name, force=force, prune=parents)
            assert done == planned
            assert done
            check(before, shelf, done)


@settings(max_examples=25)
@given(st.lists(specs, min_size=1, max_size=8), st.booleans())
def test_prune_does_what_its_dry_run_said_and_a_second_one_finds_nothing(images: list[Spec], everything: bool) -> None:
    with graph(images) as (shelf, made):
        before = snapshot(shelf)
        planned = prune(shelf.store, all=everything, dry_run=True)
        assert snapshot(shelf) == before
        done = prune(shelf.store, all=everything)
        assert done == planned
        assert done.bytes == sum(removal.bytes for removal in done.removals)
        check(before, shelf, list(done.removals))
        left = shelf.images.list(all=True)
        if everything:
            assert left == []
        else:
            tagged = {image.id for image in shelf.images.list() if image.is_tagged}
            assert tagged == {row[2] for row in before["tag"]}
        assert len(left) <= len(made)
        if not any(not image.is_tagged and image.is_named for image in left):
            assert prune(shelf.store, all=everything).removals == ()
