"""ps, rm, rename, inspect, prune and the volume commands: what they print, and how they exit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Veneer

pytestmark = pytest.mark.usefixtures("root_only")


@pytest.fixture
def veneer(tmp_path: Path, busybox: Path) -> Veneer:
    made = Veneer(tmp_path / "root")
    assert made("import", str(busybox), "box:1").code == 0
    assert (
        made(
            "create", "--name", "one", "-l", "a=b", "-v", "vol:/v", "-v", "/anonymous", "box:1", "sh", "-c", "x y"
        ).code
        == 0
    )
    return made


def test_ps_shows_dockers_table(veneer: Veneer) -> None:
    assert veneer("ps").text.split() == ["CONTAINER", "ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]
    heading, row = veneer("ps", "-a").text.splitlines()
    assert heading.startswith("CONTAINER ID   IMAGE     COMMAND") and row.rstrip().endswith("Created             one")
    assert "\"sh -c 'x y'\"" in row and "box:1" in row
    assert veneer("ps", "-as").text.splitlines()[1].split()[-3:] == ["0B", "(virtual", "1.98MB)"]
    assert veneer("ps", "-aq").text.strip() == veneer("ps", "-q", "--last", "1").text.strip()
    assert len(veneer("ps", "-lq", "--no-trunc").text.strip()) == 64
    document = json.loads(veneer("ps", "-a", "--format", "json").text)
    assert document["Names"] == "one" and document["Labels"] == "a=b" and document["LocalVolumes"] == "2"
    shown = veneer("ps", "-a", "--format", 'table {{.Names}}\t{{.Label "a"}}\t{{.Networks}}').text.splitlines()
    assert shown[0].split() == ["NAMES", "a", "NETWORKS"] and shown[1].split() == ["one", "b", "bridge"]
    assert "wrong number of args for Label: want 1 got 0" in veneer("ps", "-a", "--format", "{{.Label}}").err


def test_ps_refuses_what_is_no_number_and_no_filter(veneer: Veneer) -> None:
    assert veneer("ps", "-n", "x").code == 125
    answer = veneer("ps", "--filter", "foo=bar")
    assert answer.code == 1 and "Invalid filter 'foo'" in answer.err


def test_rm_and_rename_say_what_they_did_and_what_they_could_not(veneer: Veneer) -> None:
    assert veneer("rename", "one", "two").text == ""
    answer = veneer("rename", "nosuch", "x")
    assert answer.code == 1 and "No such container: nosuch" in answer.err
    assert "failed to rename container named nosuch" in answer.err
    answer = veneer("rm", "-v", "two", "nosuch")
    assert (answer.code, answer.text) == (1, "two\n") and "No such container: nosuch" in answer.err
    assert veneer("rm", "-f", "nosuch").code == 0
    assert veneer("volume", "ls", "-q").text == "vol\n"
    assert "legacy" in veneer("rm", "--link", "a/b").err


def test_inspect_finds_whatever_has_the_name(veneer: Veneer) -> None:
    for name, key in (("one", "HostConfig"), ("box:1", "RootFS"), ("vol", "Mountpoint"), ("bridge", "IPAM")):
        assert key in json.loads(veneer("inspect", name).text)[0], name
    assert veneer("inspect", "--format", "{{.Name}} {{.HostConfig.Memory}}", "one").text == ("/one 0\n")
    assert veneer("container", "inspect", "-s", "--format", "{{.SizeRw}}", "one").text == "0\n"
    for words, reason in (
        (["nosuch"], "No such object: nosuch"), (["--type", "volume", "one"], "No such volume: one"),
        (["--type", "foo", "one"], '"foo" is not a valid value for --type'),
    ):  # fmt: skip
        answer = veneer("inspect", *words)
        assert answer.code == 1 and reason in answer.err


def test_volumes_from_the_command_line(veneer: Veneer) -> None:
    assert veneer("volume", "create", "--label", "x=y", "mine").text == "mine\n"
    assert len(veneer("volume", "create").text.strip()) == 64
    shown = veneer("volume", "ls", "--filter", "label=x").text.splitlines()
    assert shown == ["DRIVER    VOLUME NAME", "local     mine"]
    [document] = json.loads(veneer("volume", "inspect", "mine").text)
    assert document["Labels"] == {"x": "y"} and Path(document["Mountpoint"]).is_dir()
    assert veneer("volume", "ls", "--format", '{{.Name}}:{{.Label "x"}}', "--filter", "name=mine").text == "mine:y\n"
    answer = veneer("volume", "rm", "vol", "mine")
    assert (answer.code, answer.text) == (1, "mine\n") and "volume is in use" in answer.err
    assert veneer("volume", "create", "--name", "a1", "b1").code == 1
    assert veneer("volume", "rm", "-f", "nosuch").code == 0


def test_prune_asks_first_and_takes_nameless_volumes_only(veneer: Veneer) -> None:
    answer = veneer("container", "prune", stdin=b"n\n")
    assert "WARNING! This will remove all stopped containers." in answer.text and "one" in veneer("ps", "-a").text
    assert "Would delete containers:" in veneer("container", "prune", "--dry-run", "-f").text
    pruned = veneer("system", "prune", "-f", "--volumes").text
    assert "Deleted Containers:" in pruned and "Deleted Volumes:" in pruned and "Total reclaimed space" in pruned
    assert veneer("volume", "ls", "-q").text == "vol\n"
    assert "Deleted Volumes:\nvol\n" in veneer("volume", "prune", "-af").text
    refused = veneer("system", "prune", "-f", "--volumes", "--filter", "until=1h")
    assert refused.code == 1 and 'The "until" filter is not supported with "--volumes"' in refused.err


@pytest.mark.parametrize(("words", "said"), [
    (["rm", "../../etc"], "No such container: ../../etc"), (["logs", ".."], "No such container: .."),
    (["start", "a/b"], "No such container: a/b"), (["exec", "/x", "true"], "No such container: /x"),
    (["cp", "a/b:/etc/passwd", "-"], "must specify at least one container source"),
    (["inspect", "../x"], "No such object: ../x"),
    (["create", "--name", "../z", "box:1", "true"], "Invalid container name (../z)"),
    (["create", "--name", "a/b", "box:1", "true"], "Invalid container name (a/b)"),
    (["create", "-v", "../v:/x", "box:1", "true"], "includes invalid characters for a local volume name"),
    (["volume", "create", "../v"], "includes invalid characters for a local volume name"),
    (["volume", "rm", "../../layers"], "No such volume: ../../layers"),
])  # fmt: skip
def test_names_with_slashes_and_dots_lead_nowhere(veneer: Veneer, words: list[str], said: str) -> None:
    done = veneer(*words)
    assert done.code in (1, 125) and said in done.err, done.err
