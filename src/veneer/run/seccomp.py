"""Which system calls a container may make: the profile that the host's container packages keep up to date, hardened.

Debian's golang-github-containers-common (with podman, buildah, skopeo) has it; an administrator's own stands before it.
The package's lets everybody mount and make namespaces, which nested engines need and attacks on the kernel begin with;
docker's lets only those who have the capability, and so do we (WITHOUT).  Where there is no profile, what is refused
is refused all the same, and everything else is allowed.
The files are docker's profile format, whose conditions are decided here.
Sources: moby profiles/seccomp (seccomp.go, default_linux.go); containers.conf(5) seccomp_profile.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Sequence

from veneer.errors import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ADMINISTRATORS = "/etc/"
"""What lies here somebody wrote for this host, and it is taken as it is."""
PROFILES = ("/etc/containers/seccomp.json", "/usr/share/containers/seccomp.json")
_ARCHES = {
    "x86_64": ("amd64", "SCMP_ARCH_X86_64"), "aarch64": ("arm64", "SCMP_ARCH_AARCH64"),
    "armv7l": ("arm", "SCMP_ARCH_ARM"), "i686": ("x86", "SCMP_ARCH_X86"), "ppc64le": ("ppc64le", "SCMP_ARCH_PPC64LE"),
    "riscv64": ("riscv64", "SCMP_ARCH_RISCV64"), "s390x": ("s390x", "SCMP_ARCH_S390X"),
}  # fmt: skip
"""What `uname -m` says: Go's name and libseccomp's."""


ALWAYS = frozenset({
    "add_key", "io_uring_enter", "io_uring_register", "io_uring_setup", "kexec_file_load", "kexec_load", "keyctl",
    "pivot_root", "request_key", "swapoff", "swapon", "userfaultfd",
})  # fmt: skip
"""Calls that no container makes, unless it is privileged or its profile is its user's own."""
_ADMIN = "CAP_SYS_ADMIN"
WITHOUT = {
    _ADMIN: (
        "bpf", "clone3", "fanotify_init", "fsconfig", "fsmount", "fsopen", "fspick", "lookup_dcookie", "mount",
        "mount_setattr", "move_mount", "open_tree", "perf_event_open", "quotactl", "quotactl_fd", "setdomainname",
        "sethostname", "setns", "syslog", "umount", "umount2", "unshare",
    ),
    "CAP_BPF": ("bpf",),
    "CAP_DAC_READ_SEARCH": ("open_by_handle_at",),
    "CAP_PERFMON": ("perf_event_open",),
    "CAP_SYSLOG": ("syslog",),
    "CAP_SYS_BOOT": ("reboot",),
    "CAP_SYS_CHROOT": ("chroot",),
    "CAP_SYS_MODULE": ("delete_module", "finit_module", "init_module"),
    "CAP_SYS_PACCT": ("acct",),
    "CAP_SYS_RAWIO": ("ioperm", "iopl"),
    "CAP_SYS_TIME": ("clock_settime", "clock_settime64", "settimeofday", "stime"),
    "CAP_SYS_TTY_CONFIG": ("vhangup",),
}  # fmt: skip
"""Calls that need a capability; one of several is enough."""
_NAMESPACES = 0x7E020000
"""The flags of clone(2) that make namespaces.  Source: linux/sched.h."""
_EPERM, _ENOSYS = 1, 38


class BadProfile(Unsupported):
    """The host's profile of system calls cannot be read."""


@functools.cache
def profile(capabilities: Sequence[str], paths: Sequence[str] = PROFILES) -> dict[str, Any] | None:
    """The runtime-spec's `seccomp` for a process with these capabilities; None on a machine we know no names of.

    Raises BadProfile.
    """
    machine = os.uname()
    names = _ARCHES.get(machine.machine)
    for path in paths:
        try:
            with open(path, "rb") as file:
                given = json.load(file)
            if names is None:
                return None
            made = converted(given, capabilities, names, _version(machine.release))
            return made if path.startswith(_ADMINISTRATORS) else hardened(made, capabilities)
        except FileNotFoundError:
            continue
        except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
            raise BadProfile(f"{path} is no seccomp profile: {error}", hint="correct it, or reinstall it") from error
    if names is None:
        return None
    return hardened({"defaultAction": "SCMP_ACT_ALLOW", "architectures": [names[1]], "syscalls": []}, capabilities)


def given(text: str, capabilities: Sequence[str]) -> dict[str, Any]:
    """A profile of the user's own, JSON as docker takes it, for these capabilities.  Raises BadProfile."""
    machine = os.uname()
    names = _ARCHES.get(machine.machine)
    try:
        return converted(json.loads(text), capabilities, names or ("", ""), _version(machine.release))
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise BadProfile(f"Decoding seccomp profile failed: {error}", hint="it is JSON in docker's format") from error


def converted(
    given: dict[str, Any], capabilities: Sequence[str], arch: tuple[str, str], kernel: tuple[int, int]
) -> dict[str, Any]:
    """A profile in docker's format as the runtime takes it, for (Go's, libseccomp's) name of the architecture."""
    made: dict[str, Any] = {"defaultAction": given["defaultAction"]}
    if given.get("defaultErrnoRet") is not None:
        made["defaultErrnoRet"] = given["defaultErrnoRet"]
    made["architectures"] = [arch[1]]
    for each in given.get("archMap") or ():
        if each["architecture"] == arch[1]:
            made["architectures"] += each.get("subArchitectures") or ()
    made["syscalls"] = [
        {key: rule[key] for key in ("names", "action", "args", "errnoRet") if rule.get(key)}
        for rule in given.get("syscalls") or ()
        if _applies(rule, capabilities, arch[0], kernel)
    ]
    return made


def refused(capabilities: Sequence[str]) -> frozenset[str]:
    """The calls that a process with these capabilities does not make, but for clone(2) with certain flags."""
    allowed = {name for capability in capabilities for name in WITHOUT.get(capability, ())}
    return (ALWAYS | {name for names in WITHOUT.values() for name in names}) - allowed


def hardened(profile: dict[str, Any], capabilities: Sequence[str]) -> dict[str, Any]:
    """A profile without what is refused."""
    away = refused(capabilities)
    special = set() if _ADMIN in capabilities else {"clone"}
    rules = []
    for rule in profile["syscalls"]:
        names = [name for name in rule["names"] if name not in away and name not in special]
        rules += [{**rule, "names": names}] if names else []
    # A program that is told that there is no clone3 takes clone, whose flags a filter can look at.
    absent = away & {"clone3"}
    rules.append({"names": sorted(away - absent), "action": "SCMP_ACT_ERRNO", "errnoRet": _EPERM})
    if absent:
        rules.append({"names": sorted(absent), "action": "SCMP_ACT_ERRNO", "errnoRet": _ENOSYS})
    if special:
        rules += _clone(allowed=profile["defaultAction"] == "SCMP_ACT_ALLOW")
    return {**profile, "syscalls": rules}


def _clone(*, allowed: bool) -> list[dict[str, Any]]:
    """Rules for clone(2) without the flags that make namespaces; `allowed`: what no rule names is."""
    index = 1 if os.uname().machine == "s390x" else 0
    masked = {"index": index, "op": "SCMP_CMP_MASKED_EQ"}
    if not allowed:
        argument = {**masked, "value": _NAMESPACES, "valueTwo": 0}
        return [{"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [argument]}]
    flags = [1 << bit for bit in range(32) if _NAMESPACES >> bit & 1]
    return [
        {"names": ["clone"], "action": "SCMP_ACT_ERRNO", "errnoRet": _EPERM,
         "args": [{**masked, "value": flag, "valueTwo": flag}]}
        for flag in flags
    ]  # fmt: skip


def _applies(rule: dict[str, Any], capabilities: Sequence[str], arch: str, kernel: tuple[int, int]) -> bool:
    needs, spares = rule.get("includes") or {}, rule.get("excludes") or {}
    if needs.get("arches") and arch not in needs["arches"]:
        return False
    if not set(needs.get("caps") or ()).issubset(capabilities):
        return False
    if needs.get("minKernel") and kernel < _version(needs["minKernel"]):
        return False
    return arch not in (spares.get("arches") or ()) and set(spares.get("caps") or ()).isdisjoint(capabilities)


def _version(text: str) -> tuple[int, int]:
    """The first two numbers of a kernel's release."""
    major, minor = text.replace("-", ".").split(".")[:2]
    return int(major), int(minor)
