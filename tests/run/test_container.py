"""Containers on a real runtime: what they see, how they end, and that nothing of them stays."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.run.conftest import Containers
from tests.support.programs import needs
from veneer.progress import Cancelled
from veneer.run import cgroups
from veneer.run.enclosure import enclosed
from veneer.run.failures import CannotExecute, ContainerFailed, NoSuchCommand
from veneer.run.runtime import CGROUPS, Runtime
from veneer.run.spec import Bind, Limit, Resources, Tmpfs


def test_streams_are_apart_and_the_status_is_the_commands(containers: Containers) -> None:
    ran = containers("sh", "-c", "echo out; echo err >&2; exit 7")
    assert (ran.status, ran.out, ran.err) == (7, "out\n", "err\n")


def test_a_signal_is_128_and_its_number(containers: Containers) -> None:
    # The first process of a PID namespace cannot kill itself.
    assert containers("sh", "-c", "sh -c 'kill -9 $$'; exit $?").status == 137


def test_standard_input_is_empty_and_there_is_no_terminal(containers: Containers) -> None:
    assert containers("sh", "-c", "cat; test -t 0 || test -t 1 || echo none").out == "none\n"


@pytest.mark.parametrize("word", ["/no/such", "nosuch"])
def test_a_program_that_is_not_there_is_said_to_be_missing_and_nothing_is_printed(
    containers: Containers, word: str
) -> None:
    said: list[bytes] = []
    with containers.bundle() as bundle, pytest.raises(NoSuchCommand, match=f'"{word}"') as caught:
        containers.run_in(bundle, [word], output=lambda _, data: said.append(data))
    assert caught.value.exit_code == 127
    assert said == []


def test_a_program_that_cannot_be_executed(containers: Containers) -> None:
    (containers.tree / "text").write_text("no program\n")
    with pytest.raises(CannotExecute, match="permission denied") as caught:
        containers("/text")
    assert caught.value.exit_code == 126


def test_what_the_runtime_cannot_do_is_said_in_its_words(containers: Containers) -> None:
    with pytest.raises(ContainerFailed, match="/not/there"):
        containers("true", mounts=(Bind("/not/there", "/x"),))


def test_only_loopback_is_up_without_a_network(containers: Containers) -> None:
    out = containers("ip", "-o", "link").out.splitlines()
    assert len(out) == 1 and "LOOPBACK,UP" in out[0]


def test_the_hosts_network_is_the_hosts(containers: Containers) -> None:
    ran = containers("readlink", "/proc/self/ns/net", network="host")
    assert ran.out.strip() == os.readlink("/proc/self/ns/net")


def test_who_where_and_with_what(containers: Containers) -> None:
    ran = containers("sh", "-c", "id -u; id -g; id -G; pwd; hostname; umask; echo $A", uid=7, gid=8, groups=(8, 9),
                     cwd="/tmp", hostname="box", env=("PATH=/bin", "A=b c"))  # fmt: skip
    assert ran.out.splitlines() == ["7", "8", "8 9", "/tmp", "box", "0022", "b c"]


def test_limits_are_set_in_the_kernel(containers: Containers) -> None:
    wanted = Resources(64 << 20, 0.5, 1 << 20, (Limit("nofile", 50, 60),))
    ran = containers("sh", "-c", "ulimit -Sn; ulimit -Hn; df -k /dev/shm | tail -1; cat /proc/self/cgroup",
                     resources=wanted, cgroup=f"/{cgroups.new_name()}")  # fmt: skip
    soft, hard, shm, *groups = ran.out.splitlines()
    assert (soft, hard, shm.split()[1]) == ("50", "60", "1024")
    # Where its groups lie on the host is not for it to see.
    assert groups and all(line.endswith(":/") for line in groups)


def test_a_group_whose_last_process_is_just_ending_is_taken_away(
    root_only: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroups, "_PATIENCE_SECONDS", 60.0)
    name = cgroups.new_name()
    group = next(Path(each, name) for each in cgroups.hierarchies() if "cpuset" not in each)
    group.mkdir()
    process = subprocess.Popen(["sleep", "1000"])
    ending = threading.Timer(0.05, process.kill)
    try:
        (group / "cgroup.procs").write_text(str(process.pid))
        ending.start()
        cgroups.remove("/", name)
        assert not group.exists()
    finally:
        ending.cancel()
        process.kill()
        process.wait()
        cgroups.remove("/", name)


def test_memory_is_limited(containers: Containers) -> None:
    names = "memory/memory.limit_in_bytes", "memory.max"
    found = containers("sh", "-c", " ".join(f"cat /sys/fs/cgroup/{name} 2>/dev/null;" for name in names),
                       resources=Resources(memory=64 << 20), cgroup=f"/{cgroups.new_name()}").out  # fmt: skip
    assert found.strip() == str(64 << 20)


def test_mounts_lie_over_the_tree_read_only_or_not(containers: Containers, tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    (tmp_path / "given/file").write_text("given\n")
    (containers.tree / "x").mkdir()
    (containers.tree / "y").mkdir()
    mounts = (Bind(str(tmp_path / "given"), "/x", readonly=True), Tmpfs("/y", 1 << 20))
    script = "cat /x/file; touch /x/new 2>/dev/null || echo read-only; df -k /y | tail -1 | awk '{ print $2 }'"
    assert containers("sh", "-c", script, mounts=mounts).out.splitlines() == ["given", "read-only", "1024"]


def test_a_bundles_files_have_the_owner_and_mode_they_were_given(containers: Containers) -> None:
    (containers.tree / "secret").write_text("")
    with containers.bundle() as bundle:
        file = bundle.file(b"hush\n", mode=0o440, uid=7, gid=8)
        ran = containers.run_in(bundle, ["sh", "-c", "cat /secret; stat -c '%u %g %a' /secret"],
                                mounts=(Bind(file, "/secret", readonly=True),))  # fmt: skip
        assert not os.path.exists(file), "seen only inside the enclosure"
    assert ran.out == "hush\n7 8 440\n"


def test_privileged_means_every_capability(containers: Containers) -> None:
    usual = containers("grep", "CapBnd", "/proc/self/status").out.split()[1]
    assert usual == "00000000a80425fb"
    all_of_them = int(containers("grep", "CapBnd", "/proc/self/status", privileged=True).out.split()[1], 16)
    assert all_of_them & (1 << 21), "CAP_SYS_ADMIN"


def test_what_makes_the_caller_stop_kills_everything_inside(containers: Containers) -> None:
    started = threading.Event()

    def check() -> None:
        if started.is_set():
            raise Cancelled("enough")

    group = cgroups.new_name()
    with containers.bundle() as bundle, pytest.raises(Cancelled):
        containers.run_in(bundle, ["sh", "-c", "setsid sleep 1000 & echo up; sleep 1000"], check=check,
                          output=lambda *_: started.set(), cgroup=f"/{group}")  # fmt: skip
    cgroups.remove("", group)
    assert not list(Path(CGROUPS).glob(f"*/{group}"))


def test_a_listener_that_raises_kills_it_too(containers: Containers) -> None:
    def refuse(stream: int, data: bytes) -> None:
        raise Cancelled("not listening")

    with containers.bundle() as bundle, pytest.raises(Cancelled):
        containers.run_in(bundle, ["sh", "-c", "echo up; sleep 1000"], output=refuse)


def test_processes_left_in_the_background_end_with_the_command(containers: Containers) -> None:
    assert containers("sh", "-c", "sleep 1000 & exit 3").status == 3


def test_mounts_of_an_enclosure_are_seen_by_nobody_else(containers: Containers) -> None:
    with containers.bundle() as bundle:
        assert bundle.enclosure.inside(lambda: bundle.rootfs.joinpath("bin").is_dir())
        assert list(containers.folder.iterdir()) == []
        assert os.fspath(containers.folder) not in Path("/proc/self/mountinfo").read_text()


_VICTIM = """
import sys
from pathlib import Path
from tests.run.conftest import Containers

containers = Containers(Path(sys.argv[1]), Path(sys.argv[2]))
with containers.bundle() as bundle:
    words = ["sh", "-c", "setsid sleep 1000 & echo up; exec sleep 1000"]
    containers.run_in(bundle, words, output=lambda _, data: print("up", flush=True))
"""


def test_whoever_is_killed_takes_the_container_along(containers: Containers) -> None:
    reader, writer = os.pipe()
    victim = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", sys.executable, "-c", _VICTIM, containers.tree, containers.folder],
        stdout=writer, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    os.close(writer)
    with open(reader, "rb") as said:
        assert said.readline() == b"up\n"
    inside = [(pid, os.pidfd_open(pid)) for pid in _inside(containers.tree)]
    assert inside
    victim.kill()
    victim.wait()
    for pid, fd in inside:
        assert select.select([fd], [], [], 60)[0], f"process {pid} lives on"
        os.close(fd)
    cgroups.sweep("")


def _inside(tree: Path) -> list[int]:
    """Processes whose root directory is the tree."""
    here = os.stat(tree)
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                root = os.stat(f"/proc/{name}/root/.")
            except OSError:
                continue
            if (root.st_dev, root.st_ino) == (here.st_dev, here.st_ino):
                found.append(int(name))
    return found


def test_groups_of_the_dead_are_swept_and_no_others(root_only: None) -> None:
    hierarchy = next(iter(cgroups.hierarchies()))
    mine = cgroups.new_name()
    words = mine.split("-")
    dead = "-".join([*words[:3], "1", words[4]])
    foreign = "-".join([words[0], "1", "1", "1", "1"])
    try:
        for name in (mine, dead, foreign):
            Path(hierarchy, name).mkdir()
        cgroups.sweep("")
        assert [Path(hierarchy, name).exists() for name in (mine, dead, foreign)] == [True, False, True]
    finally:
        for name in (mine, foreign):
            cgroups.remove("", name)


def test_crun_does_it_as_well(containers: Containers) -> None:
    needs("crun")
    unified = f"{CGROUPS}/unified"
    hides = unified if os.path.ismount(unified) else ""
    containers.runtime = Runtime("crun", shutil.which("crun") or "", "a test", hides)
    ran = containers("sh", "-c", "echo out; ip -o link; exit 5", hostname="box")
    assert ran.status == 5 and ran.out.startswith("out\n") and "LOOPBACK" in ran.out
    with pytest.raises(NoSuchCommand):
        containers("/no/such")
    with pytest.raises(NoSuchCommand):
        containers("nosuch")


def test_an_enclosure_has_a_network_of_its_own_if_asked(root_only: None) -> None:
    with enclosed(network=True) as enclosure:
        assert os.readlink(enclosure.network) != os.readlink("/proc/self/ns/net")
    with enclosed() as enclosure:
        assert os.readlink(enclosure.network) == os.readlink("/proc/self/ns/net")
