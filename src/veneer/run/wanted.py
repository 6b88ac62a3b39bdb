"""What docker's Config and HostConfig ask for, as the process that a runtime is to start.

Runs in the monitor: imports little, reads nothing of the store.  Sources: moby daemon/oci_linux.go,
oci/caps/utils.go, container/env.go; docker's API reference, ContainerCreate.
"""

from __future__ import annotations

import os
import resource
import stat

from veneer.errors import InvalidRequest
from veneer.run.spec import (
    ALL_CAPABILITIES,
    CAPABILITIES,
    SHM_SIZE,
    Bind,
    Device,
    DeviceRule,
    Limit,
    Process,
    Resources,
    Throttle,
    Tmpfs,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from veneer.run.spec import Host
    from veneer.run.users import Identity

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
INIT = "/sbin/docker-init"
"""Where the program of `--init` is put, as with docker."""
PIDS_LIMIT = 4096
"""Of whoever asks for none: a fork bomb ends in its container.  Docker has no such limit; -1 takes it away."""
SECCOMP, NO_NEW_PRIVILEGES = "seccomp", "no-new-privileges"
_SYS_RESOURCE = ALL_CAPABILITIES.index("CAP_SYS_RESOURCE")
_MAX_PING_GROUP = 2147483647


class NoSuchDevice(InvalidRequest):
    """A `--device` that is none, or is not there."""


class NoSuchSubpath(InvalidRequest):
    """A part of a volume that was to be mounted is not there."""


def words(job: Mapping[str, Any]) -> tuple[str, ...]:
    """The command, behind the program of `--init` if that is wanted."""
    args = tuple(job["args"])
    return (INIT, "--", *args) if job.get("init") else args


def mounts(job: Mapping[str, Any], show: Callable[[int], str]) -> list[Bind | Tmpfs]:
    """What is mounted besides the system's own, parents before what is in them; the targets are as they were given.

    `show` gives a path for a descriptor of a part of a volume: what a link in the volume says meanwhile is nothing to
    us.  Raises NoSuchSubpath.
    """
    found: list[Bind | Tmpfs] = []
    for each in job.get("binds") or ():
        if each["type"] == "tmpfs":
            found.append(
                Tmpfs(each["target"], each.get("size") or 0, bool(each.get("readonly")), each.get("mode") or 0o1777,
                      tuple(each.get("options") or ("noexec",)))
            )  # fmt: skip
        else:
            source = show(_part(each["source"], each["subpath"])) if each.get("subpath") else each["source"]
            found.append(
                Bind(source, each["target"], bool(each.get("readonly")), each.get("propagation") or "rprivate",
                     each.get("recursive", True), tuple(each.get("options") or ()))
            )  # fmt: skip
    if job.get("init"):
        found.append(Bind(job["init"], INIT, readonly=True))
    return sorted(found, key=lambda mount: mount.target.count("/"))


def _part(volume: str, path: str) -> int:
    """A descriptor of what `path` names in a volume, that leads nowhere else.  Source: CVE-2017-1002101."""
    from veneer.changeset import syscalls

    root = os.open(volume, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return syscalls.openat2(root, os.fsencode(path.strip("/") or "."), os.O_PATH, syscalls.RESOLVE_IN_ROOT)
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise NoSuchSubpath(f"cannot access path {path} of the volume: {reason}") from None
    finally:
        os.close(root)


def process(
    job: Mapping[str, Any],
    who: Identity,
    limits: Host,
    *,
    mounts: Sequence[Bind | Tmpfs] = (),
    network: str = "none",
    cgroup: str = "",
    namespaces: Mapping[str, str] | None = None,
) -> Process:
    """The process of a job (its `document` as docker's API has it), for the user `who`.

    `mounts` have real targets; `network` and `namespaces` ("pid", "ipc") are "", "host" or paths, as in Process.
    Raises NoSuchDevice, BadProfile.
    """
    document = job["document"]
    config, host = document["Config"], document["HostConfig"]
    privileged = bool(host.get("Privileged"))
    wanted_capabilities = capabilities(host)
    spaces = dict(namespaces or {})
    ipc = host.get("IpcMode") or ""
    return Process(
        words=words(job),
        env=environment(config, who.home),
        cwd=config.get("WorkingDir") or "/",
        uid=who.uid,
        gid=who.gid,
        groups=who.groups,
        hostname=config.get("Hostname") or "" if host.get("UTSMode") != "host" else "",
        domainname=config.get("Domainname") or "" if host.get("UTSMode") != "host" else "",
        network=network,
        privileged=privileged,
        mounts=tuple(mounts),
        resources=resources(host, limits),
        cgroup=cgroup,
        seccomp=None if privileged else seccomp(host, wanted_capabilities),
        terminal=bool(config.get("Tty")),
        size=_size(host),
        capabilities=wanted_capabilities,
        no_new_privileges=no_new_privileges(host),
        readonly_root=bool(host.get("ReadonlyRootfs")),
        masked=_paths(host.get("MaskedPaths"), privileged=privileged),
        readonly_paths=_paths(host.get("ReadonlyPaths"), privileged=privileged),
        devices=tuple(devices(host, limits)),
        device_rules=tuple(_rule(text) for text in host.get("DeviceCgroupRules") or ()),
        pid=spaces.get("pid", "host" if host.get("PidMode") == "host" else ""),
        ipc=spaces.get("ipc", "host" if ipc == "host" else ""),
        uts="host" if host.get("UTSMode") == "host" else "",
        cgroupns="host" if host.get("CgroupnsMode") == "host" else "",
        shm=ipc != "none",
        sysctls=_sysctls(host, network, limits),
        annotations=tuple((host.get("Annotations") or {}).items()),
        oom_score_adj=host.get("OomScoreAdj") or None,
    )


def environment(config: Mapping[str, Any], home: str) -> tuple[str, ...]:
    """The variables, in docker's order: its own, then the container's, which win; HOME if nobody says another."""
    made = [PATH, f"HOSTNAME={config.get('Hostname') or ''}"]
    if config.get("Tty"):
        made.append("TERM=xterm")
    named: dict[str, str] = {pair.partition("=")[0]: pair for pair in made}
    for pair in config.get("Env") or ():
        name, equals, _ = pair.partition("=")
        if equals:
            named[name] = pair
        else:
            named.pop(name, None)  # a bare name takes a variable away
    named.setdefault("HOME", f"HOME={home}")
    return tuple(named.values())


def capabilities(host: Mapping[str, Any]) -> tuple[str, ...]:
    """The capabilities that CapAdd, CapDrop and Privileged leave, in the order of their numbers."""
    add = {_capability(name) for name in host.get("CapAdd") or ()}
    drop = {_capability(name) for name in host.get("CapDrop") or ()}
    everything = host.get("Privileged") or "ALL" in add
    kept: Iterable[str] = ALL_CAPABILITIES if everything else CAPABILITIES
    if "ALL" in drop:
        kept = ()
    # Dropped by name wins over all of them; added by name over what is dropped all at once.
    wanted = ({*kept} - drop) | (add - drop)
    return tuple(name for name in ALL_CAPABILITIES if name in wanted)


def _capability(name: str) -> str:
    name = name.upper()
    return name if name == "ALL" or name.startswith("CAP_") else f"CAP_{name}"


def security_options(host: Mapping[str, Any]) -> dict[str, str]:
    """`--security-opt` by name; docker takes `name:value` for `name=value`, too."""
    found = {}
    for text in host.get("SecurityOpt") or ():
        name, equals, value = text.partition("=")
        if not equals:
            name, _, value = text.partition(":")
        found[name] = value
    return found


def no_new_privileges(host: Mapping[str, Any]) -> bool:
    return security_options(host).get(NO_NEW_PRIVILEGES, "false").lower() in ("", "true", "1", "t")


def seccomp(host: Mapping[str, Any], allowed: tuple[str, ...]) -> Mapping[str, object] | None:
    """The profile of system calls: docker's default, one of the user's (as JSON text), or none.  Raises BadProfile."""
    from veneer.run import seccomp as profiles

    given = security_options(host).get(SECCOMP, "")
    if given == "unconfined":
        return None
    if given and given != "builtin":
        return profiles.given(given, allowed)
    return profiles.profile(allowed)


def resources(host: Mapping[str, Any], limits: Host) -> Resources:
    """The limits; nothing that the host's own hard limits forbid, which would fail the container as a whole."""
    pids = host.get("PidsLimit")
    swappiness = host.get("MemorySwappiness")
    return Resources(
        memory=host.get("Memory") or 0,
        cpus=(host.get("NanoCpus") or 0) / 1e9,
        shm_size=host.get("ShmSize") or SHM_SIZE,
        limits=tuple(_clamped(each, limits) for each in host.get("Ulimits") or ()),
        memory_swap=host.get("MemorySwap") or 0,
        cpu_shares=host.get("CpuShares") or 0,
        cpu_period=host.get("CpuPeriod") or 0,
        cpu_quota=host.get("CpuQuota") or 0,
        cpuset_cpus=host.get("CpusetCpus") or "",
        cpuset_mems=host.get("CpusetMems") or "",
        memory_reservation=host.get("MemoryReservation") or 0,
        memory_swappiness=-1 if swappiness is None else swappiness,
        oom_kill_disable=bool(host.get("OomKillDisable")),
        pids=PIDS_LIMIT if not pids else max(pids, 0),
        blkio_weight=host.get("BlkioWeight") or 0,
        throttles=tuple(_throttles(host)),
    )


def _throttles(host: Mapping[str, Any]) -> Iterable[Throttle]:
    for key in ("ReadBps", "WriteBps", "ReadIOps", "WriteIOps"):
        for each in host.get(f"BlkioDevice{key}") or ():
            try:
                number = os.stat(each["Path"]).st_rdev
            except OSError as error:
                fact = (error.strerror or "").lower()
                raise NoSuchDevice(f"cannot limit {each['Path']}: {fact}") from None
            yield Throttle(key.replace("IOps", "IOPS"), os.major(number), os.minor(number), each["Rate"])


def _clamped(each: Mapping[str, Any], limits: Host) -> Limit:
    name, soft, hard = each["Name"], each["Soft"], each["Hard"]
    if not limits.capabilities >> _SYS_RESOURCE & 1 or not limits.initial:
        ceiling = resource.getrlimit(getattr(resource, f"RLIMIT_{name.upper()}"))[1]
        if ceiling != resource.RLIM_INFINITY:
            soft, hard = (ceiling if value < 0 else min(value, ceiling) for value in (soft, hard))
    return Limit(name, soft, hard)


def devices(host: Mapping[str, Any], limits: Host) -> Iterable[Device]:
    """The device nodes; for a privileged container all that the host has, where we may make them.

    Raises NoSuchDevice.
    """
    if not limits.initial:
        return  # a user namespace makes no nodes: they are mounted
    if host.get("Privileged"):
        for folder, folders, names in os.walk("/dev"):
            # These are the container's own.
            folders[:] = [each for each in folders if os.path.join(folder, each) not in ("/dev/pts", "/dev/shm")]
            for name in names:
                if (found := _device(os.path.join(folder, name))) is not None:
                    yield found
    for each in host.get("Devices") or ():
        path, access = each["PathOnHost"], each.get("CgroupPermissions") or "rwm"
        target = each.get("PathInContainer") or path
        if os.path.isdir(path):
            inside = (os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names)
            made = [found for inner in inside if (found := _device(inner)) is not None]
            yield from (found.replaced(path=target + found.path.removeprefix(path), access=access) for found in made)
            continue
        found = _device(os.path.realpath(path))
        if found is None:
            fact = "no such file or directory" if not os.path.exists(path) else "not a device node"
            raise NoSuchDevice(f'error gathering device information while adding custom device "{path}": {fact}')
        yield found.replaced(path=target, access=access)


def device_mounts(host: Mapping[str, Any], limits: Host) -> list[Bind]:
    """In a user namespace the devices asked for, as what can be done there: the host's nodes mounted."""
    if limits.initial:
        return []
    return [
        Bind(each["PathOnHost"], each.get("PathInContainer") or each["PathOnHost"])
        for each in host.get("Devices") or ()
    ]


def _device(path: str) -> Device | None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    if not (stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode)):
        return None
    kind = "c" if stat.S_ISCHR(found.st_mode) else "b"
    return Device(path, kind, os.major(found.st_rdev), os.minor(found.st_rdev), "rwm", stat.S_IMODE(found.st_mode),
                  found.st_uid, found.st_gid)  # fmt: skip


def _rule(text: str) -> DeviceRule:
    """`c 42:* rmw`; what cannot be read was refused when the container was made."""
    kind, numbers, access = text.split()
    major, _, minor = numbers.partition(":")
    return DeviceRule(kind, _number(major), _number(minor), access)


def _number(text: str) -> int:
    return -1 if text == "*" else int(text)


def _paths(given: Sequence[str] | None, *, privileged: bool) -> tuple[str, ...] | None:
    if privileged:
        return ()
    return None if given is None else tuple(given)


def _sysctls(host: Mapping[str, Any], network: str, limits: Host) -> tuple[tuple[str, str], ...]:
    wanted = {}
    if network != "host" and not host.get("Privileged"):
        # As docker does in every network of a container's own: ports under 1024 and ping are for everybody.  The
        # kernel takes groups that this user namespace has, and no others.
        last = min(_MAX_PING_GROUP, limits.groups - 1)
        wanted = {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": f"0 {last}"}
    return tuple((wanted | (host.get("Sysctls") or {})).items())


def _size(host: Mapping[str, Any]) -> tuple[int, int]:
    rows, columns = host.get("ConsoleSize") or (0, 0)
    return rows, columns


def exec_process(
    job: Mapping[str, Any], request: Mapping[str, Any], who: Identity, limits: Host, size: tuple[int, int] = (0, 0)
) -> Process:
    """The process of an exec (docker's ExecConfig) in the container of `job`."""
    config, host = job["document"]["Config"], job["document"]["HostConfig"]
    privileged = bool(request.get("Privileged"))
    env = dict(pair.partition("=")[::2] for pair in environment(config, who.home))
    if request.get("Tty"):
        env.setdefault("TERM", "xterm")
    elif not config.get("Tty") or not any(pair.startswith("TERM=") for pair in config.get("Env") or ()):
        env.pop("TERM", None)
    env |= dict(pair.partition("=")[::2] for pair in request.get("Env") or () if "=" in pair)
    wanted = ALL_CAPABILITIES if privileged else capabilities(host)
    return Process(
        words=tuple(request["Cmd"]),
        env=tuple(f"{name}={value}" for name, value in env.items()),
        cwd=request.get("WorkingDir") or config.get("WorkingDir") or "/",
        uid=who.uid,
        gid=who.gid,
        groups=who.groups,
        privileged=privileged,
        terminal=bool(request.get("Tty")),
        size=size,
        capabilities=wanted,
        no_new_privileges=no_new_privileges(host),
        resources=Resources(limits=resources(host, limits).limits),
    )
