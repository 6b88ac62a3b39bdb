"""From docker's Config and HostConfig to a process."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from veneer.run import wanted
from veneer.run.spec import (
    ALL_CAPABILITIES,
    CAPABILITIES,
    Bind,
    Device,
    DeviceRule,
    Host,
    Limit,
    Process,
    Throttle,
    Tmpfs,
    limits_of,
)
from veneer.run.users import Identity

ROOT = Identity(0, 0, (0,), "/root")
HOST = Host()


def job(config: dict[str, Any] | None = None, host: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"args": ["sh"], "document": {"Config": config or {}, "HostConfig": host or {}}, **more}


def test_variables_come_in_dockers_order_and_the_containers_own_win() -> None:
    config = {"Hostname": "here", "Tty": True, "Env": ["A=1", "PATH=/bin", "TERM", "B=x=y"]}
    assert wanted.environment(config, "/root") == ("PATH=/bin", "HOSTNAME=here", "A=1", "B=x=y", "HOME=/root")
    assert "HOME=/own" in wanted.environment({"Env": ["HOME=/own"]}, "/root")


@pytest.mark.parametrize(
    ("host", "there", "gone"),
    [
        ({}, set(CAPABILITIES), set()),
        ({"CapAdd": ["net_admin", "CAP_SYS_TIME"]}, {*CAPABILITIES, "CAP_NET_ADMIN", "CAP_SYS_TIME"}, set()),
        ({"CapDrop": ["ALL"]}, set(), set(CAPABILITIES)),
        ({"CapDrop": ["all"], "CapAdd": ["CHOWN"]}, {"CAP_CHOWN"}, {"CAP_KILL"}),
        ({"CapAdd": ["ALL"], "CapDrop": ["CHOWN"]}, {*ALL_CAPABILITIES} - {"CAP_CHOWN"}, {"CAP_CHOWN"}),
        ({"CapAdd": ["CHOWN"], "CapDrop": ["CHOWN"]}, {*CAPABILITIES} - {"CAP_CHOWN"}, {"CAP_CHOWN"}),
        ({"Privileged": True}, set(ALL_CAPABILITIES), set()),
    ],
)
def test_capabilities_are_added_and_dropped(host: dict[str, Any], there: set[str], gone: set[str]) -> None:
    found = set(wanted.capabilities(host))
    assert found == there and not found & gone


def test_limits_are_dockers_but_for_processes_which_end_at_4096() -> None:
    found = wanted.resources(
        {"Memory": 5, "NanoCpus": 1_500_000_000, "MemorySwappiness": 0, "PidsLimit": None, "BlkioWeight": 10}, HOST
    )
    assert (found.memory, found.cpus, found.memory_swappiness, found.pids, found.blkio_weight) == (5, 1.5, 0, 4096, 10)
    assert wanted.resources({"PidsLimit": 7}, HOST).pids == 7
    assert wanted.resources({"PidsLimit": -1}, HOST).pids == 0
    assert wanted.resources({}, HOST).memory_swappiness == -1


def test_a_limit_above_the_hosts_own_is_taken_down_to_it_for_whoever_may_not_raise_it() -> None:
    import resource

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    asked = {"Ulimits": [{"Name": "nofile", "Soft": hard + 1, "Hard": hard + 2}]}
    assert wanted.resources(asked, Host(initial=False)).limits == (Limit("nofile", hard, hard),)
    assert wanted.resources(asked, HOST).limits == (Limit("nofile", hard + 1, hard + 2),)


def test_security_options_are_read_with_either_sign() -> None:
    for text in ("no-new-privileges", "no-new-privileges:true", "no-new-privileges=true"):
        assert wanted.no_new_privileges({"SecurityOpt": [text]})
    assert not wanted.no_new_privileges({"SecurityOpt": ["no-new-privileges=false"]})
    assert wanted.seccomp({"SecurityOpt": ["seccomp=unconfined"]}, CAPABILITIES) is None


def test_devices_are_what_the_host_has_and_what_is_none_is_said() -> None:
    [found] = wanted.devices({"Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/nothing",
                                           "CgroupPermissions": "r"}]}, HOST)  # fmt: skip
    assert found.replaced(uid=0, gid=0) == Device("/dev/nothing", "c", 1, 3, "r", found.mode)
    for path, fact in (("/etc", ""), ("/etc/passwd", "not a device node"), ("/dev/none", "no such file or directory")):
        asked = {"Devices": [{"PathOnHost": path, "PathInContainer": path, "CgroupPermissions": "rwm"}]}
        if not fact:
            assert list(wanted.devices(asked, HOST)) == []
            continue
        with pytest.raises(wanted.NoSuchDevice, match=f'adding custom device "{path}": {fact}'):
            list(wanted.devices(asked, HOST))


def test_what_is_mounted_comes_parents_first() -> None:
    binds = [
        {"type": "bind", "source": "/x", "target": "/a/b/c", "readonly": True, "propagation": "rslave"},
        {"type": "tmpfs", "target": "/a", "size": 5, "mode": 0o700},
    ]
    assert wanted.mounts(job(binds=binds, init="/usr/bin/tini"), str) == [
        Tmpfs("/a", 5, False, 0o700, ("noexec",)),
        Bind("/usr/bin/tini", "/sbin/docker-init", True),
        Bind("/x", "/a/b/c", True, "rslave"),
    ]


def test_a_process_is_all_of_that() -> None:
    config = {"Hostname": "here", "WorkingDir": "/w", "Tty": True, "Env": ["A=1"]}
    host = {
        "ReadonlyRootfs": True, "Sysctls": {"net.core.somaxconn": "5"}, "OomScoreAdj": 7, "ConsoleSize": [24, 80],
        "DeviceCgroupRules": ["c 42:* rw"], "MaskedPaths": [], "ReadonlyPaths": ["/proc/sys"], "IpcMode": "none",
    }  # fmt: skip
    made = wanted.process(job(config, host, init="/x"), ROOT, HOST, network="none", cgroup="/g")
    assert made.words == ("/sbin/docker-init", "--", "sh")
    assert (made.cwd, made.hostname, made.terminal, made.size) == ("/w", "here", True, (24, 80))
    assert made.readonly_root and made.masked == () and made.readonly_paths == ("/proc/sys",) and not made.shm
    assert dict(made.sysctls)["net.core.somaxconn"] == "5"
    assert dict(made.sysctls)["net.ipv4.ip_unprivileged_port_start"] == "0"
    assert made.device_rules == (DeviceRule("c", 42, -1, "rw"),)
    assert made.oom_score_adj == 7 and made.cgroup == "/g"


def test_an_exec_has_the_containers_variables_and_its_own() -> None:
    found = wanted.exec_process(
        job({"Env": ["A=1"], "Tty": True}), {"Cmd": ["true"], "Env": ["A=2", "B=3"], "User": ""}, ROOT, HOST
    )
    assert {"A=2", "B=3"} <= set(found.env) and not any(pair.startswith("TERM=") for pair in found.env)
    assert (
        wanted.exec_process(job(), {"Cmd": ["true"], "Privileged": True}, ROOT, HOST).capabilities == ALL_CAPABILITIES
    )


def test_a_part_of_a_volume_is_shown_by_its_descriptor(tmp_path: Path) -> None:
    (tmp_path / "vol/a").mkdir(parents=True)
    (tmp_path / "vol/out").symlink_to("/etc")
    seen = []

    def show(fd: int) -> str:
        seen.append(os.path.basename(os.readlink(f"/proc/self/fd/{fd}")))
        os.close(fd)
        return "/shown"

    bind = {"type": "volume", "source": str(tmp_path / "vol"), "target": "/p", "subpath": "a"}
    assert wanted.mounts(job(binds=[bind]), show) == [Bind("/shown", "/p")] and seen == ["a"]
    for path in ("out", "nosuch", "a/../../x"):
        with pytest.raises(wanted.NoSuchSubpath):
            wanted.mounts(job(binds=[bind | {"subpath": path}]), show)


def test_rates_of_devices_are_by_their_numbers() -> None:
    host = {
        "BlkioDeviceReadBps": [{"Path": "/dev/null", "Rate": 5}],
        "BlkioDeviceWriteIOps": [{"Path": "/dev/zero", "Rate": 6}],
    }
    found = wanted.resources(host, Host())
    assert found.throttles == (Throttle("ReadBps", 1, 3, 5), Throttle("WriteIOPS", 1, 5, 6))
    block = limits_of(Process(("x",), resources=found))["blockIO"]
    assert block["throttleReadBpsDevice"] == [{"major": 1, "minor": 3, "rate": 5}]
    with pytest.raises(wanted.NoSuchDevice):
        wanted.resources({"BlkioDeviceReadBps": [{"Path": "/dev/nosuch", "Rate": 5}]}, Host())


def test_ping_is_for_the_groups_that_this_user_namespace_has() -> None:
    job = {"args": ["true"], "document": {"Config": {}, "HostConfig": {}}}
    who = Identity(0, 0, (0,), "/root")
    for groups, last in ((1 << 32, 2147483647), (65537, 65536), (1, 0)):
        made = wanted.process(job, who, Host(groups=groups, capabilities=0))
        assert dict(made.sysctls)["net.ipv4.ping_group_range"] == f"0 {last}"
