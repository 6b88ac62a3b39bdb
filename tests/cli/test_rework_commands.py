"""The commands that make a new image of another one: what they print, and how they fail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Veneer
from tests.support.finished import row
from veneer.testing.images import Tree, docker_archive, hardlink, image

BASE: Tree = {"etc/motd": b"base\n"}
MIDDLE: Tree = {"root/.key": b"secret\n" * 100, "root/copy": hardlink("root/.key"), "etc/motd": b"new\n"}
TOP: Tree = {"root/.wh..key": b"", "root/.wh.copy": b""}


@pytest.fixture
def app(veneer: Veneer, tmp_path: Path) -> Veneer:
    """A store with demo/app:1: three layers, four rows."""
    rows = [row("ADD base"), row("COPY . /root"), row("RUN rm /root/.key"), row('CMD ["sh"]', empty=True)]
    made = image(BASE, MIDDLE, TOP, history=rows, config={"Cmd": ["sh"]})
    archive = tmp_path / "app.tar"
    archive.write_bytes(docker_archive((made, ["demo/app:1"])))
    assert veneer("load", "-i", str(archive)).code == 0
    return veneer


def test_squash_tells_what_became_one_and_what_it_saved(app: Veneer) -> None:
    answer = app("image", "squash", "--from", "2", "-t", "demo/app:flat", "demo/app:1")
    assert answer.code == 0
    first, second, third, tagged, identifier = answer.text.splitlines()
    assert first.startswith("Layers 2 to 3 of 3 (2 layers) became one, ")
    assert second == "704B in 5 entries became 4B in 3 entries: 700B had been hidden by later layers"
    assert third.startswith("The old image still has its layers")
    assert tagged == "Tagged demo/app:flat"
    assert app("inspect", "-f", "{{.Id}}", "demo/app:flat").text.strip() == identifier


def test_a_new_image_is_told_as_its_id_json_or_by_template(app: Veneer) -> None:
    quiet = app("image", "squash", "-q", "demo/app:1")
    assert quiet.text.startswith("sha256:") and len(quiet.text.splitlines()) == 1
    shown = json.loads(app("image", "squash", "--format", "json", "demo/app:1").text)
    assert (shown["FirstLayer"], shown["LastLayer"], shown["SizeBefore"], shown["Saved"]) == (1, 3, 709, 705)
    assert app("image", "squash", "--format", "{{.Saved}}", "demo/app:1").text == "705\n"
    assert app("image", "squash", "-m", "flat now", "-t", "demo/app:2", "demo/app:1").code == 0
    assert "flat now" in app("history", "demo/app:2").text


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["squash", "--from", "3", "--to", "2", "demo/app:1"], "from 3 to 2 is no layer: 3 comes after 2"),
        (["squash", "--from", "nope", "demo/app:1"], "has no layer nope"),
        (["squash", "--from", "2", "--to", "2", "demo/app:1"], "is one layer already"),
        (["squash", "nosuch:1"], "No such image: nosuch:1"),
        (["squash", "-t", "UPPER", "demo/app:1"], "repository name must be lowercase"),
        (["purge", "demo/app:1", "/root/.kex"], "/root/.kex is in no layer of the image"),
        (["purge", "demo/app:1", "/"], "'/' is the root of the image"),
    ],
)
def test_a_refusal_names_the_thing_and_makes_nothing(app: Veneer, words: list[str], complaint: str) -> None:
    before = app("images", "-aq").text
    answer = app("image", *words)
    assert answer.code == 1 and not answer.text
    assert complaint in answer.err.splitlines()[0]
    assert app("images", "-aq").text == before


@pytest.mark.parametrize("command", ["squash", "purge"])
def test_help_and_missing_arguments_are_dockers(app: Veneer, command: str) -> None:
    assert f"Usage:  veneer image {command} [OPTIONS] IMAGE" in app("image", command, "--help").text
    answer = app("image", command)
    assert answer.code == 1 and f"'veneer image {command}' requires" in answer.err


def test_purge_tells_what_went_what_stayed_and_who_still_has_it(app: Veneer) -> None:
    answer = app("image", "purge", "-t", "demo/app:clean", "demo/app:1", "/root/.key")
    assert answer.code == 0
    lines = answer.text.splitlines()
    assert lines[0] == "Purged /root/.key, also by the name /root/copy, 700B of content"
    assert lines[1].startswith("Layer 2 (") and lines[1].endswith(": 2 members taken out")
    assert lines[2].startswith("Layer 3 (") and "so it is gone" in lines[2]
    assert lines[3:8] == [
        "1 other layer is the same to the byte",
        "Read again: no layer and no blob of the new image has it",
        "History texts, build arguments in them, environment and labels are as they were; these name it:",
        "  history row 3: RUN rm /root/.key",
        "Still held by demo/app:1: veneer rmi demo/app:1",
    ]
    assert lines[8] == "Tagged demo/app:clean"
    shown = json.loads(app("image", "purge", "--format", "json", "demo/app:1", "root/copy").text)
    assert shown["OtherNames"] == ["/root/.key"] and shown["Holders"][0]["Names"] == ["demo/app:1"]
