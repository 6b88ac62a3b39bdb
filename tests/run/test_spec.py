"""The runtime's document says what docker would have it say."""

from __future__ import annotations

from veneer.run.spec import ALL_CAPABILITIES, CAPABILITIES, Bind, Host, Limit, Process, Resources, Tmpfs, document

SHELL = Process(("sh",))
ROOT = Host()


def mounts(process: Process, host: Host = ROOT) -> dict[str, dict[str, object]]:
    return {mount["destination"]: mount for mount in document(process, "/tree", host)["mounts"]}


def test_root_has_dockers_capabilities_and_nobody_else_has_any_in_force() -> None:
    as_root = document(SHELL, "/tree", ROOT)["process"]["capabilities"]
    assert as_root["bounding"] == as_root["effective"] == as_root["permitted"]
    assert set(as_root["bounding"]) == set(CAPABILITIES)
    as_user = document(SHELL.replaced(uid=7), "/tree", ROOT)["process"]["capabilities"]
    assert as_user["bounding"] == as_root["bounding"]
    assert as_user["effective"] == as_user["permitted"] == []


def test_a_privileged_process_has_all_of_them_and_nothing_is_masked() -> None:
    made = document(SHELL.replaced(privileged=True), "/tree", ROOT)
    assert made["process"]["capabilities"]["bounding"] == list(ALL_CAPABILITIES)
    assert "maskedPaths" not in made["linux"] and "readonlyPaths" not in made["linux"]
    assert made["linux"]["resources"]["devices"] == [{"allow": True, "access": "rwm"}]


def test_nobody_gets_a_capability_that_we_do_not_have() -> None:
    without_chown = Host(capabilities=ROOT.capabilities & ~1)
    for privileged in (False, True):
        made = document(SHELL.replaced(privileged=privileged), "/tree", without_chown)["process"]["capabilities"]
        assert "CAP_CHOWN" not in made["bounding"] and "CAP_KILL" in made["bounding"]


def test_a_network_is_its_own_the_hosts_or_one_that_is_there() -> None:
    def network(name: str) -> list[dict[str, str]]:
        spaces = document(SHELL.replaced(network=name), "/tree", ROOT)["linux"]["namespaces"]
        return [space for space in spaces if space["type"] == "network"]

    assert network("none") == [{"type": "network"}]
    assert network("host") == []
    assert network("/proc/1/ns/net") == [{"type": "network", "path": "/proc/1/ns/net"}]


def test_dockers_other_limits_are_said_too() -> None:
    wanted = Resources(
        1 << 20, memory_swap=-1, cpu_shares=2, cpu_period=3, cpu_quota=4, cpuset_cpus="0", cpuset_mems="1"
    )
    made = document(SHELL.replaced(resources=wanted), "/tree", ROOT)["linux"]["resources"]
    assert made["memory"] == {"limit": 1 << 20, "swap": -1}
    assert made["cpu"] == {"shares": 2, "period": 3, "quota": 4, "cpus": "0", "mems": "1"}


def test_limits_are_said_in_the_runtimes_units() -> None:
    wanted = Resources(64 << 20, 1.5, 1 << 20, (Limit("nofile", 10, 20), Limit("core", -1, -1)))
    made = document(SHELL.replaced(resources=wanted), "/tree", ROOT)
    assert made["linux"]["resources"]["memory"] == {"limit": 64 << 20}
    assert made["linux"]["resources"]["cpu"] == {"period": 100_000, "quota": 150_000}
    assert made["process"]["rlimits"] == [
        {"type": "RLIMIT_NOFILE", "soft": 10, "hard": 20},
        {"type": "RLIMIT_CORE", "soft": 2**64 - 1, "hard": 2**64 - 1},
    ]
    assert f"size={1 << 20}" in str(mounts(SHELL.replaced(resources=wanted))["/dev/shm"]["options"])


def test_without_control_groups_nothing_is_said_of_them() -> None:
    made = document(SHELL, "/tree", Host(initial=False, groups=1, cgroups=False))
    assert "resources" not in made["linux"] and "cgroupsPath" not in made["linux"]
    assert "/sys/fs/cgroup" not in {mount["destination"] for mount in made["mounts"]}


def test_in_a_user_namespace_with_one_group_terminals_are_everybodys() -> None:
    options = mounts(SHELL, Host(initial=False, groups=1, cgroups=False))["/dev/pts"]["options"]
    assert "gid=5" not in str(options)
    assert "gid=5" in str(mounts(SHELL)["/dev/pts"]["options"])


def test_the_hosts_network_in_a_user_namespace_needs_the_hosts_sysfs() -> None:
    found = mounts(SHELL.replaced(network="host"), Host(initial=False))["/sys"]
    assert found["type"] == "none" and found["source"] == "/sys"


def test_what_is_mounted_besides_comes_last_in_the_order_given() -> None:
    given = (Bind("/a", "/x", readonly=True), Tmpfs("/x/y", 4096))
    bind, tmpfs = document(SHELL.replaced(mounts=given), "/tree", ROOT)["mounts"][-2:]
    assert bind == {"destination": "/x", "type": "bind", "source": "/a", "options": ["rbind", "rprivate", "ro"]}
    assert tmpfs["destination"] == "/x/y" and "size=4096" in tmpfs["options"]
