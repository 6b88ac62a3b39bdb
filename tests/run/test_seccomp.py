"""The host's profile of system calls, decided for a process, and in force."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.run.conftest import Containers
from veneer.run.seccomp import ALWAYS, BadProfile, converted, hardened, profile, refused
from veneer.run.spec import CAPABILITIES

AMD64 = ("amd64", "SCMP_ARCH_X86_64")
GIVEN = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "defaultErrnoRet": 38,
    "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
    "syscalls": [
        {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [], "comment": "c", "includes": {}, "excludes": {}},
        {"names": ["arm"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm64"]}},
        {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["new"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
    ],
}


def test_conditions_are_decided() -> None:
    made = converted(GIVEN, ("CAP_KILL",), AMD64, (4, 7))
    assert made == {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 38,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1},
        ],
    }
    more = converted(GIVEN, ("CAP_SYS_ADMIN",), ("arm64", "SCMP_ARCH_AARCH64"), (6, 1))
    assert [rule["names"] for rule in more["syscalls"]] == [["read"], ["arm"], ["mount"], ["new"]]
    assert more["architectures"] == ["SCMP_ARCH_AARCH64"]


def test_the_administrators_profile_stands_first_and_a_host_may_have_none(tmp_path: Path) -> None:
    paths = (str(tmp_path / "first"), str(tmp_path / "second"))
    none = profile(("CAP_KILL",), paths)
    assert none is not None and none["defaultAction"] == "SCMP_ACT_ALLOW"
    assert "mount" in {name for rule in none["syscalls"] for name in rule["names"]}
    profile.cache_clear()
    (tmp_path / "second").write_text('{"defaultAction": "SCMP_ACT_ALLOW"}')
    found = profile(("CAP_KILL",), paths)
    assert found is not None and found["defaultAction"] == "SCMP_ACT_ALLOW"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [1]}'])
def test_what_is_no_profile_is_refused(tmp_path: Path, text: str) -> None:
    profile.cache_clear()
    (tmp_path / "profile").write_text(text)
    with pytest.raises(BadProfile, match="is no seccomp profile"):
        profile(("CAP_KILL",), (str(tmp_path / "profile"),))


def test_a_profile_is_in_force(containers: Containers) -> None:
    refuse = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}
    ran = containers("sh", "-c", "mkdir /x || grep Seccomp: /proc/self/status",
                     seccomp={"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [refuse]})  # fmt: skip
    assert ran.out.split() == ["Seccomp:", "2"]
    assert "not permitted" in ran.err


def test_the_hosts_own_profile_lets_a_shell_work(containers: Containers) -> None:
    profile.cache_clear()
    assert containers("sh", "-c", "echo a | cat", seccomp=profile(CAPABILITIES)).out == "a\n"


def test_what_docker_refuses_is_refused_whatever_the_hosts_profile_allows() -> None:
    allowed = {"names": ["read", "mount", "clone", "keyctl", "reboot"], "action": "SCMP_ACT_ALLOW"}
    made = hardened({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [allowed]}, CAPABILITIES)
    assert made["syscalls"][0] == {"names": ["read"], "action": "SCMP_ACT_ALLOW"}
    assert {"mount", "keyctl", "reboot"} <= set(made["syscalls"][1]["names"])
    [clone] = [rule for rule in made["syscalls"] if rule["names"] == ["clone"]]
    assert clone["action"] == "SCMP_ACT_ALLOW" and clone["args"][0]["value"] == 0x7E020000
    [absent] = [rule for rule in made["syscalls"] if rule["names"] == ["clone3"]]
    assert absent["errnoRet"] == 38


def test_a_capability_brings_its_calls_back() -> None:
    assert {"mount", "bpf", "syslog", "perf_event_open"} <= refused(CAPABILITIES)
    assert "syslog" not in refused((*CAPABILITIES, "CAP_SYSLOG")) and "mount" in refused((*CAPABILITIES, "CAP_SYSLOG"))
    assert refused((*CAPABILITIES, "CAP_SYS_ADMIN")) & {"mount", "bpf", "unshare", "clone3"} == set()
    assert refused((*CAPABILITIES, "CAP_SYS_ADMIN")) >= ALWAYS
