"""`veneer system migrate`, and what `info` and `system df` say of stores with several drivers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Veneer
from veneer.config import Config
from veneer.store.store import Store

DATA = Path(__file__).parent / "golden"

pytestmark = pytest.mark.usefixtures("root_only")


@pytest.fixture
def app(veneer: Veneer) -> Veneer:
    """A store with gold/app:1 of two layers, with overlay2."""
    if "overlay2 usable" not in veneer("info").text:
        pytest.skip("overlay2 does not work here")
    assert veneer("--storage-driver", "overlay2", "load", "-i", str(DATA / "chain.tar.gz")).code == 0
    return veneer


def info(app: Veneer, *words: str) -> dict[str, str]:
    lines = app(*words, "info").text.splitlines()
    return {key.strip(): value for key, _, value in (line.partition(": ") for line in lines)}


def test_a_dry_run_tells_what_it_takes(app: Veneer) -> None:
    told = app("system", "migrate", "--to", "vfs", "--dry-run")
    assert told.code == 0
    first, disk, free = told.text.splitlines()
    assert first == "Would move 2 layers and 0 containers to vfs"
    assert disk.startswith("On the disk: ") and " now, and up to " in disk
    assert free.startswith("Free: ")
    assert info(app)["Storage Driver"] == "overlay2"


def test_everything_moves_and_info_says_where_to(app: Veneer) -> None:
    told = app("system", "migrate", "--to", "vfs")
    assert (told.code, told.err) == (0, "")
    assert "Moved 2 layers and 0 containers to vfs\nOn the disk: " in told.text
    facts = info(app)
    assert facts["Storage Driver"] == "vfs"
    assert facts["vfs holds"] == "2 layers"
    assert facts["Chosen"].startswith("vfs because it is this data root's: ")
    assert "overlay2 holds" not in facts
    assert app("history", "gold/app:1").code == app("system", "check", "--deep").code == 0


def test_quiet_is_quiet_and_json_is_json(app: Veneer) -> None:
    assert app("system", "migrate", "--to", "vfs", "-q").text == ""
    document = json.loads(app("system", "migrate", "--to", "overlay2", "--format", "json").text)
    assert (document["To"], document["Layers"], document["Left"], document["DryRun"]) == ("overlay2", 2, [], False)
    assert document["BytesAfter"] > 0
    assert app("system", "migrate", "--to", "vfs", "--dry-run", "--format", "{{.Layers}}").text == "2\n"


def test_a_template_that_is_none_moves_nothing(app: Veneer) -> None:
    for template in ("{{.Bad}}", "{{"):
        assert app("system", "migrate", "--to", "vfs", "--format", template).code != 0
    assert info(app)["Storage Driver"] == "overlay2"


def test_a_migration_that_was_cut_off_is_told(app: Veneer) -> None:
    with Store.open(Config(root=app.root)) as store, store.catalog.transaction() as transaction:
        transaction.execute("INSERT INTO setting VALUES ('migrating', 'vfs')")
    told = "a migration to vfs was cut off (2 layers still with overlay2): veneer "
    assert info(app)["Migration"].startswith(told)
    assert told in app("info", "--format", "{{json .Warnings}}").text and told in app("info").err
    assert f"hint: {told}" in app("system", "df").err
    found = app("system", "check")
    assert (found.code, "migration-cut-off" in found.text) == (0, True)
    assert f"hint: {told}" in found.err
    assert app("system", "migrate", "--to", "vfs", "--quiet").code == 0
    assert "Migration" not in info(app)
    assert app("info", "--format", "{{json .Warnings}}").text == "[]\n"


def test_an_image_that_is_too_deep_for_its_driver_is_told_when_it_comes(
    veneer: Veneer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("veneer.drivers.overlay2.Overlay2.max_lowers", 1)
    loaded = veneer("--storage-driver", "overlay2", "load", "-q", "-i", str(DATA / "chain.tar.gz"))
    assert loaded.code == 0
    assert "Warning: 2 layers are more than the 1 that overlay2 can stack" in loaded.err
    assert "veneer system migrate --to vfs" in loaded.err


def test_an_image_that_is_too_deep_for_a_container_is_told_when_it_comes(
    veneer: Veneer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("veneer.drivers.overlay2.Overlay2.max_lowers", 2)
    loaded = veneer("--storage-driver", "overlay2", "load", "-q", "-i", str(DATA / "chain.tar.gz"))
    assert loaded.code == 0
    assert "Warning: 2 layers are all that overlay2 can stack, one less than a container needs" in loaded.err


def test_kept_copies_are_counted(app: Veneer) -> None:
    assert "Layer Copies" not in app("system", "df").text
    app("system", "migrate", "--to", "vfs", "--keep", "-q")
    assert info(app)["overlay2 holds"] == "0 layers, 2 copies of layers that another serves"
    (line,) = [line for line in app("system", "df").text.splitlines() if line.startswith("Layer Copies")]
    assert line.split()[-2:] == ["11B", "(100%)"]
    assert "Copies of layers with another driver: 11B" in app("system", "df", "-v").text
    app("system", "migrate", "--to", "vfs", "-q")
    assert "overlay2 holds" not in info(app)


def test_one_store_many_drivers(app: Veneer) -> None:
    other = app("--storage-driver", "vfs", "import", str(DATA / "rows.tar.gz"), "other:1")
    assert other.code == 0
    facts = info(app, "--storage-driver", "vfs")
    assert (facts["Storage Driver"], facts["vfs holds"], facts["overlay2 holds"]) == ("vfs", "1 layer", "2 layers")
    assert facts["Chosen"].startswith("vfs because it was asked for (flag): ")
    assert info(app)["Storage Driver"] == "overlay2"
    assert json.loads(app("inspect", "other:1").text)[0]["GraphDriver"]["Name"] == "vfs"
    assert json.loads(app("inspect", "gold/app:1").text)[0]["GraphDriver"]["Name"] == "overlay2"


def test_a_setting_that_says_otherwise_is_told(app: Veneer) -> None:
    told = app("--storage-driver", "overlay2", "system", "migrate", "--to", "vfs", "-q")
    assert told.code == 0
    assert told.err == "Warning: new layers go to overlay2 as long as that is asked for (flag)\n"


def test_what_cannot_be_is_said(app: Veneer) -> None:
    nowhere = app("system", "migrate")
    assert nowhere.code == 1 and "say where to: --to DRIVER" in nowhere.err
    unknown = app("system", "migrate", "--to", "zfs")
    assert unknown.code == 1 and "unknown storage driver 'zfs'" in unknown.err and "known drivers: " in unknown.err


def test_info_says_why_this_driver_and_why_none_of_the_others(veneer: Veneer) -> None:
    facts = info(veneer)
    if facts["Storage Driver"] != "overlay2":
        pytest.skip(facts["Chosen"])
    chosen = facts["Chosen"]
    assert chosen.startswith("overlay2 because it is the first that works: kernel overlay on ")
    assert "; not vfs because overlay2 comes before it; " in chosen
    for name in ("fuse-overlayfs", "erofs", "aufs"):
        usable = f"{name} usable" in facts
        behind = "overlay2 comes before it" if name == "fuse-overlayfs" else "it is taken only where it is asked for"
        why = behind if usable else facts[f"{name} not usable"]
        assert f"; not {name} because {why}" in chosen
    assert (facts["Supports d_type"], facts["Native Overlay Diff"], facts["userxattr"]) == ("true", "true", "false")


def test_a_driver_that_is_asked_for_and_cannot_be_had_is_no_other_one(veneer: Veneer) -> None:
    for name in ("zfs", "overlay", "../overlay2"):
        for words in (["info"], ["images"], ["layer", "ls"], ["system", "df"], ["system", "check"],
                      ["load", "-i", str(DATA / "chain.tar.gz")]):  # fmt: skip
            done = veneer("--storage-driver", name, *words)
            assert (done.code, done.text, done.err.splitlines()) == (
                1,
                "",
                [
                    f"Error: unknown storage driver {name!r}",
                    "hint: known drivers: overlay2, fuse-overlayfs, vfs, erofs, aufs",
                ],
            )
    assert veneer("images", "-q").text == ""
