"""`RUN --mount`: what is mounted, what of it a step depends on, and what is kept.

Source: moby/buildkit dockerfile2llb convert_runmount.go, convert_secrets.go, convert_ssh.go; docker/dockerfile
reference, RUN --mount.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable

from veneer.build.language.mounts import mount_target
from veneer.build.running.sources import source_of
from veneer.errors import InvalidRequest, NotFound
from veneer.run.bundle import own
from veneer.run.spec import Bind, Tmpfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any

    from veneer.build.language import instructions as i
    from veneer.build.running.sources import Source
    from veneer.build.stage import StageRun
    from veneer.run.bundle import Bundle
    from veneer.run.mountpoints import MountPoints

SECRET_MODE = 0o400
SOCKET_MODE = 0o600
CACHE_MODE = 0o755
NAMESPACE_ARG = "BUILDKIT_CACHE_MOUNT_NS"
"""The build argument that keeps one build's cache mounts apart from another's."""


class NoSecret(NotFound):
    """A secret, or an ssh agent, that a step requires and the build was not given."""


class BadSecret(InvalidRequest):
    """A secret that cannot be an environment variable."""


def facts(stage: StageRun, instruction: i.Run) -> dict[str, Any]:
    """What a step depends on in its mounts: the files that bind mounts show.  What is kept or secret does not count.

    `mounts`: by what people call the source, its checksum.  `note`: which files these were, if they are not too many.
    Raises SourceNotFound, and what finding a source raises.
    """
    sources = [source_of(stage, mount) for mount in instruction.mounts if mount.type == "bind"]
    if not sources:
        return {}
    from veneer.build.caching.mounted import MAX_BYTES, size

    found, lists, room = {}, {}, MAX_BYTES
    for source in sources:
        found[source.name], rows = source.fact()
        if rows and size(rows) <= room:
            lists[source.name] = rows
            room -= size(rows)
    return {"mounts": found, **({"note": {"mounts": lists}} if lists else {})}


class Mounts:
    """The mounts of one step while they are got ready, in the order of their targets, so that one may lie in another.

    `mounts` and `env` (a secret may be a variable) are what the step is given.  `stack` ends what each needs; `after`
    takes away, once the mounts are gone, what they had on the disk.
    """

    def __init__(
        self, stage: StageRun, bundle: Bundle, points: MountPoints, *, stack: contextlib.ExitStack,
        after: contextlib.ExitStack,
    ) -> None:  # fmt: skip
        self._stage = stage
        self._bundle = bundle
        self._points = points
        self._stack = stack
        self._after = after
        self._caches: dict[str, Path] = {}
        self._sockets = 0
        self.mounts: list[Bind | Tmpfs] = []
        self.env: dict[str, str] = {}

    def prepare(self, wanted: Sequence[i.RunMount]) -> None:
        """Have them all ready.  Raises NoSecret, BadSecret, SourceNotFound, BadMountPoint, Syntax."""
        workdir = self._stage.state.run.working_dir
        self._take_caches([mount for mount in wanted if mount.type == "cache"])
        make: dict[str, Callable[[i.RunMount, str], None]] = {
            "bind": self._bind, "cache": self._cache, "tmpfs": self._tmpfs, "secret": self._secret, "ssh": self._ssh,
        }  # fmt: skip
        for target, mount in sorted(((mount_target(each, workdir), each) for each in wanted), key=lambda pair: pair[0]):
            make[mount.type](mount, target)

    def _bind(self, mount: i.RunMount, target: str) -> None:
        source = source_of(self._stage, mount)
        path, is_directory = source.mounted(self._bundle, self._after, writable=not mount.readonly)
        self._add(path, target, directory=is_directory, readonly=mount.readonly)

    def _tmpfs(self, mount: i.RunMount, target: str) -> None:
        self.mounts.append(Tmpfs(self._points.make(target, directory=True), mount.size, mount.readonly))

    def _take_caches(self, wanted: Sequence[i.RunMount]) -> None:
        """Get hold of every cache, each once, and in one order for all steps: some are locked.

        What one begins with is found before any is held: it may be of a stage that is still worked on, and waits for
        that cache itself.
        """
        begins = [source_of(self._stage, mount) if mount.from_ else None for mount in wanted]
        named = [(self._cache_id(mount), mount, source) for mount, source in zip(wanted, begins, strict=True)]
        for id, mount, source in sorted(named, key=lambda each: each[0]):
            if id not in self._caches:
                fill = functools.partial(self._fill, mount, source)
                mounts, check = self._stage.store.cache_mounts, self._stage.session.check
                held = mounts.acquire(id, mount.sharing, fill=fill, check=check)
                self._caches[id] = self._stack.enter_context(held)

    def _cache_id(self, mount: i.RunMount) -> str:
        namespace = self._stage.session.given.get(NAMESPACE_ARG, "")
        return f"{namespace}/{mount.id}" if namespace else mount.id

    def _fill(self, mount: i.RunMount, source: Source | None, new: Path) -> None:
        if source is not None:
            from veneer.drivers.treecopy import copy_tree

            with source.copied() as tree:
                copy_tree(tree, new)
        if source is None or mount.mode is not None:
            new.chmod(CACHE_MODE if mount.mode is None else mount.mode)
        if mount.uid is not None or mount.gid is not None:
            own(new, mount.uid or 0, mount.gid or 0)

    def _cache(self, mount: i.RunMount, target: str) -> None:
        path = os.fspath(self._caches[self._cache_id(mount)])
        self._add(path, target, directory=True, readonly=mount.readonly)

    def _secret(self, mount: i.RunMount, target: str) -> None:
        content = next((each.content for each in self._stage.session.request.secrets if each.id == mount.id), None)
        if content is None:
            if mount.required:
                raise NoSecret(f"secret {mount.id}: not found", hint=f"give it with --secret id={mount.id},src=FILE")
            return
        if mount.env:
            if b"\0" in content:
                raise BadSecret(f"secret {mount.id} has a NUL byte in it, and cannot be the variable {mount.env}")
            self.env[mount.env] = os.fsdecode(content)
        if target:
            mode = SECRET_MODE if mount.mode is None else mount.mode
            path = self._bundle.file(content, mode=mode, uid=mount.uid or 0, gid=mount.gid or 0)
            self._add(path, target, directory=False, readonly=True)

    def _ssh(self, mount: i.RunMount, target: str) -> None:
        from veneer.run.forward import Forwarder

        agent = dict(self._stage.session.sources.access.ssh).get(mount.id)
        if agent is None:
            if mount.required:
                raise NoSecret(f"unset ssh forward key {mount.id}", hint=f"give it with --ssh {mount.id}")
            return
        if not mount.target:
            target = target.removesuffix("0") + str(self._sockets)
            self._sockets += 1
        mode = SOCKET_MODE if mount.mode is None else mount.mode
        forwarder = Forwarder(self._bundle, agent, mode=mode, uid=mount.uid or 0, gid=mount.gid or 0)
        self._stack.enter_context(forwarder)
        self._add(forwarder.path, target, directory=False, readonly=False)
        self.env.setdefault("SSH_AUTH_SOCK", target)

    def _add(self, source: str, target: str, *, directory: bool, readonly: bool) -> None:
        self.mounts.append(Bind(source, self._points.make(target, directory=directory), readonly))
