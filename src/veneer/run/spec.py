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
MASKED = (
    "/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
    "/sys/devices/virtual/powercap",
)  # fmt: skip
READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
SYSTEM_TARGETS = ("/proc", "/dev", "/sys")
"""The directories of a tree that the system's file systems are mounted on."""
SHM_SIZE = 64 << 20
UMASK = 0o022
CPU_PERIOD_US = 100_000


class Bind(Value):
    """Something mounted in the container: `source` is on the host, `target` absolute and without links.

    `propagation`: private, slave or shared, with an r before it for what is mounted below, too.  `recursive`: with what
    is mounted below the source.  `options` are further words of mount(8)'s.
    """

    __slots__ = ()
    source: str
    target: str
    readonly: bool = False
    propagation: str = "rprivate"
    recursive: bool = True
    options: tuple[str, ...] = ()


class Tmpfs(Value):
    """An empty file system in memory; `size` in bytes, 0: half of the memory, the kernel's own limit.

    `mode` permission bits; `options` are further words of mount(8)'s, such as exec.
    """

    __slots__ = ()
    target: str
    size: int = 0
    readonly: bool = False
    mode: int = 0o1777
    options: tuple[str, ...] = ()


class Device(Value):
    """A device node in the container: `kind` c or b, `access` of r, w and m."""

    __slots__ = ()
    path: str
    kind: str
    major: int
    minor: int
    access: str = "rwm"
    mode: int = 0o666
    uid: int = 0
    gid: int = 0


class DeviceRule(Value):
    """Which devices may be used besides: `kind` a, c or b; -1 for any number."""

    __slots__ = ()
    kind: str
    major: int
    minor: int
    access: str


class Limit(Value):
    """One `ulimit`: its name in small letters ("nofile"), -1 for no limit."""

    __slots__ = ()
    name: str
    soft: int
    hard: int


class Throttle(Value):
    """A rate a device is used at, at most: `kind` as in the runtime-spec ("ReadBps", "WriteIOPS", ...), per second."""

    __slots__ = ()
    kind: str
    major: int
    minor: int
    rate: int


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
    memory_reservation: int = 0
    memory_swappiness: int = -1
    oom_kill_disable: bool = False
    pids: int = 0
    blkio_weight: int = 0
    throttles: tuple[Throttle, ...] = ()


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

    `network`: "none" (its own, with loopback alone), "host", or the path of a network namespace; `pid`, `ipc`, `uts`,
    `cgroupns`: "" (its own), "host", or a path.  `privileged`: nothing masked, every device, all
    capabilities unless `capabilities` says which.  `cgroup`: path of its control group, "" for the runtime's choice.
    `masked`, `readonly_paths`: None for docker's.  `sysctls` and `annotations` are pairs.  `shm`: whether /dev/shm is
    made.  `terminal`: its standard streams are one, `size` (rows, columns) of it.
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
    domainname: str = ""
    terminal: bool = False
    size: tuple[int, int] = (0, 0)
    capabilities: tuple[str, ...] | None = None
    no_new_privileges: bool = False
    readonly_root: bool = False
    masked: tuple[str, ...] | None = None
    readonly_paths: tuple[str, ...] | None = None
    devices: tuple[Device, ...] = ()
    device_rules: tuple[DeviceRule, ...] = ()
    pid: str = ""
    ipc: str = ""
    uts: str = ""
    cgroupns: str = ""
    shm: bool = True
    sysctls: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    oom_score_adj: int | None = None


def document(process: Process, rootfs: str, host: Host) -> Document:
    """The config.json for `process` in the tree at `rootfs`."""
    made: Document = {
        "ociVersion": "1.0.2",
        "process": started(process, host),
        "root": {"path": rootfs},
        "mounts": [*_system_mounts(process, host), *map(_mount, process.mounts)],
        "linux": _linux(process, host),
    }
    if process.readonly_root:
        made["root"]["readonly"] = True
    if process.hostname:
        made["hostname"] = process.hostname
    if process.domainname:
        made["domainname"] = process.domainname
    if process.annotations:
        made["annotations"] = dict(process.annotations)
    return made


def started(process: Process, host: Host) -> Document:
    """What is executed and as whom: the `process` of a config.json, and the whole of what an exec is given."""
    made: Document = {
        "terminal": process.terminal,
        "user": _user(process, host),
        "args": list(process.words),
        "env": list(process.env),
        "cwd": process.cwd,
        "capabilities": _capabilities(process, host),
        "rlimits": [
            {"type": f"RLIMIT_{limit.name.upper()}", "soft": _unlimited(limit.soft), "hard": _unlimited(limit.hard)}
            for limit in process.resources.limits
        ],
        "noNewPrivileges": process.no_new_privileges,
    }
    if process.terminal and process.size != (0, 0):
        made["consoleSize"] = {"height": process.size[0], "width": process.size[1]}
    if process.oom_score_adj is not None:
        made["oomScoreAdj"] = process.oom_score_adj
    return made


def _linux(process: Process, host: Host) -> Document:
    linux: Document = {"namespaces": _namespaces(process)}
    masked = process.masked if process.masked is not None else () if process.privileged else MASKED
    readonly = process.readonly_paths if process.readonly_paths is not None else () if process.privileged else READONLY
    if masked:
        linux["maskedPaths"] = list(masked)
    if readonly:
        linux["readonlyPaths"] = list(readonly)
    if process.seccomp is not None and not process.privileged:
        linux["seccomp"] = process.seccomp
    if process.sysctls:
        linux["sysctl"] = dict(process.sysctls)
    if process.devices:
        linux["devices"] = [
            {"path": each.path, "type": each.kind, "major": each.major, "minor": each.minor, "fileMode": each.mode,
             "uid": each.uid, "gid": each.gid}
            for each in process.devices
        ]  # fmt: skip
    if host.cgroups:
        linux["resources"] = _resources(process)
        if process.cgroup:
            linux["cgroupsPath"] = process.cgroup
    if any("shared" in mount.propagation for mount in process.mounts if isinstance(mount, Bind)):
        linux["rootfsPropagation"] = "shared"
    elif any("slave" in mount.propagation for mount in process.mounts if isinstance(mount, Bind)):
        linux["rootfsPropagation"] = "rslave"
    return linux


def _unlimited(value: int) -> int:
    return (1 << 64) - 1 if value < 0 else value


def _user(process: Process, host: Host) -> Document:
    user: Document = {"uid": process.uid, "gid": process.gid, "umask": UMASK}
    if process.groups and host.groups > 1:
        user["additionalGids"] = list(process.groups)
    return user


def _capabilities(process: Process, host: Host) -> Document:
    wanted = process.capabilities
    if wanted is None:
        wanted = ALL_CAPABILITIES if process.privileged else CAPABILITIES
    allowed = [
        name for number, name in enumerate(ALL_CAPABILITIES) if host.capabilities >> number & 1 and name in wanted
    ]
    # As execve would have it: whoever is not root begins with none of them in force.
    in_force = allowed if process.uid == 0 else []
    return {"bounding": allowed, "effective": in_force, "permitted": in_force}


def _namespaces(process: Process) -> list[Document]:
    # "cgroup": our groups' names, which say where and as which process we run, are nothing to a container.
    wanted = {"pid": process.pid, "uts": process.uts, "ipc": process.ipc, "cgroup": process.cgroupns,
              "network": "" if process.network == "none" else process.network}  # fmt: skip
    found: list[Document] = [{"type": "mount"}]
    for name, which in wanted.items():
        if which != "host":
            found.append({"type": name, "path": which} if which else {"type": name})
    return found


def _resources(process: Process) -> Document:
    resources = process.resources
    made: Document = {"devices": [{"allow": process.privileged, "access": "rwm"}, *_device_rules(process)]}
    memory = {
        "limit": resources.memory, "swap": resources.memory_swap, "reservation": resources.memory_reservation,
        "swappiness": resources.memory_swappiness if resources.memory_swappiness >= 0 else None,
        "disableOOMKiller": resources.oom_kill_disable,
    }  # fmt: skip
    if resources.cpus:
        period, quota = CPU_PERIOD_US, round(resources.cpus * CPU_PERIOD_US)
    else:
        period, quota = resources.cpu_period, resources.cpu_quota
    cpu = {
        "shares": resources.cpu_shares, "period": period, "quota": quota, "cpus": resources.cpuset_cpus,
        "mems": resources.cpuset_mems,
    }  # fmt: skip
    for name, given in (("memory", memory), ("cpu", cpu)):
        if wanted := {key: value for key, value in given.items() if value or (key == "swappiness" and value == 0)}:
            made[name] = wanted
    if resources.pids:
        made["pids"] = {"limit": resources.pids}
    if resources.blkio_weight or resources.throttles:
        block: Document = {"weight": resources.blkio_weight} if resources.blkio_weight else {}
        for each in resources.throttles:
            rate = {"major": each.major, "minor": each.minor, "rate": each.rate}
            block.setdefault(f"throttle{each.kind}Device", []).append(rate)
        made["blockIO"] = block
    return made


def limits_of(process: Process) -> Document:
    """The limits alone, as a running container can be given others."""
    return {name: value for name, value in _resources(process).items() if name != "devices"}


def _device_rules(process: Process) -> list[Document]:
    rules = [DeviceRule(each.kind, each.major, each.minor, each.access) for each in process.devices]
    return [
        {"allow": True, "type": each.kind, "access": each.access}
        | ({"major": each.major} if each.major >= 0 else {})
        | ({"minor": each.minor} if each.minor >= 0 else {})
        for each in (*rules, *process.device_rules)
        if not process.privileged
    ]


def _system_mounts(process: Process, host: Host) -> list[Document]:
    def made(kind: str, target: str, options: Sequence[str], source: str = "") -> Document:
        return {"destination": target, "type": kind, "source": source or kind, "options": list(options)}

    quiet = ["nosuid", "noexec", "nodev"]
    writing = [] if process.privileged else ["ro"]
    # The kernel lets only the owner of a namespace mount what shows it: sysfs its network, proc its processes.
    foreign_sysfs = not host.initial and process.network == "host"
    foreign_proc = not host.initial and process.pid == "host"
    sys = made("none", "/sys", ["rbind", *quiet, "ro"], "/sys") if foreign_sysfs else made(
        "sysfs", "/sys", [*quiet, *writing])  # fmt: skip
    terminals = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
    found = [
        made("none", "/proc", ["rbind", *quiet], "/proc") if foreign_proc else made("proc", "/proc", quiet),
        made("tmpfs", "/dev", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        made("devpts", "/dev/pts", [*terminals, "gid=5"] if host.groups > 5 else terminals),
        sys,
    ]
    if process.ipc == "host":
        found += [made("bind", path, ["rbind", *quiet], path) for path in ("/dev/mqueue", "/dev/shm")]
    else:
        found.append(made("mqueue", "/dev/mqueue", quiet))
        if process.shm:
            size = f"size={process.resources.shm_size}"
            found.append(made("tmpfs", "/dev/shm", [*quiet, "mode=1777", size], "shm"))
    if host.cgroups:
        found.insert(4, made("cgroup", "/sys/fs/cgroup", [*quiet, *writing]))
    return found


def _mount(mount: Bind | Tmpfs) -> Document:
    if isinstance(mount, Tmpfs):
        size = [f"size={mount.size}"] if mount.size else []
        ending = ["ro"] if mount.readonly else []
        options = ["nosuid", "nodev", f"mode={mount.mode:o}", *size, *mount.options, *ending]
        return {
            "destination": mount.target,
            "type": "tmpfs",
            "source": "tmpfs",
            "options": list(dict.fromkeys(options)),
        }
    options = [
        "rbind" if mount.recursive else "bind", mount.propagation, "ro" if mount.readonly else "rw", *mount.options,
    ]  # fmt: skip
    return {"destination": mount.target, "type": "bind", "source": mount.source, "options": options}
