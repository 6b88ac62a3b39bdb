"""Containers run from Python: what they print and how they end; their mounts, limits and devices, in force."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from veneer.engine.containers.asking import FIELDS
from veneer.engine.containers.creating import ContainerRequest, InvalidContainer
from veneer.engine.containers.running import ContainerExited, Finished
from veneer.engine.engine import Engine
from veneer.run.failures import NoSuchCommand
from veneer.run.wanted import NoSuchDevice, NoSuchSubpath

pytestmark = pytest.mark.usefixtures("root_only")
Run = Callable[..., Finished]


@pytest.fixture
def image(engine: Engine, busybox: Path) -> str:
    changes = ["VOLUME /etc/kept", 'LABEL made="by the tests"']
    with busybox.open("rb") as tar:
        engine.images.import_(tar, reference="box:1", changes=changes)
    return "box:1"


@pytest.fixture
def run(engine: Engine, image: str) -> Run:
    """Runs a shell's line, without a network."""

    def run_it(line: str, **fields: Any) -> Finished:
        return engine.containers.run(image, line, network="none", **fields)

    return run_it


def test_what_it_prints_and_how_it_ends(run: Run, engine: Engine) -> None:
    done = run("cat; echo error >&2; exit 3", input=b"given" * 100_000)
    assert (done.code, done.err) == (3, b"error\n") and done.out == b"given" * 100_000
    assert engine.containers.list() == [] and engine.volumes.list() == []
    kept = run("true", remove=False, name="kept")
    assert engine.containers.get("kept").id == kept.container
    engine.containers.remove("kept", volumes=True)


def test_output_may_be_had_as_it_comes(run: Run) -> None:
    seen: list[tuple[int, bytes]] = []
    done = run("echo out; echo err >&2", on_output=lambda number, data: seen.append((number, data)))
    assert sorted(seen) == [(1, b"out\n"), (2, b"err\n")] and done.out == done.err == b""


def test_whoever_asked_for_success_is_told(run: Run) -> None:
    assert run("true", check=True).code == 0
    with pytest.raises(ContainerExited, match="ended with exit status 4: because"):
        run("echo because >&2; exit 4", check=True)


def test_one_that_cannot_start_leaves_nothing(engine: Engine, image: str) -> None:
    with pytest.raises(NoSuchCommand):
        engine.containers.run(image, ["nosuch"], network="none")
    with pytest.raises(NoSuchDevice):
        engine.containers.run(image, ["true"], network="none", devices=["/dev/nosuch"])
    assert engine.containers.list() == [] and engine.volumes.list() == []


def test_an_interrupted_caller_leaves_nothing(engine: Engine, run: Run) -> None:
    def interrupt(number: int, data: bytes) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run("echo begun; sleep 1000", on_output=interrupt)
    assert engine.containers.list() == []


def test_fields_are_dockers_by_other_names(engine: Engine, image: str) -> None:
    made = engine.containers.create(
        image, ["sh"], name="all", env={"A": 1}, labels=["x=y"], ports={"80/udp": 8080}, memory="64m", cpus=1.5,
        restart="on-failure:2", ulimits=["nofile=10:20"], hosts={"a": "1.2.3.4"}, groups=[7], health="true",
        health_interval=1.5, log={"max-size": "1m"}, sysctls={"net.core.somaxconn": 5}, user=7, network="net",
        aliases=["web"], ip="10.0.0.3", stop_timeout=3, tmpfs=["/t:size=1m"], mounts=["type=tmpfs,target=/m"],
    ).document  # fmt: skip
    config, host = made["Config"], made["HostConfig"]
    assert config["Env"] == ["A=1"] and config["Labels"] == {"x": "y", "made": "by the tests"} and config["User"] == "7"
    assert config["Healthcheck"] == {"Test": ["CMD-SHELL", "true"], "Interval": 1_500_000_000}
    assert host["PortBindings"] == {"80/udp": [{"HostIp": "", "HostPort": "8080"}]}
    assert (host["Memory"], host["NanoCpus"]) == (64 << 20, 1_500_000_000)
    assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 2}
    assert made["NetworkingConfig"]["EndpointsConfig"]["net"] == {
        "Aliases": ["web"], "IPAMConfig": {"IPv4Address": "10.0.0.3"},
    }  # fmt: skip
    with pytest.raises(InvalidContainer, match="a container has no colour") as told:
        engine.containers.create(image, colour="red")
    assert all(name in told.value.hint for name in FIELDS)
    with pytest.raises(InvalidContainer, match="says everything"):
        engine.containers.create(ContainerRequest(image), ["sh"])


def test_directories_of_the_host_are_made_shown_and_kept_from_writing(run: Run, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    (place / "there").write_text("host")
    done = run("cat /a/there; touch /a/x; touch /b/x; ls /new", volumes=[f"{place}:/a:ro", f"{place}:/b",
               f"{place}/made:/new"])  # fmt: skip
    assert done.out == b"host" and b"Read-only file system" in done.err
    assert sorted(os.listdir(place)) == ["made", "there", "x"]


def test_a_volume_is_filled_kept_and_shared(run: Run, engine: Engine) -> None:
    assert b"root:x:0:0" in run("cat /etc/passwd; touch /etc/mine", volumes=["conf:/etc"]).out
    assert b"mine\n" in run("ls /v", volumes=["conf:/v"]).out
    assert run("ls /v", volumes=["empty:/v:nocopy"]).out == b""
    engine.containers.create("box:1", ["true"], name="holder", volumes=["conf:/v"])
    assert run("touch /v/x || ls /v/mine", volumes_from=["holder:ro"]).out == b"/v/mine\n"


def test_a_volume_whose_filling_was_killed_is_filled_by_the_start(run: Run, engine: Engine) -> None:
    made = engine.containers.create("box:1", ["true"], name="box", volumes=["late:/etc"])
    place = engine.store.volumes.directory("late")
    shutil.rmtree(place)
    place.mkdir()
    engine.store.containers.set_document(made.id, made.document | {"Unfilled": True})
    engine.containers.start("box")
    engine.containers.wait("box")
    assert (place / "passwd").is_file() and "Unfilled" not in engine.containers.get("box").document


def test_a_directory_of_the_host_can_be_a_volume(run: Run, engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("host")
    engine.volumes.create("dir", options={"type": "none", "o": "bind", "device": str(tmp_path)})
    assert run("cat /v/file; echo more >/v/more", volumes=["dir:/v"]).out == b"host"
    assert (tmp_path / "more").read_text() == "more\n"
    engine.volumes.remove("dir")
    assert (tmp_path / "more").exists()


def test_a_part_of_a_volume(run: Run, engine: Engine) -> None:
    run("mkdir -p /v/a/b; echo part >/v/a/b/file; ln -s /v/a /v/link; ln -s a/b /v/inner", volumes=["vol:/v"])

    def part(path: str) -> bytes:
        return run("cat /p/file", mounts=[f"type=volume,source=vol,target=/p,volume-subpath={path}"]).out

    assert part("a/b") == part("inner") == part("/a/../a/b/") == b"part\n"
    for path in ("link/b", "nosuch"):  # a link means what it does in the volume, where there is no /v
        with pytest.raises(NoSuchSubpath):
            part(path)
    assert engine.containers.list() == []


def test_memory_is_a_file_system_with_its_options(run: Run) -> None:
    line = "grep -E ' /(t|m) ' /proc/mounts; touch /m/x"
    done = run(line, tmpfs={"/t": "size=1m,mode=700,exec"}, mounts=["type=tmpfs,target=/m,tmpfs-size=2m,readonly"])
    one, two = sorted(done.out.decode().splitlines(), key=lambda text: "/m " in text)
    assert {"rw", "nosuid", "nodev", "size=1024k", "mode=700"} <= set(one.split()[3].split(",")) and "noexec" not in one
    assert {"ro", "noexec", "size=2048k"} <= set(two.split()[3].split(",")) and b"Read-only" in done.err


def test_devices_limits_and_settings_are_in_force(run: Run) -> None:
    line = (
        "ls -l /dev/mine | cut -c1,30-60 >&2; head -c 3 /dev/mine | wc -c; ulimit -n; cat /proc/sys/kernel/msgmax; "
        "cat /proc/self/oom_score_adj; df -k /dev/shm | tail -n 1 | awk '{print $2}'; hostname; cat /proc/1/comm"
    )
    done = run(line, devices=["/dev/zero:/dev/mine:r"], ulimits=["nofile=77"], sysctls={"kernel.msgmax": 4096},
               oom_score_adj=300, shm_size="1m", hostname="web", init=True)  # fmt: skip
    assert done.out.split() == [b"3", b"77", b"4096", b"300", b"1024", b"web", b"docker-init"]
    # The kernel's log: of the devices that a container has not, one that every host has.
    assert run(": >/dev/mine", devices=["/dev/kmsg:/dev/mine:r"]).code != 0
    assert run(": >/dev/mine", devices=["/dev/kmsg:/dev/mine:w"]).code == 0
    assert run("mknod /mine c 1 11 && : >/mine").code != 0
    assert run("mknod /mine c 1 11 && : >/mine", device_rules=["c 1:11 w"]).code == 0


def test_a_privileged_one_may_everything(run: Run) -> None:
    line = (
        "grep -E '^(CapEff|Seccomp):' /proc/self/status; ls /dev | wc -l; mount -t tmpfs none /mnt 2>&1 || mkdir /mnt"
    )
    plain, all_of_it = (run(line, privileged=each).out.decode() for each in (False, True))
    assert "Seccomp:\t2" in plain and "Seccomp:\t0" in all_of_it
    assert int(all_of_it.splitlines()[2]) > int(plain.splitlines()[2])


def test_inspect_tells_what_runs(engine: Engine, image: str) -> None:
    engine.containers.create(image, ["sleep", "1000"], name="up", network="none", volumes=["/srv"])
    try:
        engine.containers.start("up")
        found = json.loads(json.dumps(engine.containers.inspect("up", size=True)))
        assert found["State"]["Running"] and found["State"]["Pid"] > 1 and found["SizeRw"] == 0
        assert found["GraphDriver"]["Data"]["LowerDir"].count(":") == 1  # the init layer's, then the image's
        assert {point["Destination"] for point in found["Mounts"]} == {"/etc/kept", "/srv"}
    finally:
        engine.containers.remove("up", force=True, volumes=True)
    assert engine.volumes.list() == []


def test_one_on_anothers_network_has_its_name(engine: Engine, image: str) -> None:
    engine.containers.create(image, ["sleep", "1000"], name="peer", network="none", hostname="theirs")
    try:
        engine.containers.start("peer")
        assert engine.containers.run(image, "hostname; echo $HOSTNAME", network="container:peer").out == b"theirs\n" * 2
    finally:
        engine.containers.remove("peer", force=True, volumes=True)
