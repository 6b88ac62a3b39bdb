"""Laws of the layer index: how its entries are numbered does not depend on the way they came."""

from __future__ import annotations

import io
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veneer.changeset import index_builder
from veneer.changeset.entry import Kind
from veneer.changeset.index import IndexBuilder, LayerIndex
from veneer.changeset.index_order import Order, Rows, in_order

Added = tuple[bytes, Kind]

NAMES = st.sampled_from([b"a", b"a-b", b"a.b", b"ab", b"b", b"\xff"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(b"/".join)


def written(added: list[Added]) -> bytes:
    builder = IndexBuilder()
    for path, kind in added:
        builder.add(path, kind, 0o755, size=len(path) if kind is Kind.REGULAR else 0, digest=bytes(32))
    out = io.BytesIO()
    builder.write(out)
    return out.getvalue()


def sorted_tree(leaves: set[bytes], *, root: bool) -> list[Added]:
    """A tree with all its directories, in the order of an index."""
    directories = {path[:at] for path in leaves for at, byte in enumerate(path) if byte == ord("/")}
    kinds = dict.fromkeys(leaves, Kind.REGULAR) | dict.fromkeys(directories, Kind.DIRECTORY)
    ordered = sorted(kinds.items(), key=lambda pair: pair[0].split(b"/"))
    return [(b"", Kind.DIRECTORY), *ordered] if root else ordered


@given(st.sets(PATHS, max_size=20), st.booleans(), st.randoms(use_true_random=False))
def test_entries_that_come_sorted_make_the_index_that_they_make_in_any_order(
    leaves: set[bytes], root: bool, chance: random.Random
) -> None:
    tree = sorted_tree(leaves, root=root)
    taken: list[bool] = []

    def noted(rows: Rows) -> Order | None:
        found = in_order(rows)
        taken.append(found is not None)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_builder, "in_order", noted)
        straight = written(tree)
        assert taken == [True]
        shuffled = list(tree)
        chance.shuffle(shuffled)
        assert written(shuffled) == straight
    with LayerIndex.from_bytes(straight) as index:
        index.verify()
        assert [(entry.path, entry.kind) for entry in index] == tree


@given(st.lists(st.tuples(PATHS, st.sampled_from([Kind.REGULAR, Kind.DIRECTORY])), max_size=20))
def test_whatever_comes_twice_or_without_its_directory_is_never_taken_for_sorted_wrongly(added: list[Added]) -> None:
    straight = written(added)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_builder, "in_order", lambda rows: None)
        assert written(added) == straight
