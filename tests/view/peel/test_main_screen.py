"""The first screen, key by key, as somebody presses them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.view.peel.driving import Driven, by_hand, peeling
from veneer.engine.engine import Engine
from veneer.view.peel.panes import WIDE_FILES
from veneer.view.peel.preferences import Preferences


def names(driven: Driven) -> list[str]:
    """The names of the files pane, with their state before them."""
    start = 33 if driven.pane("files").room >= WIDE_FILES else 20
    return [line[0] + " " + line[start:].strip().split("  ")[0] for line in driven.pane_lines("files")]


def here(driven: Driven) -> str:
    """The path that the cursor is on."""
    return driven.peel.path.decode()


def ends(driven: Driven) -> tuple[int, int]:
    return driven.peel.since, driven.peel.at


@by_hand
async def test_the_slider_has_two_ends_and_all_follows(peel_engine: Engine) -> None:
    async with peeling(peel_engine, "shop:1") as it:
        assert ends(it) == (3, 4)
        assert "▏1──2──3──[4]▕" in it.text and "since 3 … at 4" in it.text
        await it.press("left")
        assert ends(it) == (2, 3)
        assert it.pane("layer").border_title == "3 Layer 3"
        assert names(it) == ["· ▸ usr/", "M ▸ opt/", "M ▸ etc/", "D ▸ var/"] or "var" in it.text
        await it.press("h", "comma", "left", "left")
        assert ends(it) == (0, 1), "peeled to the base, and no further"
        assert all(name.startswith("A ") for name in names(it))
        await it.press("right", "l", "full_stop", "right")
        assert ends(it) == (3, 4)
        await it.press("a")
        assert ends(it) == (0, 4) and "all so far" in it.text and "▏1━━2━━3━━[4]▕" in it.text
        await it.press("comma")
        assert ends(it) == (0, 3), "all so far stays that"
        await it.press("a")
        assert ends(it) == (2, 3)
        await it.press("left_square_bracket")
        assert ends(it) == (1, 3) and "since 1 … at 3" in it.text
        await it.press("full_stop")
        assert ends(it) == (1, 4), "a range's lower end stays where it was put"
        await it.press("right_square_bracket")
        assert ends(it) == (2, 4)


@by_hand
async def test_the_layers_cursor_peels_too_and_steps_unfold(peel_engine: Engine) -> None:
    async with peeling(peel_engine, "shop:1") as it:
        assert [line.split()[1] for line in it.pane_lines("layers")] == ["██████", "ENV", "▏", "▏", "▏", "EXPOSE"]
        await it.press("up")
        assert ends(it) == (2, 3)
        await it.press("k", "up")
        assert ends(it) == (1, 2), "a line of steps is no layer"
        await it.press("space")
        folded = it.pane_lines("layers")
        assert [line.strip().split("  ")[0] for line in folded[1:5]] == [
            "▾ ENV ×2 LABEL", "ENV LANG=C", "ENV PATH=/bin", "LABEL maintainer=nob…",
        ]  # fmt: skip
        await it.press("down", "enter")
        assert len(it.pane_lines("layers")) == 6
        await it.press("home")
        assert ends(it) == (0, 1)
        await it.press("end", "j")
        assert it.pane("layers").cursor == 5
        await it.press("up", "enter")
        assert it.pane("files").has_focus


@by_hand
async def test_bars_are_to_scale_or_logarithmic_and_instructions_wrap_or_not(peel_engine: Engine) -> None:
    async with peeling(peel_engine, "shop:1") as it:
        assert "▏      RUN install" in it.pane_lines("layers")[2]
        await it.press("L")
        assert re.search(r"█[▏▎▍▌▋▊▉█]* +RUN install", it.pane_lines("layers")[2])
        assert "(log)" in it.text
        await it.press("comma", "comma")
        assert "RUN install tool && echo GREETING >" in it.text
        lines = len(it.pane_lines("layer"))
        await it.press("w")
        assert len(it.pane_lines("layer")) < lines and it.pane_lines("layer")[0].endswith("…")
    async with peeling(peel_engine, "shop:1", preferences=Preferences(log=True)) as it:
        assert "(log)" in it.text


@by_hand
async def test_directories_open_and_close(peel_engine: Engine) -> None:
    async with peeling(peel_engine, "shop:1") as it:
        await it.press("2")
        assert names(it) == ["· ▸ usr/", "M ▸ opt/", "· ▸ etc/", "· ▸ var/"]
        await it.press("right", "down", "right")
        assert names(it)[:3] == ["· ▾ usr/", "· ▾ lib/", "· libbig.so"]
        await it.press("down", "left")
        assert here(it) == "usr/lib", "from a file to its directory"
        await it.press("less_than_sign")
        assert names(it)[1] == "· ▸ lib/"
        await it.press("greater_than_sign", "space", "space", "enter", "l", "h")
        assert names(it)[1] == "· ▸ lib/"
        await it.press("asterisk")
        assert "· ▾ lib/" in names(it) and "· ▾ share/" in names(it)
        await it.press("asterisk")
        assert "· ▸ lib/" in names(it) and "· ▸ share/" in names(it)
        await it.press("h", "h")
        assert names(it)[0] == "· ▸ usr/" and len(names(it)) == 4
        await it.press("down", "enter", "j", "j")
        assert here(it) == "opt/data.bin"
        await it.press("G")
        assert here(it) == "var"
        await it.press("pageup")
        assert here(it) == "usr"
        await it.press("pagedown", "b", "end", "home", "pagedown")
        assert here(it) == "var"


@by_hand
async def test_states_are_shown_and_hidden_by_their_letters(peel_engine: Engine) -> None:
    async with peeling(peel_engine, "shop:1") as it:
        await it.press("a", "comma", "2", "f")  # all of the lowest three layers
        await it.say("re:.")
        everything = names(it)
        assert "D " in {name[:2] for name in everything} and "A libbig.so" in everything
        await it.press("D")
        assert "D " not in {name[:2] for name in names(it)}
        assert "show AMP-O·" in it.text
        await it.press("D")
        assert names(it) == everything
        await it.press("left_square_bracket")  # nothing to be seen below 0
        assert ends(it) == (0, 3)
        await it.press("right_square_bracket", "right_square_bracket")
        assert ends(it) == (2, 3)
        found = {name[2:].strip(" ▾▸"): name[0] for name in names(it)}
        assert found["alt/"] == "O" and found["lists/"] == "D" and found["libbig.so"] == "·" and found["share/"] == "M"
        for key in "AMDO":
            await it.press(key)
        assert "show --P--·" in it.text
        await it.press("U")
        assert {name[0] for name in names(it)} == {"M"} and all(name.endswith("/") for name in names(it)), (
            "the way down"
        )
        await it.press("M", "P")
        assert "show -M----" in it.text


@by_hand
async def test_metadata_alone_is_told_from_content(peel_engine: Engine) -> None:
    async with peeling(peel_engine, "shop:1", (140, 40), path=b"usr/lib/libsmall.so", ends=(2, 1)) as it:
        assert here(it) == "usr/lib/libsmall.so"
        line = it.pane_lines("files")[it.pane("files").cursor]
        assert line.startswith("P ") and "0600*" in line and "same bytes: " in line and "mode" in line
        history = it.pane_lines("history")
        assert history[0].startswith("  1 A") and "0644 0:0" in history[0] and "ADD … /" in history[0]
        assert history[1].startswith("  2 P") and "(mode" in history[1]
        await it.press("2")
        while here(it) != "etc/motd":
            await it.press("slash")
            await it.say("motd")
        history = it.pane_lines("history")
        assert history[1].startswith("  2 M") and "← wastes 8B in layer 1" in history[1]
        assert history[-1].strip() == "28B stored, 20B to be seen"


@by_hand
async def test_files_are_sorted_by_what_one_likes_and_small_ones_hidden(peel_engine: Engine) -> None:
    async with peeling(peel_engine, "shop:1") as it:
        await it.press("2", "s")
        assert "sort name" in it.text and [name[4:] for name in names(it)] == ["etc/", "opt/", "usr/", "var/"]
        await it.press("s")
        assert "sort waste" in it.text and [name[4:] for name in names(it)] == ["var/", "opt/", "etc/", "usr/"]
        await it.press("s")
        assert "sort layer" in it.text and names(it)[0].endswith("opt/")
        await it.press("s", "m")
        assert "sort size" in it.text and "from 1MB" in it.text
        assert [name[4:] for name in names(it)] == ["usr/"]
        await it.press("m")
        assert len(names(it)) == 4


@by_hand
async def test_find_jumps_and_keeps_what_is_around(peel_engine: Engine) -> None:
    async with peeling(peel_engine, "shop:1") as it:
        await it.press("slash")
        await it.say("*.so")
        assert here(it) == "usr/lib/libbig.so" and it.pane("files").has_focus
        assert "1 of 3: /usr/lib/libbig.so" in it.text
        assert "· ▸ etc/" in names(it)
        await it.press("n")
        assert here(it) == "usr/lib/libsmall.so"
        await it.press("n", "n")
        assert here(it) == "usr/lib/libbig.so"
        await it.press("N")
        assert here(it) == "usr/lib/same.so"
        await it.press("slash")
        await it.say("re:t[ow]")
        assert here(it) in ("opt/tool", "var/lists/two")
        await it.press("slash")
        await it.say("var/lists/ONE")
        assert here(it) != "var/lists/one" and "var/lists/ONE is nowhere" in it.text
        await it.press("slash")
        await it.say("re:(")
        assert "re:(" in it.text
        await it.press("slash", "escape")
        assert it.screen == "Main"


@by_hand
async def test_filter_leaves_only_what_matches(peel_engine: Engine) -> None:
    async with peeling(peel_engine, "shop:1") as it:
        await it.press("f")
        await it.say("greeting")
        assert names(it) == ["M ▾ opt/", "M greeting.txt"]
        assert "filter greeting (1)" in it.text
        await it.press("f")
        await it.say("no such thing")
        assert "is nowhere" in it.text and len(names(it)) == 2
        await it.press("escape")
        assert len(names(it)) == 4
        await it.press("f")
        await it.say("etc/*")
        assert names(it)[0] == "· ▾ etc/"
        await it.press("f")
        await it.say("")
        assert len(names(it)) > 2 and "filter" not in it.pane("files").border_title  # type: ignore[operator]


@by_hand
async def test_a_history_leads_to_the_layer_that_did_it(peel_engine: Engine) -> None:
    async with peeling(peel_engine, "shop:1", path=b"etc/motd") as it:
        await it.press("4", "down", "enter")
        assert ends(it) == (1, 2) and here(it) == "etc/motd"
        await it.press("H", "up", "enter")
        assert ends(it) == (0, 1) and here(it) == "etc/motd"


@by_hand
async def test_deleted_directories_can_be_opened(peel_engine: Engine) -> None:
    async with peeling(peel_engine, "shop:1", (140, 40), path=b"var/lists/one") as it:
        line = it.pane_lines("files")[it.pane("files").cursor]
        assert line.startswith("· ") and "60kB" in line and "gone" in line
        await it.press("comma")
        line = it.pane_lines("files")[it.pane("files").cursor]
        assert line.startswith("D ") and "deleted, held in 1" in line
        history = it.pane_lines("history")
        assert "(deleted with /var/lists)" in history[1] and "← wastes 60kB in layer 1" in history[1]


@by_hand
async def test_narrow_terminals_show_one_pane_at_a_time(peel_engine: Engine) -> None:
    async with peeling(peel_engine, "shop:1", (80, 24)) as it:
        assert "[2 Files]" in it.text and it.pane("files").has_focus
        for key, tab, sign in (
            ("1", "[1 Layers]", "ADD … /"),
            ("3", "[3 Layer]", "sha256:"),
            ("2", "[2 Files]", "SIZE"),
        ):
            await it.press(key)
            assert tab in it.text and sign in it.text
        await it.press("tab")
        assert "[3 Layer]" in it.text
        await it.press("tab", "tab")
        assert "[1 Layers]" in it.text, "round again"
        await it.press("shift+tab")
        assert "[4 History]" in it.text
        await it.pilot.resize_terminal(120, 40)
        await it.settle()
        assert "[4 History]" not in it.text and "1 Layers" in it.text and it.pane("history").has_focus
        await it.press("tab")
        assert it.pane("layers").has_focus
        await it.pilot.resize_terminal(90, 30)
        await it.settle()
        assert "[1 Layers]" in it.text and it.pane("layers").has_focus
        await it.press("question_mark")
        await it.pilot.resize_terminal(120, 40)
        await it.press("escape")
        assert "[1 Layers]" not in it.text and "4 History" in it.text, "what was beneath another screen, too"
        await it.pilot.resize_terminal(20, 5)
        await it.settle()
        it.lines()


@by_hand
async def test_the_mouse_chooses_what_keys_choose(peel_engine: Engine) -> None:
    async with peeling(peel_engine, "shop:1") as it:
        await it.pilot.click("#files", offset=(20, 3))
        await it.settle()
        assert here(it) == "opt" and it.pane("files").has_focus
        await it.pilot.click("#files", offset=(20, 3))
        await it.settle()
        assert "M greeting.txt" in names(it)
        await it.pilot.click("#layers", offset=(20, 1))
        await it.settle()
        assert ends(it) == (0, 1)


@by_hand
async def test_themes_turn_and_nothing_is_told_by_colour_alone(
    peel_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with peeling(peel_engine, "shop:1", preferences=Preferences(theme="light")) as it:
        text = it.text
        themes = [it.app.theme]
        for _ in range(3):
            await it.press("t")
            themes.append(it.app.theme)
            assert it.text == text
        assert themes == ["veneer-light", "veneer-contrast", "veneer-dark", "veneer-light"]
    monkeypatch.setenv("NO_COLOR", "1")
    async with peeling(peel_engine, "shop:1") as it:
        colours = {
            segment.style.color.name
            for strip in it.strips() for segment in strip if segment.style and segment.style.color
        }  # fmt: skip
        assert all(len({name[1:3], name[3:5], name[5:7]}) == 1 for name in colours), "greys alone"
        assert it.text == text


@by_hand
async def test_the_path_is_copied_and_the_browser_is_led_to_the_same_place(
    peel_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with peeling(peel_engine, "shop:1", path=b"opt/tool", ends=(4, 1)) as it:
        await it.press("y")
        assert it.app.clipboard == "/opt/tool"
        opened: list[str] = []
        monkeypatch.setattr(it.app, "open_url", opened.append)
        await it.press("o")
        assert opened == ["http://127.0.0.1:8363/i/shop%3A1?since=1&at=4&path=/opt&file=/opt/tool"]
        await it.press("h", "o")
        assert opened[1].endswith("?since=1&at=4&path=/opt")


@by_hand
async def test_files_and_directories_are_exported(
    peel_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tarfile

    monkeypatch.chdir(tmp_path)
    async with peeling(peel_engine, "shop:1", path=b"opt/tool") as it:
        await it.press("e")
        assert "Write /opt/tool to" in it.text
        await it.press("enter")
        assert (tmp_path / "tool").read_bytes() == b"#!/bin/sh\necho tool\n"
        assert "written: tool, 20 bytes" in it.text
        await it.press("h", "e")
        await it.say("there.tar")
        with tarfile.open(tmp_path / "there.tar") as archive:
            assert "tool" in archive.getnames()
        await it.press("e")
        await it.say("no/such/folder/x")
        assert it.screen == "Main" and "no/such/folder/x: No such file or directory" in it.text
        await it.press("e")
        await it.say("there.tar")
        assert "there.tar is there already" in it.text
        await it.press("e")
        await it.say("")
        assert sorted(each.name for each in tmp_path.iterdir()) == ["there.tar", "tool"]


@by_hand
async def test_an_image_without_layers_has_nothing_to_show(peel_engine: Engine) -> None:
    async with peeling(peel_engine, "void:1") as it:
        assert "no layers" in it.text
        keys = (
            "comma full_stop left right 2 enter space v d e y n N asterisk end a left_square_bracket W escape g escape"
        )
        for key in f"{keys} 4 enter i".split():
            await it.press(key)
            it.lines()


@by_hand
async def test_leaving(peel_engine: Engine) -> None:
    for key in ("q", "ctrl+c", "ctrl+q"):
        async with peeling(peel_engine, "clean:1") as it:
            await it.press("escape", "backspace")
            assert it.app.is_running
            await it.pilot.press(key)
        assert it.app.return_value is None and not it.app.is_running
