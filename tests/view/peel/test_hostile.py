"""Names, texts and shapes that nobody means well with: nothing breaks the screen, everything stays findable.

`Driven.lines` holds every screen to exactly as many cells as the terminal has, and to printable characters.
"""

from __future__ import annotations

import io
import os

import pytest

from tests.view.peel.driving import Driven, by_hand, peeling
from tests.view.peel.samples import EVIL_NAMES
from veneer.changeset.entry import Kind
from veneer.changeset.index import IndexBuilder, LayerIndex
from veneer.engine.engine import Engine
from veneer.engine.looking.subject import Documents, Subject
from veneer.testing.images import image
from veneer.view.peel.spans import name_text, plain
from veneer.view.peel.tree import pattern
from veneer.view.texts import spelled_out

FILES = sorted(os.fsencode(f"d/{name.replace('/', '') if name == EVIL_NAMES[0] else name}") for name in EVIL_NAMES)


async def walked(driven: Driven) -> None:
    """Every screen, every pane, a way through each."""
    for key in ("1", "2", "3", "4"):
        await driven.press(key)
        driven.lines()
    for keys in (
        "W tab tab down enter", "g down down right enter escape escape escape", "i pagedown end escape",
        "question_mark end escape", "2 end v x x x escape escape", "d escape", "e escape", "f escape", "slash escape",
        "c escape", "p escape", "a", "comma",
    ):  # fmt: skip
        for key in keys.split():
            await driven.press(key)
            driven.lines()


@pytest.mark.parametrize("size", [(80, 24), (200, 60)], ids=str)
@by_hand
async def test_no_name_breaks_a_screen(peel_engine: Engine, size: tuple[int, int]) -> None:
    async with peeling(peel_engine, "evil:1", size) as it:
        driven = it.lines()
        assert driven
        await it.press("2", "asterisk", "s")
        it.lines()
        await walked(it)


@by_hand
async def test_every_name_is_found_viewed_and_told_as_it_is(peel_engine: Engine) -> None:
    async with peeling(peel_engine, "evil:1", (200, 70)) as it:
        await it.press("2", "enter")
        lines = it.pane_lines("files")
        texts = [plain(os.fsencode(name).decode("utf-8", "backslashreplace")) for name in EVIL_NAMES]
        for text in texts:
            if "/" not in text and len(text) < 60:
                assert any(text in line for line in lines), text
        assert "[bold red]loud[" in it.text and "<script>alert(1)<" in it.text
        assert "\\x1b[2J\\x1b[31m" in it.text and "\\u202etxt.exe" in it.text and "bad\\xff\\xfe" in it.text
        names = (
            " ",
            "line\nfeed",
            "esc\x1b[2J\x1b[31m",
            "bad\udcff\udcfe",
            "[@click=app.quit]press me[",
            "rtl\u202etxt.exe",
        )
        for name in names:
            path = os.fsencode(f"d/{name}")
            await it.press("slash")
            await it.say("/" + name_text(path))
            assert it.peel.path.startswith(path), name
            assert "\x1b" not in it.told and "\n" not in it.told
            it.lines()
            await it.press("v")
            it.lines()
            await it.press("escape")
        assert it.app.is_running


@by_hand
async def test_labels_commands_and_rows_of_the_history_are_texts(peel_engine: Engine) -> None:
    async with peeling(peel_engine, "evil:1", (120, 40)) as it:
        assert "COPY line\\nfeed \\u202e /" in it.text or "COPY line" in it.text
        await it.press("i")
        text = "\n".join(it.pane_lines())
        assert (
            "</script>\\x1b[31m" in text and "[bold]key[/]" in text and "line\\nfeed" in text and "\\u202eabc" in text
        )
        await it.press("escape", "1", "home")
        assert "RUN \\x1b[2J [bold]x[/] yyyy" in it.text


@by_hand
async def test_questions_with_hostile_names_in_them(peel_engine: Engine) -> None:
    for path in (b"d/[bold red]loud[/]", os.fsencode("d/bad\udcff\udcfe"), b"d/line\nfeed", b"d/-rf"):
        async with peeling(peel_engine, "evil:1", (80, 24), path=path) as it:
            if it.peel.path != path:
                continue  # "[/]" is two directories
            await it.press("e")
            it.lines()
            assert "Write /d/" in it.text
            await it.press("escape", "y", "c")
            it.lines()
            await it.say("[/] \x1b[31m \udcff,no:such")
            it.lines()


def test_spaces_around_a_name_are_seen() -> None:
    shown = {
        b" ": "\\x20",
        b" a b ": "\\x20a b\\x20",
        b"a b": "a b",
        b"": "",
        b"  ": "\\x20\\x20",
        b"a  ": "a\\x20\\x20",
    }
    for name, text in shown.items():
        assert name_text(name) == text and spelled_out(text.encode()) == name


def built(*entries: tuple[bytes, Kind, int]) -> LayerIndex:
    builder = IndexBuilder()
    for path, kind, size in entries:
        builder.add(path, kind, 0o644, size=size, digest=bytes(32))
    out = io.BytesIO()
    builder.write(out)
    return LayerIndex.from_bytes(out.getvalue())


def subject_of(*indexes: LayerIndex) -> Subject:
    """A subject over indexes alone."""
    sample = image(*({f"layer-{number}": b""} for number in range(len(indexes))))
    documents = Documents("made:1", "archive", sample.parsed, (), sample.manifest, None, None, (None,) * len(indexes))
    return Subject(documents, lambda: indexes)


@by_hand
async def test_a_path_of_four_thousand_bytes(peel_engine: Engine) -> None:
    path = b"/".join([b"d" * 250] * 16)
    subject = subject_of(built((path, Kind.REGULAR, 9)), built((path, Kind.WHITEOUT, 0)))
    async with peeling(peel_engine, subject, (80, 24), path=path, ends=(1, 0)) as it:
        assert it.peel.path == path
        await it.press("y")
        assert it.app.clipboard == "/" + path.decode()
        for key in ("4", "slash", "escape", "W", "tab", "tab", "escape", "g", "right"):
            await it.press(key)
            it.lines()


@by_hand
async def test_five_hundred_directories_deep(peel_engine: Engine) -> None:
    deep = b"/".join([b"x"] * 500)
    subject = subject_of(built((deep + b"/f", Kind.REGULAR, 5)), built((deep + b"/f", Kind.REGULAR, 6)))
    async with peeling(peel_engine, subject, (80, 24), path=deep + b"/f") as it:
        assert it.peel.path == deep + b"/f" and it.pane("files").count == 501
        assert "(500)" in it.text, "how deep it is, where nothing can be indented any more"
        for key in ("home", "less_than_sign", "space", "end", "4", "g", "down", "down", "escape"):
            await it.press(key)
            it.lines()


@by_hand
async def test_a_directory_of_many_names_is_read_without_stopping_the_keys(peel_engine: Engine) -> None:
    count = 11_000
    subject = subject_of(built(*((b"d/%05d" % number, Kind.REGULAR, number) for number in range(count))))
    async with peeling(peel_engine, subject, (100, 30)) as it:
        await it.press("2", "enter")
        assert it.pane("files").count == 1002
        assert f"... {count - 1000} more" in it.pane_lines("files")[-1]
        await it.press("end", "end")
        assert it.pane("files").count == 10_002, "End on the last line shows ten times as many"
        await it.press("end", "end")
        assert it.pane("files").count == count + 1
        await it.press("slash")
        await it.say("00007")
        assert it.peel.path == b"d/00007"
        await it.press("f")
        await it.say("*99")
        assert it.pane("files").count == 111, "d, and those in it"
        await it.press("g", "down", "end")
        it.lines()


def test_bars_and_texts_have_exactly_the_cells_they_are_given() -> None:
    from veneer.view.cells import width
    from veneer.view.peel.spans import bar, cell, cut, cut_middle, wrapped

    for name in EVIL_NAMES:
        text = plain(name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))
        assert text.isprintable() and "\n" not in text
        for room in (0, 1, 2, 3, 5, 8, 13, 40, 300):
            assert width(cell(text, room)) == room == width(cell(text, room, right=True))
            assert width(cut(text, room)) <= room and width(cut_middle(text, room)) <= room
            if room:
                assert all(width(line) <= max(room, 2) for line in wrapped(text, room))
    for value in (0, 1, 7, 10**6, 10**12):
        for room in (0, 1, 6, 10):
            assert len(bar(value, 10**6, room)) == room == len(bar(value, 10**6, room, log=True))
    assert bar(1, 10**12, 6).strip(), "something always shows something"


@pytest.mark.parametrize("text, name, found", [
    ("*\\*", b"d/back\\slash", True), ("*\\d*", b"x\\d", True), ("*\\d*", b"x1", False), ("*\\n*", b"line\nfeed", True),
    ("*\\xff", b"bad\xff", True), ("*.txt", b"a/b.TXT", True), ("*.txt", b"a/b_txt", False),
])  # fmt: skip
def test_a_backslash_in_a_pattern_is_one_in_a_name(text: str, name: bytes, found: bool) -> None:
    assert bool(pattern(text).fullmatch(name)) is found
