"""What a process wants, as the runtime-spec's config.json: docker's defaults, made without looking at anything.

Sources: OCI runtime-spec config.md, config-linux.md; moby oci/defaults.go, oci/caps/defaults.go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Document = dict[str, Any]

CAPABILITIES = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
    "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL",
    "CAP_AUDIT_WRITE",
)  # fmt: skip
"""What root in a container may do, unless told otherwise."""
ALL_CAPABILITIES = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
    "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN",
    "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
)  # fmt: skip
"""Every capability, in the order of their numbers.  Source: linux/capability.h."""
_MASKED = (
    "/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
    "/sys/devices/virtual/powercap",
)  # fmt: skip
_READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
SYSTEM_TARGETS = ("/proc", "/dev", "/sys")
"""The directories of a tree that the system's file systems are mounted on."""
SHM_SIZE = 64 << 20
UMASK = 0o022
CPU_PERIOD_US = 100_000


class Bind(Value):
    """Something mounted in the container: `source` is on the host, `target` absolute and without links."""

    __slots__ = ()
    source: str
    target: str
    readonly: bool = False


class Tmpfs(Value):
    """An empty file system in memory; `size` in bytes, 0: half of the memory, the kernel's own limit."""

    __slots__ = ()
    target: str
    size: int = 0
    readonly: bool = False


class Limit(Value):
    """One `ulimit`: its name in small letters ("nofile"), -1 for no limit."""

    __slots__ = ()
    name: str
    soft: int
    hard: int


class Resources(Value):
    """What a container may use at most, 0 for no limit: bytes of memory and of /dev/shm, processors (1.5).

    `memory_swap` is memory and swap together, -1 for no limit of that; `cpu_shares` a weight; `cpu_period` and
    `cpu_quota` microseconds; the sets are lists as in `0-3,5`.
    """

    __slots__ = ()
    memory: int = 0
    cpus: float = 0.0
    shm_size: int = SHM_SIZE
    limits: tuple[Limit, ...] = ()
    memory_swap: int = 0
    cpu_shares: int = 0
    cpu_period: int = 0
    cpu_quota: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""


class Host(Value):
    """What the host lets us do.

    `initial`: we are in its first user namespace.  `groups`: how many group IDs we have (one, in a user namespace
    without a range).  `cgroups`: whether limits can be set.  `capabilities`: those we can have ourselves, a bit each.
    """

    __slots__ = ()
    initial: bool = True
    groups: int = 1 << 32
    cgroups: bool = True
    capabilities: int = (1 << len(ALL_CAPABILITIES)) - 1


class Process(Value):
    """What is run: `words` and `env` as execve takes them, `cwd` absolute.

    `network`: "none" (its own, with loopback alone), "host", or the path of a network namespace.  `privileged`: all
    capabilities, nothing masked, every device.  `cgroup`: path of its control group, "" for the runtime's choice.
    """

    words: tuple[str, ...]
    env: tuple[str, ...] = ()
    cwd: str = "/"
    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    hostname: str = ""
    network: str = "none"
    privileged: bool = False
    mounts: tuple[Bind | Tmpfs, ...] = ()
    resources: Resources = Resources()
    cgroup: str = ""
    seccomp: Mapping[str, object] | None = None


def document(process: Process, rootfs: str, host: Host) -> Document:
    """The config.json for `process` in the tree at `rootfs`."""
    linux: Document = {"namespaces": _namespaces(process)}
    if not process.privileged:
        linux |= {"maskedPaths": list(_MASKED), "readonlyPaths": list(_READONLY)}
        if process.seccomp is not None:
            linux["seccomp"] = process.seccomp
    if host.cgroups:
        linux["resources"] = _resources(process)
        if process.cgroup:
            linux["cgroupsPath"] = process.cgroup
    made: Document = {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": _user(process, host),
            "args": list(process.words),
            "env": list(process.env),
            "cwd": process.cwd,
            "capabilities": _capabilities(process, host),
            "rlimits": [
                {"type": f"RLIMIT_{limit.name.upper()}", "soft": _unlimited(limit.soft), "hard": _unlimited(limit.hard)}
                for limit in process.resources.limits
            ],
            "noNewPrivileges": False,
        },
        "root": {"path": rootfs},
        "mounts": [*_system_mounts(process, host), *map(_mount, process.mounts)],
        "linux": linux,
    }
    if process.hostname:
        made["hostname"] = process.hostname
    return made


def _unlimited(value: int) -> int:
    return (1 << 64) - 1 if value < 0 else value


def _user(process: Process, host: Host) -> Document:
    user: Document = {"uid": process.uid, "gid": process.gid, "umask": UMASK}
    if process.groups and host.groups > 1:
        user["additionalGids"] = list(process.groups)
    return user


def _capabilities(process: Process, host: Host) -> Document:
    allowed = [
        name for number, name in enumerate(ALL_CAPABILITIES)
        if host.capabilities >> number & 1 and (process.privileged or name in CAPABILITIES)
    ]  # fmt: skip
    # As execve would have it: whoever is not root begins with none of them in force.
    in_force = allowed if process.uid == 0 else []
    return {"bounding": allowed, "effective": in_force, "permitted": in_force}


def _namespaces(process: Process) -> list[Document]:
    # "cgroup": our groups' names, which say where and as which process we run, are nothing to a container.
    found: list[Document] = [{"type": name} for name in ("mount", "pid", "uts", "ipc", "cgroup")]
    if process.network == "none":
        found.append({"type": "network"})
    elif process.network != "host":
        found.append({"type": "network", "path": process.network})
    return found


def _resources(process: Process) -> Document:
    resources = process.resources
    made: Document = {"devices": [{"allow": process.privileged, "access": "rwm"}]}
    memory = {"limit": resources.memory, "swap": resources.memory_swap}
    if resources.cpus:
        period, quota = CPU_PERIOD_US, round(resources.cpus * CPU_PERIOD_US)
    else:
        period, quota = resources.cpu_period, resources.cpu_quota
    cpu = {
        "shares": resources.cpu_shares, "period": period, "quota": quota, "cpus": resources.cpuset_cpus,
        "mems": resources.cpuset_mems,
    }  # fmt: skip
    for name, given in (("memory", memory), ("cpu", cpu)):
        if wanted := {key: value for key, value in given.items() if value}:
            made[name] = wanted
    return made


def _system_mounts(process: Process, host: Host) -> list[Document]:
    def made(kind: str, target: str, options: Sequence[str], source: str = "") -> Document:
        return {"destination": target, "type": kind, "source": source or kind, "options": list(options)}

    quiet = ["nosuid", "noexec", "nodev"]
    writing = [] if process.privileged else ["ro"]
    # The kernel lets only the owner of a network namespace mount its sysfs.
    foreign_sysfs = not host.initial and process.network == "host"
    sys = made("none", "/sys", ["rbind", *quiet, "ro"], "/sys") if foreign_sysfs else made(
        "sysfs", "/sys", [*quiet, *writing])  # fmt: skip
    terminals = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
    found = [
        made("proc", "/proc", quiet),
        made("tmpfs", "/dev", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        made("devpts", "/dev/pts", [*terminals, "gid=5"] if host.groups > 5 else terminals),
        sys,
        made("mqueue", "/dev/mqueue", quiet),
        made("tmpfs", "/dev/shm", [*quiet, "mode=1777", f"size={process.resources.shm_size}"], "shm"),
    ]
    if host.cgroups:
        found.insert(4, made("cgroup", "/sys/fs/cgroup", [*quiet, *writing]))
    return found


def _mount(mount: Bind | Tmpfs) -> Document:
    if isinstance(mount, Tmpfs):
        size = [f"size={mount.size}"] if mount.size else []
        options = ["nosuid", "nodev", "mode=1777", *size, *(["ro"] if mount.readonly else [])]
        return {"destination": mount.target, "type": "tmpfs", "source": "tmpfs", "options": options}
    options = ["rbind", "rprivate", "ro" if mount.readonly else "rw"]
    return {"destination": mount.target, "type": "bind", "source": mount.source, "options": options}
