"""Containers and images of a store whose layers lie with several drivers: everything works, and goes on while layers
move."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.containers import IMAGE, Yard, until
from tests.support.programs import run
from tests.support.registries import RealRegistry

pytestmark = pytest.mark.usefixtures("root_only")


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    made = Yard(tmp_path)
    if "erofs usable" not in made("info").out:
        pytest.skip("erofs does not work here")
    return made


def test_a_container_goes_on_while_its_image_moves_and_follows_when_it_is_stopped(yard: Yard) -> None:
    # Written once, though it is started again; and there is no file of that name without all that is in it.
    yard.run("busy", "sh", "-c", "test -e /before || { echo before > /new; mv /new /before; }; sleep 1000")
    until(lambda: yard("exec", "busy", "test", "-e", "/before", check=False).code == 0)
    yard("create", "--name", "idle", "--network", "none", IMAGE, "cat", "/etc/hostname")
    told = yard("system", "migrate", "--to", "erofs", check=False)
    assert told.code == 1
    ours = f"veneer --root {yard.root}"
    assert f"container busy stays: it is running; {ours} stop busy; then {ours} system migrate again" in told.err
    assert yard("exec", "busy", "cat", "/before").out == "before\n"
    assert yard("run", "--rm", "--network", "none", IMAGE, "echo", "new").out == "new\n"
    assert "A /before" in yard("diff", "busy").out
    names = dict(each.split() for each in yard("ps", "-a", "--format", "{{.Names}} {{.ID}}").out.splitlines())
    drivers = {name: json.loads(yard("inspect", id).out)[0]["Driver"] for name, id in names.items()}
    assert drivers == {"busy": "overlay2", "idle": "erofs"}
    yard("restart", "-t", "0", "busy")
    assert yard("exec", "busy", "cat", "/before").out == "before\n", "its old layers are there as long as it needs them"
    yard("commit", "busy", "kept:1")
    yard("stop", "-t", "0", "busy")
    yard("system", "migrate", "--to", "erofs")
    yard("start", "busy")
    assert yard("exec", "busy", "cat", "/before").out == "before\n"
    assert yard("run", "--rm", "--network", "none", "kept:1", "cat", "/before").out == "before\n"
    yard("rm", "-f", "busy", "idle")
    assert yard("system", "check", "--deep").out == "Everything stored is whole.\n"
    assert "overlay2 holds" not in yard("info").out


def test_an_image_of_another_driver_works_everywhere(yard: Yard, tmp_path: Path, registry: RealRegistry) -> None:
    other = ("--storage-driver", "erofs")
    (tmp_path / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN echo made > /made\nCOPY Dockerfile /copied\n")
    yard(*other, "build", "-q", "-t", "made:1", tmp_path)
    assert "/made" in yard(*other, "image", "diff", IMAGE, "made:1").out
    assert len(yard(*other, "history", "-q", "made:1").out.splitlines()) == 3
    assert (
        yard(*other, "run", "--network", "none", "--name", "one", "made:1", "sh", "-c", "cat made; rm made").out
        == "made\n"
    )
    assert yard(*other, "diff", "one").out.splitlines() == ["D /made"]
    yard(*other, "commit", "one", "gone:1")
    place = tmp_path / "place"
    place.mkdir()
    yard(*other, "mount", "gone:1", place)
    assert (place / "copied").exists() and not (place / "made").exists()
    yard(*other, "unmount", place)
    name = f"{registry.host}/migrating:1"
    yard(*other, "tag", "made:1", name)
    yard(*other, "push", name)
    yard(*other, "save", "-o", tmp_path / "saved.tar", "made:1")
    yard("rm", "one")
    for each in ("gone:1", "made:1", name):
        yard(*other, "rmi", each)
    yard(*other, "pull", name)
    yard(*other, "load", "-i", tmp_path / "saved.tar")
    assert json.loads(yard("inspect", "made:1").out)[0]["GraphDriver"]["Name"] == "overlay2", "it stands on one there"
    run("tar", "-C", tmp_path, "-cf", tmp_path / "small.tar", "Dockerfile")
    yard(*other, "import", tmp_path / "small.tar", "small:1")
    assert json.loads(yard("inspect", "small:1").out)[0]["GraphDriver"]["Name"] == "erofs"
    assert yard("image", "diff", "small:1", "made:1").out
    assert yard("system", "check", "--deep").out == "Everything stored is whole.\n"
