"""Which system calls a container may make: the profile that the host's container packages keep up to date.

Debian's golang-github-containers-common (with podman, buildah, skopeo) has it; an administrator's own stands before it.
Where there is none a container is held by its capabilities, namespaces and device rules alone.
The files are docker's profile format, whose conditions are decided here.
Sources: moby profiles/seccomp (seccomp.go, seccomp_linux.go); containers.conf(5) seccomp_profile.
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

PROFILES = ("/etc/containers/seccomp.json", "/usr/share/containers/seccomp.json")
_ARCHES = {
    "x86_64": ("amd64", "SCMP_ARCH_X86_64"), "aarch64": ("arm64", "SCMP_ARCH_AARCH64"),
    "armv7l": ("arm", "SCMP_ARCH_ARM"), "i686": ("x86", "SCMP_ARCH_X86"), "ppc64le": ("ppc64le", "SCMP_ARCH_PPC64LE"),
    "riscv64": ("riscv64", "SCMP_ARCH_RISCV64"), "s390x": ("s390x", "SCMP_ARCH_S390X"),
}  # fmt: skip
"""What `uname -m` says: Go's name and libseccomp's."""


class BadProfile(Unsupported):
    """The host's profile of system calls cannot be read."""


@functools.cache
def profile(capabilities: Sequence[str], paths: Sequence[str] = PROFILES) -> dict[str, Any] | None:
    """The runtime-spec's `seccomp` for a process with these capabilities; None where the host has no profile.

    Raises BadProfile.
    """
    machine = os.uname()
    names = _ARCHES.get(machine.machine)
    for path in paths:
        try:
            with open(path, "rb") as file:
                given = json.load(file)
            return converted(given, capabilities, names, _version(machine.release)) if names else None
        except FileNotFoundError:
            continue
        except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
            raise BadProfile(f"{path} is no seccomp profile: {error}", hint="correct it, or reinstall it") from error
    return None


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
