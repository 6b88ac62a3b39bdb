"""The container of one RUN: put together on a draft, run, taken apart.

What it is given beside the file system so far - the files in /etc, mounts, scripts - is mounted over it, and the
places for that are made and taken away again: a step leaves what its command wrote, and nothing else.
"""

from __future__ import annotations

import contextlib
import time

from veneer.build.events import Output
from veneer.build.running.mounts import Mounts
from veneer.build.running.step import SCRIPTS
from veneer.drivers import mount_table
from veneer.errors import InvalidRequest
from veneer.run import cgroups, container, hostfiles, network
from veneer.run.bundle import Bundle
from veneer.run.enclosure import enclosed
from veneer.run.failures import ContainerFailed, NoLimits, TreeLost
from veneer.run.host import host
from veneer.run.mountpoints import MountPoints
from veneer.run.runtime import choose
from veneer.run.seccomp import profile
from veneer.run.spec import CAPABILITIES, SHM_SIZE, SYSTEM_TARGETS, Bind, Limit, Process, Resources
from veneer.run.users import Identity, identity, require_ids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from veneer.build.language import instructions as i
    from veneer.build.request import BuildRequest
    from veneer.build.stage import StageRun
    from veneer.drivers.mount import Mount
    from veneer.run.spec import Tmpfs
    from veneer.store.drafts import Draft

HOSTNAME = "buildkitsandbox"
"""What every step's host is called, as with BuildKit: a name that changed would be a build that changed."""
ULIMITS = (
    "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio",
    "rttime", "sigpending", "stack",
)  # fmt: skip


class BadLimit(InvalidRequest):
    """A `--ulimit` that cannot be read."""


def run(stage: StageRun, instruction: i.Run, draft: Draft, words: Sequence[str], visible: Mapping[str, str]) -> int:
    """Run `words` on the draft, with the arguments that are visible to it; the status they end with."""
    session, step, config, limits = stage.session, stage.step, stage.state.run, host()
    request, runtime = session.request, choose()
    wanted = network_of(request, instruction)
    resources = resources_of(request, cgroups_usable=limits.cgroups)
    with contextlib.ExitStack() as after, contextlib.ExitStack() as stack:
        helper = network.program() if wanted == "default" else ""
        enclosure = stack.enter_context(enclosed(network=bool(helper)))
        connection = stack.enter_context(network.connecting(enclosure, helper)) if helper else None
        folder = session.lease.file("run")
        folder.mkdir(0o700)
        after.callback(folder.rmdir)
        bundle = stack.enter_context(Bundle(enclosure, folder, unsynced(draft)))
        stack.enter_context(_served(bundle.root))
        who = identity(bundle.root, config.user)
        require_ids(who, "a step")
        points = stack.enter_context(MountPoints(bundle.root))
        mounts = _mounts_of_etc(request, bundle, points, wanted)
        given = Mounts(stage, bundle, points, stack=stack, after=after)
        given.prepare(instruction.mounts)
        if instruction.script is not None:
            script = bundle.file(instruction.script.content.encode("utf-8", "surrogateescape"), mode=0o755)
            mounts.append(Bind(script, f"{SCRIPTS}/{instruction.script.name}", readonly=True))
        group = ""
        if limits.cgroups:
            cgroups.sweep(request.cgroup_parent)
            group = cgroups.new_name()
            after.callback(cgroups.remove, request.cgroup_parent, group)  # when the last process of it is gone
        insecure = instruction.security == "insecure"
        process = Process(
            words=tuple(words),
            env=environment(config.env, visible, given.env, who),
            cwd=config.working_dir or "/",
            uid=who.uid,
            gid=who.gid,
            groups=who.groups,
            hostname=HOSTNAME,
            network=network.NAMESPACE if helper else wanted,
            privileged=insecure,
            mounts=(*mounts, *given.mounts),
            resources=resources,
            cgroup=f"/{request.cgroup_parent.strip('/')}/{group}".replace("//", "/") if group else "",
            seccomp=None if insecure else profile(CAPABILITIES),
        )
        if connection is not None:
            connection.wait()
        return container.run(
            enclosure, bundle, runtime, process, limits,
            output=lambda stream, data: session.tell(Output(time.time(), step, stream, data)), check=session.check,
        )  # fmt: skip


@contextlib.contextmanager
def _served(root: int) -> Iterator[None]:
    """What becomes of a tree in this `with` that nobody serves at its end is no layer, whatever the command made of
    its errors.  Raises TreeLost."""
    failure: Exception | None = None
    try:
        yield
    except (OSError, ContainerFailed) as error:
        failure = error
    if mount_table.is_dead(root):
        raise TreeLost("the step's files are gone: their FUSE server was killed", hint="build again") from failure
    if failure is not None:
        raise failure


def unsynced(draft: Draft) -> Sequence[Mount]:
    """The draft's mounts, in which fsync does nothing where the kernel can do that.

    A step's layer is made to last when the build is done, all at once; a package manager that syncs each of its files
    must not wait for the disk.  Source: Linux Documentation/filesystems/overlayfs.rst, Volatile mount.
    """
    return [mount.unsynced() for mount in draft.mounts()]


def network_of(request: BuildRequest, instruction: i.Run) -> str:
    """none, host or default: what the step says, or else the build."""
    own = instruction.network
    return own if own and own != "default" else request.network


def environment(
    env: Sequence[str], args: Mapping[str, str], secrets: Mapping[str, str], who: Identity
) -> tuple[str, ...]:
    """A step's variables: the image's, which win over `args` and what every process has, and lose to `secrets`."""
    named = dict(pair.partition("=")[::2] for pair in env)
    made = {"HOSTNAME": HOSTNAME, **args, **named, **secrets}
    if not made.get("HOME"):
        made["HOME"] = who.home
    ordered = dict.fromkeys((*named, *made))
    return tuple(f"{name}={made[name]}" for name in ordered)


def resources_of(request: BuildRequest, *, cgroups_usable: bool) -> Resources:
    """The build's limits.  Raises BadLimit, NoLimits."""
    if not cgroups_usable:
        for asked, option in (
            (request.memory, "memory"), (request.cpus, "cpus"), (request.cgroup_parent, "cgroup-parent"),
            (request.memory_swap, "memory-swap"), (request.cpu_shares, "cpu-shares"),
            (request.cpu_period, "cpu-period"), (request.cpu_quota, "cpu-quota"),
            (request.cpuset_cpus, "cpuset-cpus"), (request.cpuset_mems, "cpuset-mems"),
        ):  # fmt: skip
            if asked:
                raise NoLimits(f"--{option} needs control groups, and this user may not make any", hint="build as root")
    return Resources(
        memory=request.memory,
        cpus=request.cpus,
        shm_size=request.shm_size or SHM_SIZE,
        limits=tuple(ulimit(text) for text in request.ulimits),
        memory_swap=request.memory_swap,
        cpu_shares=request.cpu_shares,
        cpu_period=request.cpu_period,
        cpu_quota=request.cpu_quota,
        cpuset_cpus=request.cpuset_cpus,
        cpuset_mems=request.cpuset_mems,
    )


def ulimit(text: str) -> Limit:
    """`nofile=1024:2048`, `core=-1`.  Raises BadLimit.  Source: docker/go-units ParseUlimit."""
    name, equals, values = text.partition("=")
    if not equals:
        raise BadLimit(f"invalid ulimit argument: {text}", hint="as in nofile=1024:2048")
    if name not in ULIMITS:
        raise BadLimit(f"invalid ulimit type: {name}", hint=f"one of {', '.join(ULIMITS)}")
    soft, colon, hard = values.partition(":")
    try:
        limit = Limit(name, int(soft), int(hard if colon else soft))
    except ValueError:
        raise BadLimit(f"invalid ulimit value: {values}", hint="numbers, -1 for no limit") from None
    if limit.hard >= 0 and (limit.soft < 0 or limit.soft > limit.hard):
        raise BadLimit(f"ulimit soft limit must be less than or equal to hard limit: {limit.soft} > {limit.hard}")
    return limit


def _mounts_of_etc(request: BuildRequest, bundle: Bundle, points: MountPoints, wanted: str) -> list[Bind | Tmpfs]:
    for target in SYSTEM_TARGETS:
        points.make(target, directory=True)
    files = {
        "/etc/resolv.conf": hostfiles.resolv_conf(own_network=wanted != "host", otherwise=(network.DNS,)),
        "/etc/hosts": hostfiles.hosts(request.add_hosts, HOSTNAME),
        "/etc/hostname": HOSTNAME.encode() + b"\n",
    }  # fmt: skip
    return [Bind(bundle.file(content), points.make(path, directory=False)) for path, content in files.items()]
