"""A container put together from its job: tree, mount points, user, and the config.json that a runtime carries out.

Sources: moby daemon/start.go, daemon/container_operations_unix.go, daemon/oci_linux.go.
"""

from __future__ import annotations

import json
import os
from binascii import b2a_base64
from pathlib import Path

from veneer.drivers import mount as mounting
from veneer.drivers import mount_table
from veneer.errors import InvalidRequest
from veneer.run import wanted
from veneer.run.bundle import Bundle, Here
from veneer.run.failures import TreeLost
from veneer.run.filters import ANNOTATION, Filter
from veneer.run.monitor import groups, state
from veneer.run.monitor.mounts import mount
from veneer.run.mountpoints import MountPoints
from veneer.run.spec import SYSTEM_TARGETS, Bind, document, started
from veneer.run.users import identity, require_ids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from veneer.run.spec import Host, Tmpfs
    from veneer.run.view import View

FOLDER = "bundle"
_ETC = ("hostname", "hosts", "resolv.conf")
"""Files in the container's folder that it sees in /etc, where they are there."""


class BadWorkingDirectory(InvalidRequest):
    """A working directory that leads out of the container, into what a program has open."""


class NotJoinable(InvalidRequest):
    """The container whose namespace was to be shared does not run."""


class Assembly:
    """The bundle, in memory and in our mount namespace alone; `root` is a descriptor of the container's tree.

    Raises what mounting raises, UnknownUser, BadMountPoint, BadWorkingDirectory, NotJoinable, NoSuchDevice.
    """

    def __init__(self, job: Mapping[str, Any], host: Host, host_proc: int) -> None:
        self._job = job
        self._host = host
        self._host_proc = host_proc
        self.config: Mapping[str, Any] = job["document"]["Config"]
        self.host_config: Mapping[str, Any] = job["document"]["HostConfig"]
        place = Path(job["folder"]) / FOLDER
        place.mkdir(0o700, exist_ok=True)
        self._bundle = Bundle(Here(), place, [mount(each) for each in job["mounts"]])
        self.folder = place
        self._fd = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self.root = self._bundle.root
        self._views = 0
        self._filter: Filter | None = None
        parent = str(self.host_config.get("CgroupParent") or "")
        self.cgroup = groups.path_of(parent, job["id"]) if host.cgroups else ""
        if hides := job["runtime"].get("hides"):
            self._bundle.hide(hides)

    def write(self, network: str) -> None:
        """Write config.json; `network` is "none", "host" or the path of a namespace."""
        more = self.host_config.get("GroupAdd") or ()
        who = identity(self.root, str(self.config.get("User") or ""), more)
        if not self._host.initial:
            require_ids(who, "a container", groups=bool(more))
        points = MountPoints(self.root)
        try:
            for target in SYSTEM_TARGETS:
                points.make(target, directory=True)
            mounts = [self._on(points, each) for each in self._mounts()]
            process = wanted.process(
                self._job, who, self._host, mounts=mounts, network=network, cgroup=self.cgroup,
                namespaces=self._joined(),
            )  # fmt: skip
            check_directory(points.make(process.cwd, directory=True), process.cwd)
        finally:
            points.keep()
        made = document(process, os.fspath(self._bundle.rootfs), self._host)
        self._use_filter(made)
        self._bundle.write("config.json", json.dumps(made).encode("utf-8", "surrogateescape"))

    def _use_filter(self, made: dict[str, Any]) -> None:
        """Have the runtime take a system call filter as it was compiled for another container."""
        runtime, rules = self._job["runtime"], made["linux"].get("seccomp")
        if rules is None or runtime["name"] != "crun" or ANNOTATION in made.get("annotations", {}):
            return
        self._filter = Filter(self._job["root"], rules, runtime["path"])
        if program := self._filter.program:
            made.setdefault("annotations", {})[ANNOTATION] = b2a_base64(program, newline=False).decode()

    def keep_filter(self, name: str) -> None:
        """The container runs, and the runtime calls it so: others need not compile its filter again."""
        if self._filter is not None and not self._filter.program:
            self._filter.keep(f"{self.folder}/state/{name}")

    def exec_process(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """What an exec's runtime is given.  Raises TreeLost, UnknownUser, NoSuchId, BadWorkingDirectory."""
        self.require_tree()
        user = str(request.get("User") or self.config.get("User") or "")
        who = identity(self.root, user, self.host_config.get("GroupAdd") or ())
        if not self._host.initial:
            require_ids(who, "a program in a container")
        rows, columns = request.get("ConsoleSize") or (0, 0)
        process = wanted.exec_process(self._job, request, who, self._host, (int(rows), int(columns)))
        check_directory(process.cwd, process.cwd)
        return started(process, self._host)

    def view(self) -> View:
        """The tree with its volumes and binds, for somebody who copies; whoever asked closes it.

        Raises TreeLost.
        """
        from veneer.run.view import View

        self.require_tree()
        self._views += 1
        return View(self._bundle.rootfs, self.folder / f"view-{self._views}", self._job.get("binds") or ())

    @property
    def lost(self) -> str:
        """In words, that nobody serves its tree any more, which has no other start in it; "" if it is as it was."""
        if not mount_table.is_dead(self.root):
            return ""
        return "its file system's FUSE server was killed; what it had written is kept, and the next start finds it"

    def require_tree(self) -> None:
        """Raises TreeLost where its files cannot be reached, which would be told of whichever is wanted first."""
        if lost := self.lost:
            id = self._job["id"]
            raise TreeLost(f"the files of container {id} cannot be reached: {lost}", hint=f"veneer restart {id[:12]}")

    def path(self, name: str) -> str:
        """A short path, for programs we start, of a file beside the bundle: a socket's may have 107 bytes."""
        return f"/proc/{os.getpid()}/fd/{self._fd}/{name}"

    def close(self) -> None:
        """Take the tree away, and all that lies with it in memory."""
        os.close(self._fd)
        self._bundle.__exit__()
        mounting.unmount(self.folder, lazy=True)
        self.folder.rmdir()

    def _mounts(self) -> list[Bind | Tmpfs]:
        given = [*wanted.mounts(self._job, self._bundle.shown), *wanted.device_mounts(self.host_config, self._host)]
        targets = {each.target for each in given}
        folder = Path(self._job["folder"])
        files = [
            Bind(os.fspath(folder / name), f"/etc/{name}")
            for name in _ETC
            if f"/etc/{name}" not in targets and (folder / name).exists()
        ]
        return [*files, *given]

    def _on(self, points: MountPoints, each: Bind | Tmpfs) -> Bind | Tmpfs:
        directory = not isinstance(each, Bind) or os.path.isdir(each.source)
        return each.replaced(target=points.make(each.target, directory=directory))

    def _joined(self) -> dict[str, str]:
        """Namespaces of other containers, as paths: whose is where only the host's numbers are known."""
        found = {}
        for kind, mode in (("pid", "PidMode"), ("ipc", "IpcMode")):
            word, _, other = str(self.host_config.get(mode) or "").partition(":")
            if word == "container":
                found[kind] = self.joined(other, kind)
        return found

    def joined(self, container: str, kind: str) -> str:
        """The path of a namespace of another container, which is given by its whole id."""
        other = state.read(Path(self._job["folder"]).parent / container)
        if not other.pid:
            raise NotJoinable(f"cannot join {kind} of a non running container: {container}")
        return f"/proc/{os.getpid()}/fd/{self._host_proc}/{other.pid}/ns/{kind}"


def check_directory(real: str, given: str) -> None:
    """Raise BadWorkingDirectory for a directory by way of somebody's open files.  Source: CVE-2024-21626."""
    parts = [part for part in real.split("/") if part not in ("", ".")]
    if parts[:1] == ["proc"] and ("fd" in parts or "cwd" in parts or "root" in parts):
        raise BadWorkingDirectory(f"the working directory {given} is not in the container",
                                  hint="choose another with --workdir")  # fmt: skip
