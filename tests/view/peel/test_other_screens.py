"""The screens behind the first one: waste, map, images side by side, what an image says, keys, commands."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from tests.view.peel.driving import Driven, by_hand, peeling
from veneer.engine.engine import Engine
from veneer.testing.images import docker_archive, image, oci_archive
from veneer.view.peel.preferences import Preferences


def body(driven: Driven) -> list[str]:
    return [line.strip() for line in driven.pane_lines()]


@by_hand
async def test_waste_by_cause_by_layer_by_path_and_into_each(peel_engine: Engine) -> None:
    async with peeling(peel_engine, "shop:1", (100, 30)) as it:
        await it.press("W")
        assert "Waste 102kB of 3.11MB stored · by [cause]  layer  path" in it.text
        assert body(it)[0].split()[0] == "100kB" and " 2 1      deleted" in body(it)[0]
        assert " deleted: delete it in the same RUN that made it" in it.text
        await it.press("enter")
        assert "deleted only" in it.text and "/var/lists" in body(it)[0]
        await it.press("tab")
        assert "[cause]" in it.text, "round again, of all waste"
        await it.press("tab")
        assert "by cause  [layer]  path" in it.text
        assert body(it)[0].endswith("3 RUN rm -r /var/lists /usr/share")
        await it.press("down", "enter")
        assert "by layer 4 only" in it.text and len(body(it)) == 1 and "/opt/greeting.txt" in body(it)[0]
        assert "overwritten by layer 4: write it once" in it.text
        await it.press("enter")
        assert it.screen == "Main" and it.peel.path == b"opt/greeting.txt"
        assert (it.peel.since, it.peel.at) == (3, 4) and it.pane("files").has_focus


@by_hand
async def test_waste_of_an_image_that_wastes_nothing(peel_engine: Engine) -> None:
    async with peeling(peel_engine, "clean:1") as it:
        await it.press("W")
        assert body(it) == ["Nothing: every byte stored is to be seen."]
        await it.press("enter", "tab", "enter", "down", "escape")
        assert it.screen == "Main"


@by_hand
async def test_the_map_is_walked_by_arrows(peel_engine: Engine) -> None:
    async with peeling(peel_engine, "shop:1") as it:
        await it.press("g")
        assert "Map of / after layer 4" in it.text
        assert body(it)[0].startswith("▏/ 3.01MB") and "usr/ 3.01MB" in body(it)[3]
        assert "/usr: 3.01MB, 6B of waste, layers 1,2, 5 entries in it" in it.text
        await it.press("down", "down")
        assert "/usr/lib/libbig.so: 3MB, layer 1" in it.text
        await it.press("right", "right", "left", "up", "up")
        assert "/usr: " in it.text
        await it.press("enter")
        assert "Map of /usr after" in it.text
        await it.press("enter", "backspace", "backspace", "comma")
        assert "Map of / after layer 3" in it.text
        await it.press("full_stop", "down", "down", "enter")
        assert it.screen == "Main" and it.peel.path == b"usr/lib/libbig.so"
        await it.press("g")
        assert "Map of /usr/lib" in it.text
        await it.press("escape", "escape", "g")
        assert it.screen == "Main"


@by_hand
async def test_a_map_of_one_line_and_of_nothing(peel_engine: Engine) -> None:
    for name in ("void:1", "clean:1"):
        async with peeling(peel_engine, name, (40, 8)) as it:
            await it.press("g", "down", "right", "enter", "left", "up", "up")
            it.lines()


@by_hand
async def test_images_stand_beside_each_other_sharing_layers(peel_engine: Engine) -> None:
    async with peeling(peel_engine, "shop:1", (100, 40)) as it:
        await it.press("c")
        assert "Here: base:1, clean:1, evil:1, shop:2" in " ".join(it.text.split())
        await it.say("shop:2, clean:1 base:1")
        assert "4 images: one box for a shared layer" in it.text
        assert "shop:1 up to layer 4" in it.text
        assert re.search(r"▶A COPY \. /opt +2.22kB", it.text)
        assert "12.3MB" not in it.text and re.search(r"in 6 layers: \S+ \(\d+%\) saved", it.text)
        await it.press("down", "down", "down", "down")
        assert it.pane("journal").border_title == "shop:1 up to layer 1"
        assert re.search(r"▶A ADD layer 0 +3.1MB", it.text), "the base is one box"
        await it.press("up", "enter")
        assert it.screen == "Main" and it.peel.at == 2
        await it.press("c")
        await it.say("shop:2")
        await it.press("d")
        assert it.told == "choose another image's column first"
        await it.press("right", "up", "up", "enter")
        assert it.told == "shop:1 does not have this layer"
        await it.press("d")
        assert it.screen == "Differences" and "shop:1 → shop:2: " in it.text
        assert any(re.search(r"^D +100kB.*|^A .*/var/lists", line) for line in body(it))
        await it.press("down", "escape", "escape")
        assert it.screen == "Main"


@by_hand
async def test_images_of_one_name_are_told_apart(peel_engine: Engine) -> None:
    archive = io.BytesIO(docker_archive((image({"from": b"an archive"}), ["shop:1"])))
    with peel_engine.looking.open(archive=archive) as subject:
        async with peeling(peel_engine, subject) as it:
            await it.press("c")
            await it.say("shop:1")
            assert subject.name == "shop:1" and "2 images" in it.text
            await it.press("right", "d")
            assert it.screen == "Differences" and any("from" in line for line in body(it))


@by_hand
async def test_comparing_with_what_there_is_not(peel_engine: Engine, tmp_path: Path) -> None:
    archive = tmp_path / "other.tar"
    archive.write_bytes(docker_archive((image({"from": b"an archive"}), ["far:1"])))
    async with peeling(peel_engine, "shop:1") as it:
        await it.press("c")
        await it.say("nothing:9")
        assert "nothing:9" in it.told
        await it.press("right", "down", "enter", "d", "escape")
        assert it.screen == "Main"
        await it.press("c")
        await it.say("  ")
        assert it.screen == "Main"


@by_hand
async def test_what_an_image_says_of_itself(peel_engine: Engine) -> None:
    async with peeling(peel_engine, "shop:1") as it:
        await it.press("i")
        lines = body(it)
        for line in (
            "names         shop:1", "platform      linux/amd64", "command       /opt/tool", "user          1000",
            "ports         80/tcp", "environment   LANG=C", "stands on     base:1 (known by layers, 1 of its layers)",
            "org.opencontainers.image.title   Shop  (config)",
        ):  # fmt: skip
            assert line in lines, line
        assert any(line.startswith("not said") and "licenses" in line for line in lines)


@by_hand
async def test_help_lists_the_keys_as_they_are_now(peel_engine: Engine) -> None:
    async with peeling(peel_engine, "shop:1", preferences=Preferences(keys={"waste": "w,ctrl+w", "wrap": "W"})) as it:
        await it.press("question_mark")
        assert "w ctrl+w          What is stored in vain" in body(it)
        assert "W                 Wrap long lines, or not" in body(it)
        await it.press("question_mark", "pagedown", "end", "home", "j", "escape")
        assert it.screen == "Main"
        await it.press("w")
        assert it.screen == "Waste"
        await it.press("escape", "ctrl+w", "escape", "W")
        assert it.screen == "Main", "the old key does what it is bound to now"


def chosen(driven: Driven) -> str:
    """The command that Enter would do, among those found for what is written by now."""
    from textual.command import CommandList

    found = driven.app.screen.query_one(CommandList)
    return "" if found.highlighted is None else str(found.get_option_at_index(found.highlighted).prompt)


@by_hand
async def test_all_commands_are_found_by_name(peel_engine: Engine) -> None:
    async with peeling(peel_engine, "shop:1") as it:
        await it.press("colon")
        assert it.screen == "CommandPalette"
        await it.pilot.press(*"stored in")
        await it.until(lambda: "What is stored in vain" in chosen(it))
        await it.pilot.press("enter")
        await it.until(lambda: it.screen == "Waste")


@by_hand
async def test_another_platform_is_left_for(peel_engine: Engine) -> None:
    both = image({"a": b"1"}), image({"a": b"2"}, platform="linux/arm64")
    peel_engine.images.load(io.BytesIO(oci_archive(("two:1", both))))
    async with peeling(peel_engine, "two:1") as it:
        await it.press("p")
        assert "linux/amd64, linux/arm64" in it.text
        await it.press("escape", "p")
        await it.say("linux/[b]\u202e")
        assert it.told == "not for linux/[b]\\u202e"
        await it.press("p")
        await it.say("linux/arm64")
    assert it.app.return_value == ("platform", "linux/arm64", "")
    async with peeling(peel_engine, "shop:1") as it:
        await it.press("p")
        assert "for no other platform than linux/amd64" in it.told


@by_hand
async def test_an_image_of_an_archive_is_peeled_as_one_of_the_store(peel_engine: Engine) -> None:
    archive = io.BytesIO(docker_archive((image({"d/f": b"text\n"}, {"d/.wh.f": b""}), ["far:1"])))
    with peel_engine.looking.open(archive=archive) as subject:
        async with peeling(peel_engine, subject, path=b"d/f") as it:
            await it.press("v")
            assert "text" in it.text and "/d/f in layer 1" in it.text
            await it.press("escape", "o")
            assert "a browser shows images of the store" in it.told


@by_hand
async def test_an_error_while_reading_ends_it_with_that_error(peel_engine: Engine) -> None:
    from veneer.errors import Corrupt

    with peel_engine.looking.open("shop:1") as subject:

        def broken() -> None:
            raise Corrupt("a layer is not what it says")

        subject._open = broken  # type: ignore[assignment]
        with pytest.raises(AssertionError, match="over"):
            async with peeling(peel_engine, subject) as it:
                await it.until(lambda: not it.app.is_running)
                raise AssertionError("over")
        assert isinstance(it.app.return_value, Corrupt)
