"""Pictures as arithmetic: boxes lie in each other and beside each other; what threads use is closed once."""

from __future__ import annotations

from itertools import pairwise

import pytest

from veneer.analysis.sharing import Stack
from veneer.engine.engine import Engine
from veneer.oci.digest import ChainID, DiffID, Digest
from veneer.progress import Cancelled, Report
from veneer.view.peel.around import News
from veneer.view.peel.grid import HEAD, Column, Wall
from veneer.view.peel.icicle import LEAST, layout
from veneer.view.peel.kept import Kept
from veneer.view.peel.model import Peel
from veneer.view.peel.spans import MEANINGS, text_of
from veneer.view.peel.themes import Palette


@pytest.mark.parametrize("room", [20, 78, 198])
def test_boxes_of_the_map_lie_in_each_other_and_beside_each_other(peel_engine: Engine, room: int) -> None:
    for name in ("shop:1", "evil:1", "void:1"):
        with peel_engine.looking.open(name) as subject:
            peel = Peel(subject)
            peel.load()
            levels = layout(peel.sized, b"", room, 6).levels
            assert levels[0][0].room == room and levels[0][0].size == peel.view.total().size
            for above, beneath in pairwise(levels):
                for one, other in pairwise(beneath):
                    assert one.start + one.room <= other.start, "beside each other"
                for box in beneath:
                    assert box.others or box.room >= LEAST
                    inside = [each for each in above if each.start <= box.start < each.start + each.room]
                    assert inside and box.start + box.room <= inside[0].start + inside[0].room, "in the one above"
                assert sum(box.size for box in beneath) <= sum(box.size for box in above)


def stack(name: str, *layers: tuple[str, int]) -> Column:
    """A column of (what names the layer, its bytes); a chain is named by all layers so far."""
    chains, diffs = [], []
    for number in range(len(layers)):
        chains.append(ChainID(Digest.of(repr(layers[: number + 1]).encode())))
        diffs.append(DiffID(Digest.of(layers[number][0].encode())))
    texts = tuple(f"RUN {text}" for text, _ in layers)
    sizes = tuple(size for _, size in layers)
    return Column(name, Stack(name, tuple(chains), tuple(diffs), sizes), texts, ("RUN",) * len(layers))


BASE, LIBRARY, APP = ("base", 500), ("library", 300), ("app", 200)
COLUMNS = (
    stack("one", BASE, LIBRARY, APP), stack("far", ("else", 900)), stack("two", BASE, LIBRARY),
    stack("three", BASE, APP), stack("none"),
)  # fmt: skip


def test_a_shared_layer_is_one_brick_as_wide_as_the_images_that_have_it() -> None:
    wall = Wall(COLUMNS, 40)
    assert [column.name for column in wall.columns][:4] != ["one", "far", "two", "three"], "neighbours share"
    for brick in wall.bricks:
        chains = {column.stack.chain_ids[brick.layer] for column in wall.columns[brick.first : brick.last]}
        assert len(chains) == 1
    widths = {brick.text: brick.last - brick.first for brick in wall.bricks if brick.layer < 2}
    assert widths["RUN base"] == 3 and widths["RUN library"] == 2 and widths["RUN else"] == 1
    assert {brick.text for brick in wall.bricks if brick.twin} == {"RUN app"}, "the same content in two places"
    for one in wall.bricks:
        for other in wall.bricks:
            if one is not other and one.first < other.last and other.first < one.last:
                assert one.bottom <= other.top or other.bottom <= one.top, "no two bricks in one place"


def test_a_wall_fits_where_it_can_and_shows_as_many_columns_as_there_is_room_for() -> None:
    for lines in (10, 20, 40):
        wall = Wall(COLUMNS, lines)
        assert wall.height + HEAD <= max(lines, 12) + 1
        for room in (17, 40, 78, 198):
            for start in range(len(COLUMNS) - wall.fitting(room) + 1):
                drawn = wall.draw(room, 0, start)
                assert len(drawn) == wall.height + HEAD
                assert max(len(text_of(line)) for line in drawn) <= room
    assert Wall([], 20).draw(40, None)


def test_what_is_kept_is_closed_when_nobody_uses_it_any_more() -> None:
    kept, closed = Kept(), []
    kept.add(lambda: closed.append(1))
    kept.add(lambda: closed.append(2))
    with kept.used() as there:
        assert there
        kept.close()
        assert closed == []
        kept.add(lambda: closed.append(3))
    assert closed == [3, 2, 1]
    with kept.used() as there:
        assert not there
    kept.add(lambda: closed.append(4))
    assert closed == [3, 2, 1, 4]
    kept.close()
    assert len(closed) == 4


def test_news_of_downloads_are_one_line_and_stop_the_work_when_it_is_over() -> None:
    news = News()
    assert news.line(3, 400) == ""
    news(Report("a", "Downloading", 50, 100))
    news(Report("b", "Downloading", 100, 100))
    news(Report("", "anything else"))
    line = news.line(3, 400)
    assert line.startswith("indexing layer 1/3 ▓▓▓░░░░░ ") and line.endswith(" s")
    assert news.line(3, 0).startswith("indexing layer 1/3 ▓▓▓▓▓▓░░ "), "where nobody knows how much it is"
    news.over = True
    with pytest.raises(Cancelled):
        news(Report("a", "Downloading", 60, 100))


def luminance(colour: str) -> float:
    """The relative luminance of #rrggbb, as WCAG defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(("name", "least"), [("dark", 4.5), ("light", 4.5), ("contrast", 7.0)])
def test_every_meaning_can_be_read_on_every_ground(name: str, least: float) -> None:
    palette = Palette(name)
    for ground in (palette.pane, palette.words, palette.pane + palette.cursor):
        for meaning in ("", *MEANINGS):
            style = palette.style(ground, meaning)
            assert style.color is not None and style.bgcolor is not None
            one, other = sorted((luminance(style.color.name), luminance(style.bgcolor.name)))
            assert (other + 0.05) / (one + 0.05) >= least, f"{meaning!r} on {style.bgcolor.name}"
            plain = not meaning or meaning in ("strong", "range", "bar")
            assert plain or ground is not palette.pane or style != ground, f"{meaning!r} is seen to mean something"
