"""What docker lacks: layers by name, back from a directory to its images, and dry runs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.cli.conftest import Veneer

DATA = Path(__file__).parent / "golden"


@pytest.fixture
def app(veneer: Veneer) -> Veneer:
    """A store with gold/app:1, its two layers and its chain of intermediate images."""
    assert veneer("load", "-i", str(DATA / "chain.tar.gz")).code == 0
    return veneer


def test_layers_are_listed_parents_first(app: Veneer) -> None:
    header, base, top = app("layer", "ls").text.splitlines()
    assert header.split("  ")[0] == "CHAIN ID"
    assert top.split()[2] == base.split()[0]
    assert app("layer", "ls", "-q").text.split() == [base.split()[0], top.split()[0]]
    rows = [json.loads(line) for line in app("layer", "ls", "--no-trunc", "--format", "json").text.splitlines()]
    assert [row["Size"] for row in rows] == ["5B", "6B"]
    assert all(row["ChainID"].startswith("sha256:") for row in rows)


def test_a_layer_tells_all_its_names_and_its_images(app: Veneer) -> None:
    chain = app("layer", "ls", "-q").text.split()[1]
    (layer,) = json.loads(app("layer", "inspect", chain).text)
    assert os.listdir(layer["Directory"]) == ["srv"]
    assert layer["Size"] == 6
    assert ["gold/app:1"] in [image["RepoTags"] for image in layer["Images"]]
    assert [blob["MediaType"] for blob in layer["Blobs"]]
    for name in (layer["DiffID"], layer["DiffID"][7:19], layer["Blobs"][0]["Digest"], layer["ChainID"]):
        assert json.loads(app("layer", "inspect", "--format", "json", name).text)["ChainID"] == layer["ChainID"]
    assert app("inspect", "--type", "layer", "-f", "{{.Size}}", chain).text == "6\n"
    missing = app("layer", "inspect", "beef")
    assert (missing.code, missing.text) == (1, "[]\n")
    assert missing.err.startswith("Error: No such layer: beef\n")
    for nothing in ("", "sha256:"):
        assert app("layer", "inspect", nothing).err.startswith(f"Error: No such layer: {nothing}\n")


def test_which_leads_from_a_path_to_layer_and_images(app: Veneer) -> None:
    chain = app("layer", "ls", "-q").text.split()[0]
    (layer,) = json.loads(app("layer", "inspect", chain).text)
    inside = str(Path(layer["Directory"]) / "etc" / "hostname")
    header, row = app("layer", "which", inside).text.splitlines()
    assert header.split()[0] == "CHAIN"
    assert row.startswith(chain)
    assert "gold/base:1" in row and "gold/app:1" in row
    app("tag", "gold/app:1", "gold/other:2")
    assert "gold/app:1, gold/other:2" in app("layer", "which", inside).text
    nowhere = app("layer", "which", "/etc/hostname")
    assert nowhere.code == 1 and nowhere.err.startswith("Error: /etc/hostname belongs to no layer of ")


def test_history_tells_the_layer_of_each_row(app: Veneer) -> None:
    rows = [json.loads(line) for line in
            app("history", "--layers", "--no-trunc", "--format", "json", "gold/app:1").text.splitlines()]  # fmt: skip
    layers = json.loads(app("inspect", "-f", "{{json .RootFS.Layers}}", "gold/app:1").text)
    assert [row["DiffID"] for row in reversed(rows) if row["DiffID"]] == layers
    assert all(Path(row["Directory"]).is_dir() for row in rows if row["DiffID"])
    assert all(row["Blob"].startswith("sha256:") for row in rows if row["DiffID"])
    assert "DiffID" not in json.loads(app("history", "--format", "json", "gold/app:1").text.splitlines()[0])
    assert app("history", "--layers", "gold/app:1").text.splitlines()[0].split()[-1] == "DIRECTORY"


def test_a_dry_run_tells_and_does_nothing(app: Veneer) -> None:
    before = app("images", "-a").text, app("layer", "ls").text
    would = app("rmi", "--dry-run", "gold/app:1").text
    assert would.startswith("Would untag: gold/app:1\nWould delete: sha256:")
    assert (app("images", "-a").text, app("layer", "ls").text) == before
    done = app("rmi", "gold/app:1").text
    assert done == would.replace("Would untag", "Untagged").replace("Would delete", "Deleted")


def test_a_dry_prune_tells_what_a_prune_then_does(app: Veneer) -> None:
    app("tag", "gold/base:1", "gold/app:1")
    would = app("image", "prune", "--dry-run").text
    assert would.startswith("Would delete images:\ndeleted: sha256:") and would.endswith("\n\nWould reclaim: 6B\n")
    done = app("image", "prune", "-f").text
    assert done == would.replace("Would delete images", "Deleted Images").replace(
        "Would reclaim", "Total reclaimed space"
    )


def test_a_conflict_names_who_is_in_the_way(app: Veneer) -> None:
    parent = app("inspect", "-f", "{{.Parent}}", "gold/app:1").text.strip()
    answer = app("rmi", parent)
    assert answer.code == 1
    assert "(cannot be forced) - image has dependent child images" in answer.err
    assert "gold/app:1" in answer.err.split("hint:")[1]


def test_prune_asks_first(app: Veneer) -> None:
    question = "WARNING! This will remove all dangling images.\nAre you sure you want to continue? [y/N] "
    assert app("image", "prune", stdin=b"n\n").text == question
    assert app("image", "prune", stdin=b"").text == question + "\n"
    assert app("image", "prune", stdin=b"Y\n").text == question + "Total reclaimed space: 0B\n"
    everything = app("image", "prune", "-a", stdin=b"no\n").text
    assert everything.startswith("WARNING! This will remove all images without at least one container associated")
    assert len(app("images", "-q").text.split()) == 2


def test_system_prune_removes_images_and_litter(app: Veneer) -> None:
    litter = app.root / "blobs" / "sha256" / ("0" * 64)
    litter.write_bytes(b"nobody needs me")
    checked = app("system", "check")
    assert "stray-blob" in checked.text and checked.code == 0
    would = app("system", "prune", "-a", "--dry-run").text
    assert "Would delete from the store:" in would and litter.exists()
    done = app("system", "prune", "-af").text
    assert "Deleted Images:\n" in done
    assert done.splitlines()[-1].startswith("Total reclaimed space: ")
    assert not litter.exists()
    assert app("system", "check").text == "Everything stored is whole.\n"
    assert app("images", "-aq").text == ""


def test_check_finds_damage_and_fails(app: Veneer) -> None:
    blob = app.root / "blobs" / "sha256" / app("images", "-q", "--no-trunc", "gold/app").text.strip()[7:]
    blob.unlink()
    answer = app("system", "check")
    assert answer.code == 1 and "blob-missing" in answer.text
    rows = [json.loads(line) for line in app("system", "check", "--format", "json").text.splitlines()]
    assert "blob-missing" in {row["Code"] for row in rows if row["Damage"] == "yes"}


def test_disk_usage_adds_up(app: Veneer) -> None:
    summary = app("system", "df").text.splitlines()
    assert summary[1] == "Images          2         0         11B       11B (100%)"
    assert summary[5].startswith("Blobs           -         -         ")
    verbose = app("system", "df", "-v").text
    assert "gold/app     1         3566ea4f520b" in verbose or "gold/app     1" in verbose
    assert "Layers usage: 11B = 6B unique + 5B shared\n" in verbose
    rows = [json.loads(line) for line in app("system", "df", "-v", "--format", "json").text.splitlines()]
    assert {(row["Repository"], row["SharedSize"], row["UniqueSize"]) for row in rows} == {
        ("gold/app", "5B", "6B"), ("gold/base", "5B", "0B"),
    }  # fmt: skip


def test_info_tells_where_settings_come_from(app: Veneer) -> None:
    shown = app("info").text
    assert "Images: 8\n" in shown
    assert f" root: {app.root} (flag)\n" in shown
    assert " durability: lazy (default)\n" in shown
    assert app("info", "-f", "{{.Driver}} {{.Images}}").text.split()[1] == "8"
    assert json.loads(app("system", "info", "-f", "json").text)["DockerRootDir"] == str(app.root)


def test_info_tells_of_a_setting_that_cannot_be(app: Veneer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or nobody would learn where it stands."""
    monkeypatch.setenv("VENEER_FUSE_OVERLAYFS_MOUNTER", "progam")
    shown = app("info")
    assert shown.code == 0
    assert " fuse-overlayfs not usable: fuse_overlayfs_mounter cannot be 'progam' (one of veneer, program" in shown.text
    assert " fuse_overlayfs_mounter: progam (VENEER_FUSE_OVERLAYFS_MOUNTER)\n" in shown.text


def test_completion_knows_commands_options_and_images(app: Veneer) -> None:
    assert app("__complete", "hi").text == "history\n"
    assert app("__complete", "image", "pr").text == "prune\n"
    assert "--no-trunc\n" in app("__complete", "images", "--").text
    assert app("__complete", "rmi", "gold/a").text == "gold/app:1\n"
    assert app("__complete", "image", "rm", "-f", "gold/b").text == "gold/base:1\n"
    assert app("__complete", "run", "--rm", "gold/a").text == app("__complete", "image", "cat", "gold/a").text
    assert app("__complete", "run", "gold/a").text == app("__complete", "container", "create", "gold/a").text
    assert app("__complete", "container", "run", "gold/a").text == "gold/app:1\n"
    assert app("__complete", "rm", "gold/").text == app("__complete", "image", "build", "gold/").text == ""
    assert app("__complete", "network", "inspect", "no").text == "none\n"
    assert app("__complete", "completion", "").text == "bash\nfish\nzsh\n"
    assert app("__complete", "nosuch", "").text == ""
    assert "complete -o default -F _veneer veneer" in app("completion", "bash").text
    assert app("completion", "tcsh").code == 1
