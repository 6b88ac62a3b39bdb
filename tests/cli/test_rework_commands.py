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
        (["rebase", "demo/app:1", "nosuch:1"], "No such image: nosuch:1"),
        (["rebase", "demo/app:1", "demo/app:1"], "nothing tells what image"),
        (["rebase", "--base", "demo/app:1", "demo/app:1", "demo/app:1"], "is built on demo/app:1 already"),
        (["dockerfile", "nosuch:1"], "No such image: nosuch:1"),
    ],
)
def test_a_refusal_names_the_thing_and_makes_nothing(app: Veneer, words: list[str], complaint: str) -> None:
    before = app("images", "-aq").text
    answer = app("image", *words)
    assert answer.code == 1 and not answer.text
    assert complaint in answer.err.splitlines()[0]
    assert app("images", "-aq").text == before


@pytest.mark.parametrize("command", ["squash", "purge", "rebase", "dockerfile"])
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
        f"Still held by demo/app:1: veneer --root {app.root} rmi demo/app:1",
    ]
    assert lines[8] == "Tagged demo/app:clean"
    shown = json.loads(app("image", "purge", "--format", "json", "demo/app:1", "root/copy").text)
    assert shown["OtherNames"] == ["/root/.key"] and shown["Holders"][0]["Names"] == ["demo/app:1"]


@pytest.fixture
def based(app: Veneer, tmp_path: Path) -> Veneer:
    """demo/app:1 on demo/base:1, and demo/base:2 beside it, which has another /etc/motd and an ONBUILD."""
    for number, tree, run in ((1, BASE, {}), (2, {"etc/motd": b"base 2\n"}, {"User": "app", "OnBuild": ["RUN make"]})):
        made = image(tree, history=[row("ADD base")], config={"Cmd": None, **run})
        (tmp_path / "base.tar").write_bytes(docker_archive((made, [f"base/demo:{number}"])))
        assert app("load", "-i", str(tmp_path / "base.tar")).code == 0
    return app


def test_rebase_tells_what_went_where_what_follows_and_what_to_look_at(based: Veneer) -> None:
    answer = based("image", "rebase", "-t", "demo/app:2", "demo/app:1", "base/demo:2")
    assert answer.code == 0, answer.err
    *told, tagged, identifier = answer.text.splitlines()
    assert told == [
        "2 layers and 3 history rows went from base/demo:1 (the base by its layers) to base/demo:2",
        "Follows the new base: User is new: app",
        "WARNING: /etc/motd was changed by the image, and is another one in the new base: the image's stays",
        "WARNING: the new base's ONBUILD RUN make would be carried out by a build, and was not",
    ]
    assert tagged == "Tagged demo/app:2"
    assert based("inspect", "-f", "{{.Id}}", "demo/app:2").text.strip() == identifier


def test_rebase_can_be_asked_beforehand_and_answers_programs(based: Veneer) -> None:
    before = based("images", "-aq").text
    answer = based("image", "rebase", "--dry-run", "--base", "base/demo:1", "demo/app:1", "base/demo:2")
    assert answer.text.startswith("2 layers and 3 history rows would go from base/demo:1 (the base as you say) to")
    shown = json.loads(based("image", "rebase", "--dry-run", "--format", "json", "demo/app:1", "base/demo:2").text)
    assert (shown["Id"], shown["OldBase"]["FoundBy"], shown["Layers"], shown["Rows"]) == ("", "layers", 2, 3)
    assert shown["Changed"] == [{"Key": "User", "Old": "", "New": "app"}]
    assert shown["Hazards"] == [{"Kind": "changed", "Path": "/etc/motd", "Layer": 2, "Severe": False}]
    assert based("images", "-aq").text == before
    quiet = based("image", "rebase", "-q", "demo/app:1", "base/demo:2")
    assert quiet.text.startswith("sha256:") and len(quiet.text.splitlines()) == 1


def test_dockerfile_shows_the_file_and_what_its_layers_hold(based: Veneer, tmp_path: Path) -> None:
    saved = tmp_path / "app.tar"
    assert based("save", "-o", str(saved), "demo/app:1").code == 0
    answer = based("image", "dockerfile", "demo/app:1")
    assert answer.code == 0
    assert answer.text == (
        "# The base was found by its layers, which are the lowest of this image's.\n"
        "FROM base/demo:1\n"
        "# COPY . /root\n"
        "#   /etc/motd 0644 0:0 4B\n"
        "#   /root/.key 0644 0:0 700B\n"
        "#   /root/copy -> /root/.key\n"
        "RUN rm /root/.key\n"
        'CMD ["sh"]\n'
    )
    whole = based("image", "dockerfile", "--base", "scratch", "demo/app:1").text
    assert whole.startswith("FROM scratch\n# ADD base\n#   /etc/motd 0644 0:0 5B\n# COPY . /root\n")
    shown = json.loads(based("image", "dockerfile", "--format", "json", "demo/app:1").text)
    assert (shown["Base"], shown["Dockerfile"]) == ("base/demo:1", answer.text)
    assert [(step["Instruction"], step["Row"], step["Layer"]) for step in shown["Steps"]] == [
        ("", 2, 2), ("RUN rm /root/.key", 3, 3), ('CMD ["sh"]', 4, 0),
    ]  # fmt: skip
    for where in ([], ["--archive", str(saved)]):
        assert based("image", "dockerfile", *where, "demo/app:1").text == answer.text
        refused = based("image", "dockerfile", *where, "--base", "base/demo:2", "demo/app:1")
        assert refused.code == 1 and "is not built on base/demo:2" in refused.err
