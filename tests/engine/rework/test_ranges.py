"""Which layers somebody means."""

from __future__ import annotations

import pytest

from tests.support.finished import row
from veneer.engine.rework.ranges import layer_range
from veneer.engine.rework.rows import NoSuchStep
from veneer.oci.digest import ChainID
from veneer.testing.images import image

CONFIG = image({"a": b"1"}, {"b": b"2"}, {"c": b"3"}, {"d": b"4"}, history=[
    row("ENV A=1", empty=True), row("ADD a"), row("ENV B=1", empty=True), row("COPY b"), row("COPY c"),
    row("COPY d"),
]).parsed  # fmt: skip


def find(name: str) -> ChainID | None:
    return {"base": CONFIG.chain_ids[1], "other": ChainID(CONFIG.diff_ids[3])}.get(name)


@pytest.mark.parametrize(("first", "last", "expected"), [
    ("1", "4", (0, 3)), ("2", "", (1, 3)), ("", "2", (0, 1)), ("", "", (0, 3)), ("base", "", (2, 3)),
    ("", "base", (0, 1)), ("row:1", "row:2", (0, 0)), ("row:3", "row:4", (1, 1)), ("row:1", "row:5", (0, 2)),
    (CONFIG.diff_ids[1], CONFIG.diff_ids[2][:20], (1, 2)), (CONFIG.chain_ids[2][7:20], "4", (2, 3)),
])  # fmt: skip
def test_numbers_rows_digests_and_images_name_layers(first: str, last: str, expected: tuple[int, int]) -> None:
    assert layer_range(CONFIG, first, last, find) == expected


def test_by_default_it_is_all_above_the_base() -> None:
    assert layer_range(CONFIG, "", "", find, base=2) == (2, 3)


@pytest.mark.parametrize(("first", "last", "says"), [
    ("5", "", "has no layer 5"), ("0", "", "has no layer 0"), ("3", "2", "from 3 to 2 is no layer: 3 comes after 2"),
    ("row:0", "", "no history row 0"), ("row:7", "", "no history row 7"), ("row:", "", "no history row"),
    ("", "row:1", "no history row up to 1 makes a layer"), ("other", "", "has no layer other"), ("²", "", "no layer ²"),
    ("nosuch", "", "has no layer nosuch"), ("", "", "comes after"),
])  # fmt: skip
def test_what_names_no_layer_is_refused(first: str, last: str, says: str) -> None:
    with pytest.raises(NoSuchStep, match=says):
        layer_range(CONFIG, first, last, find, base=0 if first or last else 4)


def test_rows_of_which_nobody_knows_the_layers_name_none() -> None:
    short = image({"a": b"1"}, {"b": b"2"}, history=[row("COPY b")]).parsed
    with pytest.raises(NoSuchStep, match="fewer rows than there are layers"):
        layer_range(short, "row:1", "", find)
    assert layer_range(short, "2", "", find) == (1, 1)


def test_a_digest_that_two_layers_begin_with_is_refused() -> None:
    twice = image({"a": b"1"}, {"b": b"2"}, {"a": b"1"}).parsed
    with pytest.raises(NoSuchStep, match="may be any of the layers 1, 3"):
        layer_range(twice, twice.diff_ids[0], "", find)
