"""What is in a file: as text, as bytes, as an archive; and two copies of it side by side."""

from __future__ import annotations

import io
from pathlib import Path

from tests.support.finished import loaded
from tests.view.peel.driving import by_hand, peeling
from tests.view.peel.samples import tar_of, zip_of
from veneer.config import Config
from veneer.engine.engine import Engine
from veneer.testing.images import hardlink, symlink
from veneer.view.peel.reading import ARCHIVE, HEX, TEXT, Content, Pair, text_lines


@by_hand
async def test_a_text_its_bytes_and_back(peel_engine: Engine) -> None:
    async with peeling(peel_engine, "shop:1", path=b"opt/greeting.txt") as it:
        await it.press("v")
        assert "/opt/greeting.txt in layer 4 · 1.7kB · [text]  hex  archive" in it.text
        lines = it.pane_lines()
        assert len(lines) == 200 and lines[99] == "   100 line one hundred"
        await it.press("pagedown", "j", "k", "end")
        assert "   200 line 200" in it.text
        await it.press("x")
        assert "text  [hex]  archive" in it.text
        assert it.pane_lines()[0] == "00000000  6c 69 6e 65 20 31 0a 6c 69 6e 65 20 32 0a 6c 69  line 1.line 2.li"
        await it.press("x")
        assert "no archive that is known" in it.text
        await it.press("x", "escape")
        assert it.screen == "Main"


@by_hand
async def test_each_layers_copy_is_shown_at_its_depth(peel_engine: Engine) -> None:
    async with peeling(peel_engine, "shop:1", path=b"opt/greeting.txt", ends=(3, 2)) as it:
        await it.press("enter")
        assert "in layer 2" in it.text and it.pane_lines()[99] == "   100 line 100"
        await it.press("d")
        assert it.told == "no layer below has this file"
    async with peeling(peel_engine, "shop:1", path=b"var/lists/one") as it:
        await it.press("v")
        assert "/var/lists/one in layer 1" in it.text, "what is deleted is still to be read"


@by_hand
async def test_archives_list_what_is_in_them(peel_engine: Engine) -> None:
    async with peeling(peel_engine, "shop:1", path=b"opt/bundle.tar.gz") as it:
        await it.press("v")
        assert "[archive]" in it.text and [line.split() for line in it.pane_lines()] == [
            ["7B", "one.txt"], ["14B", "folder/two.txt"],
        ]  # fmt: skip
    async with peeling(peel_engine, "shop:1", path=b"opt/bundle.zip") as it:
        await it.press("v")
        assert [line.split() for line in it.pane_lines()] == [["10B", "inside.txt"]]


@by_hand
async def test_what_has_no_content_says_so(peel_engine: Engine) -> None:
    async with peeling(peel_engine, "shop:1", path=b"opt/empty") as it:
        await it.press("v")
        assert it.pane_lines() == ["nothing is in it"]
        await it.press("x", "x", "escape")
        await it.press("slash")
        await it.say("/usr/lib")
        await it.press("v")
        assert it.told == "/usr/lib is a directory"
    async with peeling(peel_engine, "shop:1", path=b"etc/alt", ends=(2, 0)) as it:
        await it.press("v")
        assert it.screen in ("Main", "Viewer") and "etc/alt" in it.text
    async with peeling(peel_engine, "shop:1", path=b"usr/lib/same.so") as it:
        await it.press("v")
        assert "llllll" in it.text, "a hard link has the content of its file"


@by_hand
async def test_two_copies_side_by_side(peel_engine: Engine) -> None:
    async with peeling(peel_engine, "shop:1", path=b"opt/greeting.txt") as it:
        await it.press("d")
        assert "/opt/greeting.txt: layer 2 ↔ 4 · 1 line differs" in it.text
        assert "line 100" in it.text and "line one hundred" in it.text, "the first difference is in sight"
        row = next(line for line in it.pane_lines() if "line one hundred" in line)
        assert " M " in row and row.index("line 100") < row.index("line one hundred")
        await it.press("left_square_bracket", "right_square_bracket", "n", "home", "escape")
        assert it.screen == "Main"
        await it.press("v", "d")
        assert it.screen == "Difference"
        await it.press("escape")
        assert it.screen == "Main"
    async with peeling(peel_engine, "shop:1", path=b"opt/tool") as it:
        await it.press("d")
        assert "only one layer has this file" in it.told
    async with peeling(peel_engine, "shop:1", path=b"usr/lib/libsmall.so") as it:
        await it.press("d")
        assert "the same text" in it.text


@by_hand
async def test_of_three_copies_any_two(tmp_path: Path) -> None:
    with Engine(Config(root=tmp_path / "root", docker_config=tmp_path / "c", durability="none")) as engine:
        loaded(engine, "three:1", {"f": b"one\n"}, {"f": b"two\n"}, {"f": bytes(10)},
               {"g": hardlink("f"), "s": symlink("f")})  # fmt: skip
        async with peeling(engine, "three:1", path=b"f") as it:
            await it.press("d")
            assert "layer 2 ↔ 3" in it.text and "(10B that are no text)" in it.text
            await it.press("left_square_bracket")
            assert "layer 1 ↔ 3" in it.text, "any two, as the slider has two ends"
            await it.press("comma")
            assert "layer 1 ↔ 2" in it.text and "one" in it.text and "two" in it.text
            await it.press("left_square_bracket", "comma", "right_square_bracket")
            assert "layer 1 ↔ 2" in it.text, "there is nothing below, and one is never beside itself"
            await it.press("full_stop", "right_square_bracket")
            assert "layer 2 ↔ 3" in it.text
            await it.press("escape", "comma", "comma", "d")
            assert "layer 1 ↔ 2" in it.text, "the copies at the slider's place"


@by_hand
async def test_long_lines_are_moved_sideways(tmp_path: Path) -> None:
    with Engine(Config(root=tmp_path / "root", docker_config=tmp_path / "c", durability="none")) as engine:
        line = "".join(f"{number:9}." for number in range(20))
        loaded(engine, "long:1", {"f": f"{line}\nshort\n".encode()}, {"f": f"{line}!\nshort\n".encode()})
        async with peeling(engine, "long:1", (60, 10), path=b"f") as it:
            await it.press("v", "right", "l")
            assert it.pane_lines()[0].startswith("     1         4.") and it.pane_lines()[1].strip() == "2"
            await it.press("left", "h", "h")
            assert it.pane_lines()[0].startswith("     1         0.")
            await it.press(*["right"] * 30)
            assert it.pane_lines()[0].endswith("       19.!")
            await it.press("d", *["right"] * 30)
            assert it.pane_lines()[0].rstrip().endswith("       19.!")
            await it.press("left")
            assert "       17." in it.pane_lines()[0]


def content(data: bytes, folder: Path) -> Content:
    path = folder / "file"
    path.write_bytes(data)
    return Content(path.open("rb"))


def test_how_a_file_is_best_shown(tmp_path: Path) -> None:
    for data, mode in (
        (b"text\n", TEXT), ("grüße\t\x1b[31m".encode(), TEXT), (b"", TEXT), (b"\x7fELF\0", HEX),
        (bytes(range(1, 30)), HEX), (tar_of("x"), ARCHIVE), (zip_of("x"), ARCHIVE),
        (b"\x1f\x8b\x08 broken", ARCHIVE), (b"PK\x03\x04 broken", ARCHIVE),
    ):  # fmt: skip
        found = content(data, tmp_path)
        assert found.guess() == mode, data[:20]
        for each in (TEXT, HEX, ARCHIVE):
            found.read(each)
            for line in range(found.count(each)):
                found.spans(each, line, 40)
        found.close()


def test_damaged_archives_tell_what_could_be_read(tmp_path: Path) -> None:
    found = content(tar_of(*(f"f{number}" for number in range(50)))[:-40], tmp_path)
    found.read(ARCHIVE)
    assert "no" in found.members[-1][1]
    found.close()
    found = content(b"PK\x03\x04" + b"x" * 100, tmp_path)
    found.read(ARCHIVE)
    assert found.members == [("", "no archive that can be read: File is not a zip file")]
    found.close()


def test_lines_of_a_hostile_text_are_lines() -> None:
    data = b"a\x1b[2Jb\r\nc\td\n\xff\xfe\n\xe2\x80\xaeabc\n\xe2\x80\xa8x\n\x85"
    lines = text_lines(data)
    assert lines == ["a\\x1b[2Jb", "c       d", "\\xff\\xfe", "\\u202eabc", "\\u2028x", "\\x85"]
    assert all(char.isprintable() for line in lines for char in line)


def test_differences_of_long_texts_stop_somewhere() -> None:
    pair = Pair(["x"] * 30_000, ["x"] * 30_000)
    assert pair.cut and not pair.changes
    pair = Pair(["a", "b"], ["a", "c", "d"])
    assert [row[0] for row in pair.rows] == [" ", "M", "M"] and pair.first == 1
    assert io.StringIO("".join(text for text, _ in pair.spans(1, 40))).getvalue().count("M") == 1
