"""`create`'s and `run`'s options as docker's Config and HostConfig; files of variables; words of lists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from veneer.cli.app import Failure
from veneer.cli.container_files import environment, labels
from veneer.cli.container_flags import request
from veneer.cli.container_options import RUN_OPTIONS
from veneer.cli.container_words import ports, status
from veneer.cli.flags import FlagError, parse
from veneer.engine.containers.spelling import InvalidContainer
from veneer.run.monitor.state import State, rfc3339

NOW = 1_700_000_000.0


def asked(*words: str, outside: dict[str, str] | None = None) -> Any:
    given = parse([*words, "image", "command", "-x"], RUN_OPTIONS, interspersed=False)
    return request(given, outside or {}, detached=given.flag("detach"))


def test_options_end_at_the_image() -> None:
    made = asked("-t", "--name", "one")
    assert (made.image, made.name, made.config["Cmd"], made.config["Tty"]) == ("image", "one", ["command", "-x"], True)


def test_h_is_the_host_name() -> None:
    assert asked("-h", "web").config["Hostname"] == "web"


def test_what_is_attached() -> None:
    def attached(*words: str) -> list[bool]:
        config = asked(*words).config
        return [config[key] for key in ("AttachStdin", "AttachStdout", "AttachStderr", "OpenStdin", "StdinOnce")]

    assert attached() == [False, True, True, False, False]
    assert attached("-i") == [True, True, True, True, True]
    assert attached("-i", "-a", "stdout") == [True, True, False, True, True]
    assert attached("-d", "-i") == [False, False, False, True, False]
    assert attached("-a", "STDERR") == [False, False, True, False, False]


def test_volumes_are_binds_or_anonymous(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    made = asked("-v", "/a:/b:ro", "-v", "./here:/c", "-v", "name:/d", "-v", "/e")
    assert made.host_config["Binds"] == ["/a:/b:ro", f"{tmp_path}/here:/c", "name:/d"]
    assert made.config["Volumes"] == {"/e": {}}


def test_several_networks_each_with_its_own() -> None:
    made = asked("--network", "one", "--network", "name=two,alias=x,ip=10.0.0.3", "--network-alias", "y")
    assert made.host_config["NetworkMode"] == "one"
    assert made.networking["EndpointsConfig"] == {
        "one": {"Aliases": ["y"]}, "two": {"Aliases": ["x"], "IPAMConfig": {"IPv4Address": "10.0.0.3"}},
    }  # fmt: skip
    with pytest.raises(Failure, match="specified multiple times"):
        asked("--network", "one", "--network", "one")
    with pytest.raises(Failure, match="cannot attach both"):
        asked("--network", "one", "--network", "host")


def test_limits_are_numbers() -> None:
    host = asked("-m", "1.5g", "--cpus", ".5", "--memory-swap", "-1", "--pids-limit", "0", "--shm-size", "1k",
                 "--device-write-bps", "/dev/null:1mb").host_config  # fmt: skip
    assert (host["Memory"], host["NanoCpus"], host["MemorySwap"]) == (3 << 29, 500_000_000, -1)
    assert (host["PidsLimit"], host["ShmSize"]) == (-1, 1024)
    assert host["BlkioDeviceWriteBps"] == [{"Path": "/dev/null", "Rate": 1 << 20}]


@pytest.mark.parametrize(("words", "reason"), [
    (["-m", "x"], r'invalid argument "x" for "-m, --memory" flag: invalid size'),
    (["--cpu-shares", "9" * 30], "value out of range"),
    (["--cpus", "nan"], "no number of processors"), (["--cpus", "1e-10"], "value is too precise"),
    (["--ulimit", "nofile=5:1"], "soft limit must be less than or equal"),
    (["--mount", 'type=bind,"source=/a'], 'for "--mount" flag'), (["--mount", "type=bind,target"], "key=value pair"),
])  # fmt: skip
def test_a_value_is_looked_at_as_it_is_read(words: list[str], reason: str) -> None:
    with pytest.raises(FlagError, match=reason):
        asked(*words)


def test_files_of_variables_are_read_as_docker_does(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_bytes(b"\xef\xbb\xbfA=1\r\n  B= x y \n#C=1\n\n  # D\nHOME\nNOT_SET\nE==\nF=#1\n")
    found = environment([str(file)], ["G", "H=1", "HOME"], {"HOME": "/h"})
    assert found == ["A=1", "B= x y ", "HOME=/h", "E==", "F=#1", "G", "H=1", "HOME=/h"]
    file.write_text("a=b\nbare\n")
    assert labels([str(file)], ["c", "a=last"]) == {"a": "last", "c": ""}


@pytest.mark.parametrize("content", [b"A B=1\n", b"=1\n", b"A=\xff\n", b" x y\n"])
def test_a_file_of_variables_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "env").write_bytes(content)
    with pytest.raises(InvalidContainer):
        environment([str(tmp_path / "env")], [], {})
    with pytest.raises(InvalidContainer, match="no such file"):
        environment([str(tmp_path / "none")], [], {})


@pytest.mark.parametrize(("state", "words"), [
    (State(), "Created"),
    (State("running", started_at=rfc3339(int(NOW - 5) * 10**9)), "Up 5 seconds"),
    (State("running", started_at=rfc3339(int(NOW - 90) * 10**9), health={"Status": "starting"}),
     "Up About a minute (health: starting)"),
    (State("running", started_at=rfc3339(int(NOW - 7200) * 10**9), health={"Status": "healthy"}),
     "Up 2 hours (healthy)"),
    (State("paused", started_at=rfc3339(int(NOW) * 10**9)), "Up Less than a second (Paused)"),
    (State("restarting", exit_code=3, started_at=rfc3339(1), finished_at=rfc3339(int(NOW - 1) * 10**9)),
     "Restarting (3) 1 second ago"),
    (State("exited", exit_code=137, started_at=rfc3339(1), finished_at=rfc3339(int(NOW - 180) * 10**9)),
     "Exited (137) 3 minutes ago"),
    (State("removing"), "Removal In Progress"), (State("dead"), "Dead"),
    (State("running", started_at=rfc3339(int(NOW + 60) * 10**9)), "Up Less than a second"),
])  # fmt: skip
def test_how_a_container_is_in_dockers_words(state: State, words: str) -> None:
    assert status(state, NOW) == words


def test_ports_that_follow_each_other_stand_together() -> None:
    def port(number: int, public: int = 0, address: str = "0.0.0.0", kind: str = "tcp") -> dict[str, Any]:
        published = {"IP": address, "PublicPort": public} if public else {}
        return {"PrivatePort": number, "Type": kind, **published}

    assert ports([]) == ""
    assert ports([port(80), port(81), port(90, kind="udp")]) == "80-81/tcp, 90/udp"
    assert ports([port(9001, 9001), port(9000, 9000), port(9003, 9003)]) == (
        "0.0.0.0:9000-9001->9000-9001/tcp, 0.0.0.0:9003->9003/tcp"
    )
    assert ports([port(80, 8080), port(80, 8080, "::"), port(443, 443)]) == (
        "0.0.0.0:443->443/tcp, 0.0.0.0:8080->80/tcp, :::8080->80/tcp"
    )
