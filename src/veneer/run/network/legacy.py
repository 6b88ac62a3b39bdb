"""Hosts that still have rules of iptables' old kind, which nft neither sees nor writes.

There, too, another engine may have set the policy of FORWARD to DROP, which nobody else's rules overrule.  Where the
kernel has such a table in our namespace, each bridge is let through it; where it has none, no program is run.
Sources: iptables-save(8), iptables-restore(8); net/ipv4/netfilter/ip_tables.c (/proc/net/ip_tables_names).
"""

from __future__ import annotations

import os

from veneer.run.network.failures import NetworkFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence

SEARCHED = "/usr/sbin:/sbin:/usr/local/sbin:/usr/bin:/bin"
_NAMES = {"ip": "/proc/thread-self/net/ip_tables_names", "ip6": "/proc/thread-self/net/ip6_tables_names"}
_PROGRAMS = {"ip": "iptables-legacy", "ip6": "ip6tables-legacy"}
_PATIENCE_SECONDS = 30.0


def admit(bridge: str, mark: str, families: Sequence[str]) -> None:
    """Let a bridge through the old FORWARD chains of `families` ("ip", "ip6") that are there.  Raises NetworkFailed."""
    for family in families:
        if not _has_filter(family):
            continue
        if any(f'"{mark}"' in rule for rule in _rules(family)):
            continue
        for direction in ("-i", "-o"):
            rule = ["-I", "FORWARD", direction, bridge, "-m", "comment", "--comment", mark, "-j", "ACCEPT"]
            _run(family, rule)


def forget(mark: str) -> None:
    """Take those rules away again whose comment, in its quotes, begins with `mark`."""
    import shlex

    for family in _NAMES:
        if _has_filter(family):
            for rule in _rules(family):
                if mark in rule:
                    _run(family, ["-D", *shlex.split(rule)[1:]])


def _has_filter(family: str) -> bool:
    """Whether the kernel has the old filter table of a family here, and there is a program that speaks of it."""
    try:
        with open(_NAMES[family], encoding="ascii") as names:
            found = "filter" in names.read().split()
    except FileNotFoundError:
        return False
    return found and bool(_program(family))


def _rules(family: str) -> list[str]:
    """The rules of FORWARD, as `iptables -S` has them."""
    return _run(family, ["-S", "FORWARD"]).stdout.decode(errors="replace").splitlines()


def _program(family: str) -> str:
    name = _PROGRAMS[family]
    return next((f"{each}/{name}" for each in SEARCHED.split(":") if os.access(f"{each}/{name}", os.X_OK)), "")


def _run(family: str, words: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
    import subprocess

    program = _program(family)
    try:
        done = subprocess.run([program, "--wait", *words], capture_output=True, timeout=_PATIENCE_SECONDS, check=False,
                              cwd="/", env={"PATH": SEARCHED, "LC_ALL": "C"})  # fmt: skip
    except subprocess.TimeoutExpired:
        raise NetworkFailed(f"{program} did not answer for {_PATIENCE_SECONDS:.0f} s") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise NetworkFailed(f"{program} could not change the host's rules: {said[0] if said else 'no reason'}")
    return done
