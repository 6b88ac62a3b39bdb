"""What a container can see and do: by both runtimes, of root, and of plain users with further ids and without.

One container a runtime and user looks at everything it can reach and tells it as JSON; the tests read that.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.security.conftest import IMAGE, SECRET, Host, python_shown
from tests.support.plain_user import UID
from veneer.run.spec import CAPABILITIES, MASKED, READONLY

pytestmark = pytest.mark.usefixtures("root_only")

PROBE = r"""
import ctypes, errno, json, os, resource, socket, stat, sys
told = {}
libc = ctypes.CDLL(None, use_errno=True)
def read(path):
    try:
        with open(path, "rb") as file:
            return file.read(1 << 16).decode(errors="replace")
    except OSError as error:
        return errno.errorcode[error.errno]
def write(path, flags=0):
    try:
        os.close(os.open(path, os.O_WRONLY | flags, 0o600))
        return "writable"
    except OSError as error:
        return errno.errorcode[error.errno]
def call(number, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(number, *arguments)
    return "ok" if result >= 0 else errno.errorcode[ctypes.get_errno()]
told["fds"] = sorted(int(name) for name in os.listdir("/proc/self/fd"))[:-1]
told["status"] = dict(line.split(":\t", 1) for line in read("/proc/self/status").splitlines() if ":\t" in line)
told["mounts"] = [line.split(" ") for line in read("/proc/self/mountinfo").splitlines()]
told["namespaces"] = {name: os.readlink("/proc/self/ns/" + name) for name in os.listdir("/proc/self/ns")}
told["masked"] = {path: os.listdir(path) if os.path.isdir(path) else read(path) for path in sys.argv[1].split(":")
                  if os.path.lexists(path)}
told["readonly"] = {path: write(path + "/new", os.O_CREAT) if os.path.isdir(path) else write(path)
                    for path in sys.argv[2].split(":") if os.path.exists(path)}
told["sysctl"] = write("/proc/sys/kernel/core_pattern")
told["sys"] = write("/sys/kernel/uevent_helper") if os.path.exists("/sys/kernel/uevent_helper") else "EROFS"
told["cgroup"] = {path: write(path + "/cgroup.procs") for path, _, names in os.walk("/sys/fs/cgroup")
                  if "cgroup.procs" in names}
told["dev"] = {name: (stat.S_IFMT(os.lstat("/dev/" + name).st_mode), os.lstat("/dev/" + name).st_rdev)
               for name in os.listdir("/dev")}
told["dev_is_dir"] = stat.S_ISDIR(os.lstat("/dev").st_mode)
told["pids"] = sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
told["hostname"] = socket.gethostname()
told["interfaces"] = sorted(name for _, name in socket.if_nameindex())
told["cwd"] = os.getcwd()
told["environment"] = dict(os.environ)
told["canary"] = {path: os.path.exists(path) for path in sys.argv[3].split(":")}
told["roots"] = [pid for pid in told["pids"] if os.path.exists("/proc/%d/root%s" % (pid, sys.argv[3].split(":")[0]))]
told["umask"] = os.umask(0)
told["signal"] = []
for pid in map(int, sys.argv[4].split(":")):
    try:
        os.kill(pid, 0)
        told["signal"].append(pid)
    except OSError as error:
        told["signal"].append(errno.errorcode[error.errno])
told["keys"] = read("/proc/keys")
told["calls"] = {name: call(number, *arguments) for name, (number, *arguments) in json.loads(sys.argv[5]).items()}
print(json.dumps(told))
"""

_NEWUSER, _NEWNS = 0x10000000, 0x00020000
BLOCKED: dict[str, list[int]] = {
    "acct": [163, 0], "add_key": [248, 0, 0, 0, 0, 0], "bpf": [321, 0, 0, 0], "clock_settime": [227, 0, 0],
    "delete_module": [176, 0, 0], "finit_module": [313, -1, 0, 0], "init_module": [175, 0, 0, 0],
    "ioperm": [173, 0, 1, 1],
    "iopl": [172, 3], "kexec_load": [246, 0, 0, 0, 0], "keyctl": [250, 0, 0], "lookup_dcookie": [212, 0, 0, 0],
    "mount": [165, 0, 0, 0, 0, 0], "name_to_handle_at": [303, -1, 0, 0, 0, 0], "open_by_handle_at": [304, -1, 0, 0],
    "perf_event_open": [298, 0, 0, 0, 0, 0], "personality": [135, 0x1234], "pivot_root": [155, 0, 0],
    "quotactl": [179, 0, 0, 0, 0], "reboot": [169, 0, 0, 0, 0], "request_key": [249, 0, 0, 0, 0], "setns": [308, -1, 0],
    "settimeofday": [164, 0, 0], "swapoff": [168, 0], "swapon": [167, 0, 0], "syslog": [103, 10, 0, 0],
    "umount2": [166, 0, 0], "unshare_user": [272, _NEWUSER], "unshare_mount": [272, _NEWNS],
    "userfaultfd": [323, 0], "open_tree": [428, -100, 0, 0], "fsopen": [430, 0, 0], "io_uring_setup": [425, 0, 0],
}  # fmt: skip
"""Calls that Docker's profile refuses, by their numbers on x86-64, with arguments that do no harm."""
_MAY_PASS = {"name_to_handle_at"}
"""Docker's profile allows it, and a handle is of no use to who may not open one."""


@pytest.fixture(scope="module")
def seen(host: Host, runtime: str) -> dict[str, Any]:
    """What a container without any options finds, whose work it is to find things."""
    python, shown = python_shown()
    secret = host.root / SECRET if host.user is None else Path("/mnt") / SECRET
    reachable = ":".join([str(secret), str(host.root), "/run/docker.sock", "/var/run/docker.sock"])
    outside = ":".join(str(pid) for pid in (os.getpid(), os.getppid()))
    output = host.run(
        runtime, "-h", "inside", *shown, "-w", "/new/place", IMAGE, python, "-I", "-c", PROBE, ":".join(MASKED),
        ":".join(READONLY), reachable, outside, json.dumps(BLOCKED),
    )  # fmt: skip
    found: dict[str, Any] = json.loads(output.out)
    return found


def test_it_has_dockers_capabilities_and_inherits_none(seen: dict[str, Any]) -> None:
    from veneer.run.spec import ALL_CAPABILITIES

    wanted = sum(1 << ALL_CAPABILITIES.index(name) for name in CAPABILITIES)
    found = {name: int(seen["status"][name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
    assert found == {"CapInh": 0, "CapPrm": wanted, "CapEff": wanted, "CapBnd": wanted, "CapAmb": 0}


def test_a_filter_of_system_calls_is_in_force(seen: dict[str, Any]) -> None:
    assert seen["status"]["Seccomp"] == "2"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers are those of x86-64")
def test_what_the_profile_refuses_is_refused(seen: dict[str, Any]) -> None:
    passed = {name: said for name, said in seen["calls"].items() if said not in ("EPERM", "ENOSYS")}
    assert set(passed) <= _MAY_PASS, passed


def test_it_has_three_files_open(seen: dict[str, Any]) -> None:
    assert seen["fds"] == [0, 1, 2]


def test_it_has_the_groups_of_its_image_and_no_others(seen: dict[str, Any]) -> None:
    assert seen["status"]["Groups"].split() in ([], ["0"])
    assert seen["status"]["Uid"].split() == seen["status"]["Gid"].split() == ["0"] * 4
    assert seen["umask"] == 0o022


def test_its_namespaces_are_its_own(seen: dict[str, Any]) -> None:
    for name in ("mnt", "pid", "ipc", "uts", "net", "cgroup"):
        assert seen["namespaces"][name] != os.readlink(f"/proc/self/ns/{name}"), name
    assert seen["hostname"] == "inside" and seen["interfaces"] == ["lo"]


def test_it_sees_its_own_processes_and_signals_no_others(seen: dict[str, Any]) -> None:
    assert seen["pids"] == [1]
    assert seen["signal"] == ["ESRCH", "ESRCH"]


def test_what_tells_of_the_host_is_hidden(seen: dict[str, Any]) -> None:
    assert len(seen["masked"]) >= 4
    assert {path: found for path, found in seen["masked"].items() if found} == {}
    assert seen["keys"] == ""


def test_what_changes_the_host_is_read_only(seen: dict[str, Any]) -> None:
    options = {fields[4]: fields[5].split(",") for fields in seen["mounts"]}
    assert len(seen["readonly"]) >= 3
    assert [path for path in seen["readonly"] if "ro" not in options.get(path, ())] == []
    assert {*seen["readonly"].values(), seen["sysctl"], seen["sys"], *seen["cgroup"].values()} <= {
        "EROFS", "EACCES", "ENOENT",
    }  # fmt: skip


def test_its_devices_are_the_harmless_ones(seen: dict[str, Any]) -> None:
    assert seen["dev_is_dir"]
    assert set(seen["dev"]) <= {
        "console", "core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout",
        "tty", "urandom", "zero",
    }  # fmt: skip
    assert not [name for name, (kind, _) in seen["dev"].items() if kind == 0o060000]


def test_nothing_of_the_engine_can_be_reached(seen: dict[str, Any]) -> None:
    assert not any(seen["canary"].values()), seen["canary"]
    assert seen["roots"] == []


def test_its_mounts_are_those_of_docker_and_nothing_else(seen: dict[str, Any]) -> None:
    shown = {fields[4] for fields in seen["mounts"]}
    given = {"/usr/lib", "/lib", "/lib64", *(part for part in shown if part.startswith((sys.base_prefix, "/usr/bin")))}
    masks = {*MASKED, *READONLY}
    system = {"/", "/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys", "/etc/hosts", "/etc/hostname",
              "/etc/resolv.conf"}  # fmt: skip
    others = {
        path for path in shown - system - given - masks
        if not path.startswith(("/sys/fs/cgroup", "/sys/", "/proc/", "/dev/"))
    }  # fmt: skip
    assert others == set()
    assert {"/", "/proc", "/dev", "/etc/hosts"} <= shown


def test_its_environment_is_its_own(seen: dict[str, Any]) -> None:
    assert set(seen["environment"]) <= {"PATH", "HOSTNAME", "HOME", "LC_CTYPE", "container"}
    assert seen["environment"]["HOSTNAME"] == "inside" and seen["cwd"] == "/new/place"


def test_no_new_privileges_and_no_capabilities_where_asked_for(host: Host, runtime: str) -> None:
    user = "1" if host.has_ids else "0"
    said = host.run(
        runtime, "--security-opt", "no-new-privileges", "--cap-drop", "ALL", "--user", f"{user}:{user}", IMAGE, "grep",
        "-E", "^(Cap|NoNew|Groups)", "/proc/self/status",
    ).out  # fmt: skip
    found = {line.partition(":")[0]: line.partition(":")[2].split() for line in said.splitlines()}
    assert found["NoNewPrivs"] == ["1"]
    assert {found[name][0] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert found["Groups"] in ([], ["1"])


def test_groups_are_those_asked_for(host: Host, runtime: str) -> None:
    if not host.has_ids:
        for words in (["--user", "5:6"], ["--user", "5"], ["--group-add", "7"]):
            done = host.run(runtime, *words, IMAGE, "id", check=False)
            assert done.code == 125 and "this user namespace does not have that id" in done.err
            assert "/etc/subuid" in done.err
        return
    assert host.run(runtime, "--user", "5:6", "--group-add", "7", IMAGE, "id").out.split()[:2] == ["uid=5", "gid=6"]
    assert host.run(runtime, "--user", "5:6", "--group-add", "7", IMAGE, "id", "-G").out.split() == ["6", "7"]


@pytest.mark.parametrize("directory", ["/proc/self/fd/7", "/proc/self/fd", "/proc/1/root", "/proc/self/cwd"])
def test_a_working_directory_by_way_of_open_files_is_refused(host: Host, runtime: str, directory: str) -> None:
    done = host.run(runtime, "-w", directory, IMAGE, "pwd", check=False)
    assert done.code != 0 and SECRET not in done.out


def test_a_tree_that_is_read_only_is(host: Host, runtime: str) -> None:
    script = "for f in /x /etc/x /bin/x; do touch $f 2>/dev/null && echo $f; done; touch /dev/shm/x && echo memory"
    assert host.run(runtime, "--read-only", IMAGE, "sh", "-c", script).out == "memory\n"


def test_a_setuid_program_on_a_mount_that_forbids_it_gives_nothing(
    host: Host, runtime: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    said = host.run(runtime, "--tmpfs", "/t:exec", "--user", "0", IMAGE, "sh", "-c",
                    "cp /bin/busybox /t/id && chmod 4755 /t/id && grep ' /t ' /proc/self/mountinfo")  # fmt: skip
    options = said.out.split(" ")[5].split(",")
    assert "nosuid" in options and "nodev" in options


@pytest.mark.parametrize(("words", "why"), [
    (["-v", "ROOT:/s"], "data root"), (["-v", "ROOT/layers:/s"], "data root"),
    (["--mount", "type=bind,source=ROOT,target=/s"], "data root"),
])  # fmt: skip
def test_the_data_root_is_not_mounted(host: Host, runtime: str, words: list[str], why: str) -> None:
    given = [word.replace("ROOT", host.data_root) for word in words]
    done = host.run(runtime, *given, IMAGE, "ls", "/s", check=False)
    assert done.code == 125 and why in done.err


def test_a_link_in_a_volume_leads_nowhere_else(host: Host, runtime: str) -> None:
    host("volume", "create", "links")
    host.run(runtime, "-v", "links:/v", IMAGE, "ln", "-s", "/etc", "/v/out")
    said = host.run(
        runtime,
        "--mount",
        "type=volume,source=links,target=/part,volume-subpath=out",
        IMAGE,
        "ls",
        "/part",
        check=False,
    )
    assert said.code == 125 and "cannot access path out" in said.err
    host("volume", "rm", "links")


def test_names_and_values_with_line_feeds_stay_values(host: Host, runtime: str) -> None:
    said = host.run(runtime, "-e", "A=one\nB=two", "-l", "x=y\nz", IMAGE, "sh", "-c", 'echo "[$A]"; echo "[$B]"')
    assert said.out == "[one\nB=two]\n[]\n"


@pytest.mark.parametrize("host", ["root", "ranges"], indirect=True)
def test_a_user_file_that_is_a_pipe_does_not_hang(host: Host, runtime: str) -> None:
    name = f"pipe-{runtime}"
    host("run", "--network", "none", "--runtime", runtime, "--name", name, IMAGE, "sh", "-c",
         "rm /etc/passwd; mkfifo /etc/passwd")  # fmt: skip
    host("commit", name, f"{name}:1")
    host("rm", name)
    done = host.run(runtime, "--user", "somebody", f"{name}:1", "true", check=False)
    assert done.code != 0 and done.err
    host("rmi", f"{name}:1")


@pytest.mark.parametrize("host", ["ranges", "one id"], indirect=True)
def test_ids_of_the_host_are_not_those_of_a_plain_users_container(host: Host, runtime: str) -> None:
    said = host.run(runtime, IMAGE, "cat", "/proc/self/uid_map").out.split()
    assert said[:3] == ["0", str(UID), "1"]


@pytest.mark.parametrize("host", ["root"], indirect=True)
class TestLimits:
    """They hold inside, and nobody else feels them.  Of root: a plain user has no control groups here."""

    def test_of_processes(self, host: Host, runtime: str) -> None:
        script = "i=0; while [ $i -lt 40 ]; do sleep 500 & i=$((i+1)); done; echo $i"
        done = host.run(runtime, "--pids-limit", "20", IMAGE, "sh", "-c", script, check=False)
        assert done.code != 0 and "fork" in done.err
        shown = "cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null"
        assert host.run(runtime, IMAGE, "sh", "-c", shown, check=False).out.split() == ["4096"]

    def test_of_memory(self, host: Host, runtime: str) -> None:
        python, shown = python_shown()
        done = host.run(
            runtime, "-m", "32m", "--memory-swap", "32m", *shown, IMAGE, python, "-c", "b'x' * (200 << 20)", check=False
        )
        assert done.code == 137

    def test_of_what_a_log_takes(self, host: Host, runtime: str) -> None:
        name = f"loud-{runtime}"
        host("run", "-d", "--network", "none", "--runtime", runtime, "--name", name, "--log-opt", "max-size=10k",
             "--log-opt", "max-file=2", IMAGE, "sh", "-c", "yes | head -n 20000")  # fmt: skip
        host("wait", name)
        log = Path(host("inspect", "--format", "{{.LogPath}}", name).out.strip())
        assert sum(path.stat().st_size for path in log.parent.glob(f"{log.name}*")) < 25_000
        host("rm", name)
