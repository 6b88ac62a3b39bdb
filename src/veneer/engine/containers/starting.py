"""A container started: everything its monitor has to know, put together and handed over.

Source: moby daemon/start.go.
"""

from __future__ import annotations

import os
import re

from veneer.engine.containers import mounts
from veneer.engine.containers.inspecting import command, log_path
from veneer.errors import Conflict, InvalidRequest, NotModified, Unsupported
from veneer.run.monitor import state as states

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from veneer.engine.engine import Engine
    from veneer.run.monitor.launch import Launch
    from veneer.run.monitor.stream import Stream, Streams
    from veneer.store.containers import Container

INITS = ("docker-init", "tini-static", "catatonit", "tini")
"""Programs that are a container's first process for `--init`, as distributions name them; the last one needs the
libraries of the image to be the host's."""
_REMOVER = """import contextlib, json, sys
sys.path[:] = json.loads(sys.argv[1])
import veneer
from veneer.errors import NotFound
with veneer.open(sys.argv[2]) as engine, contextlib.suppress(NotFound):
    engine.containers.remove(sys.argv[3], force=True, volumes=True)
"""
"""Run by the monitor of a container that is to be removed at its end, where nobody who waits for that does it."""


class AlreadyRunning(NotModified):
    """The container that was to be started runs."""


class PausedContainer(Conflict):
    """The container that was to be started is paused."""


class StillMounted(Conflict):
    """A container that somebody has mounted to look at it would change, or go, below the mount."""


class NoInit(Unsupported):
    """No program is installed that could be a container's first process."""


class BadLogOption(InvalidRequest):
    """An option of a log that cannot be read."""


def start(
    engine: Engine, container: Container, *, launch: Launch | None = None, attach: Streams | None = None
) -> Stream | None:
    """Start a container that does not run; returns when its process does.

    `launch` is a monitor that the caller has begun before; with `attach` the stream of what is printed, from its first
    byte on.
    Raises AlreadyRunning, PausedContainer, and what went wrong (NoSuchCommand, CannotExecute, ContainerFailed, ...).
    """
    from veneer.run.monitor.launch import Launch

    store = engine.store
    with store.locked(f"container-{container.id}") as lock:
        found = states.settled(store.containers.folder(container.id))
        if found.status == states.PAUSED:
            raise PausedContainer("cannot start a paused container, try unpause instead")
        if found.is_live:
            raise AlreadyRunning(f"container {container.name} is running")
        reconcile(engine, container)
        require_unmounted(engine, container)
        if mounts.UNFILLED in container.document:
            from veneer.engine.containers.filling import fill_volumes

            container = fill_volumes(store, container)  # who made it was killed before
        if attach is not None:
            from veneer.engine.containers.lifecycle import tell

            tell(engine, container, "attach")
        if launch is not None:
            return launch.start(job(engine, container), attach=attach, lock=lock)
        with Launch() as begun:
            return begun.start(job(engine, container), attach=attach, lock=lock)


def job(engine: Engine, container: Container) -> dict[str, Any]:
    """What a monitor is told.  Addresses are claimed.  Raises LayerLost, NoInit, and what a plan of networks raises."""
    from veneer.drivers.userns import privileged
    from veneer.run.monitor.mounts import told
    from veneer.run.runtime import choose

    store = engine.store
    folder = store.containers.folder(container.id)
    config, host = container.document["Config"], container.document["HostConfig"]
    runtime = choose(host.get("Runtime") or "", hiding=privileged())
    policy = host.get("RestartPolicy") or {}
    health = config.get("Healthcheck") or {}
    return {
        "id": container.id,
        "name": container.name,
        "root": os.path.realpath(store.config.root_name),
        "folder": os.fspath(folder),
        "image": container.image,
        "image_name": container.image_name,
        "labels": config.get("Labels") or {},
        "document": _named_as_its_network(engine, container.document),
        "args": command(config),
        "mounts": [told(each) for each in store.containers.mounts(container)],
        "binds": mounts.binds(container.document["Mounts"]),
        "network": engine.networks.plan(container, container.document),
        "runtime": {"name": runtime.name, "path": runtime.path, "hides": runtime.hides},
        "log": log(container, folder),
        "restart": {"name": policy.get("Name") or "no", "count": policy.get("MaximumRetryCount") or 0},
        "health": health if (health.get("Test") or ["NONE"])[0] not in ("NONE", "") else None,
        "auto_remove": bool(host.get("AutoRemove")),
        "remove": remover(engine, container) if host.get("AutoRemove") else [],
        "init": init_program() if host.get("Init") else "",
    }


def _named_as_its_network(engine: Engine, document: dict[str, Any]) -> dict[str, Any]:
    """A container that shares another's network has its name as well, which /etc/hosts there knows."""
    word, _, other = str(document["HostConfig"].get("NetworkMode") or "").partition(":")
    found = engine.store.containers.find(other) if word == "container" else None
    if found is None:
        return document
    names = {key: found.document["Config"].get(key) or "" for key in ("Hostname", "Domainname")}
    return document | {"Config": document["Config"] | names}


def remover(engine: Engine, container: Container) -> list[str]:
    """The words of a program that removes a container; it finds modules where we do."""
    import json
    import sys

    path = json.dumps([os.path.abspath(each) for each in sys.path])
    root = os.path.realpath(engine.store.config.root_name)
    return [sys.executable, "-I", "-c", _REMOVER, path, root, container.id]


def log(container: Container, folder: os.PathLike[str]) -> dict[str, Any]:
    """The log of a job: {"driver", "max_size" in bytes (0: no limit), "max_file", "path", "attributes"}.

    Raises BadLogOption.
    """
    given = container.document["HostConfig"].get("LogConfig") or {}
    options = given.get("Config") or {}
    try:
        size = parsed_size(options.get("max-size") or "0")
        files = int(options.get("max-file") or "1")
    except ValueError:
        raise BadLogOption(f"invalid log option: {options}", hint="as in max-size=10m, max-file=3") from None
    return {
        "driver": given.get("Type") or "json-file", "max_size": max(size, 0), "max_file": max(files, 1),
        "path": log_path(folder, container), "attributes": log_attributes(container.document["Config"], options),
    }  # fmt: skip


def log_attributes(config: Mapping[str, Any], options: Mapping[str, str]) -> dict[str, str]:
    """What stands beside every line of a log: the labels and variables that the log's options choose, by docker's
    rules.  Raises BadLogOption.  Source: moby daemon/logger/loginfo.go.
    """
    labels: dict[str, str] = dict(config.get("Labels") or {})
    variables = dict(pair.partition("=")[::2] for pair in config.get("Env") or ())
    found: dict[str, str] = {}
    for option, values in (("labels", labels), ("env", variables)):
        found |= {name: values[name] for name in (options.get(option) or "").split(",") if name in values}
        if pattern := options.get(f"{option}-regex"):
            try:
                matches = re.compile(pattern)
            except re.error as error:
                raise BadLogOption(f"invalid log option {option}-regex: {error}") from None
            found |= {name: value for name, value in values.items() if matches.search(name)}
    if options.get("tag"):
        found["tag"] = options["tag"]
    return dict(sorted(found.items()))


def parsed_size(text: str) -> int:
    """`10m`, `1g`, `5kb` in bytes, by powers of 1024.  Raises ValueError."""
    word = text.strip().lower().removesuffix("b").removesuffix("i")
    unit = {"k": 10, "m": 20, "g": 30, "t": 40}.get(word[-1:])
    return int(float(word[:-1]) * (1 << unit)) if unit else int(word)


def init_program() -> str:
    """The program for `--init`.  Raises NoInit."""
    from veneer.run.runtime import program

    for name in INITS:
        path = program(name)
        if path is not None:
            return path
    raise NoInit(f"--init needs one of {', '.join(INITS)}, and none is installed", hint="apt-get install tini")


def require_unmounted(engine: Engine, container: Container) -> None:
    """Raise StillMounted for a container that people have mounted somewhere."""
    found = engine.store.containers.mounted_at(container)
    if found:
        raise StillMounted(f"container {container.name} is mounted at {', '.join(found)}",
                           hint=f"veneer unmount {found[0]}")  # fmt: skip


def to_start(engine: Engine, policies: Sequence[str]) -> list[Container]:
    """The containers that do not run; of `policies`, restart policies, only those that these would start at a boot.

    "always" starts also what somebody had stopped, the others only what ran when the machine or its monitor ended.
    """
    store = engine.store
    chosen = []
    for container in store.containers.list():
        folder = store.containers.folder(container.id)
        if states.read(folder).is_live:
            continue
        policy = (container.document["HostConfig"].get("RestartPolicy") or {}).get("Name") or "no"
        ended_by_itself = not states.last_written(folder).is_live
        if policies and (policy not in policies or (policy != "always" and ended_by_itself)):
            continue
        chosen.append(container)
    return chosen


def reconcile(engine: Engine, container: Container) -> None:
    """Make the state written down the true one, and take away what a killed monitor left.  With the lock held."""
    from veneer.engine.containers import lifecycle
    from veneer.run.monitor import groups
    from veneer.run.network.names import SAVED

    store = engine.store
    folder = store.containers.folder(container.id)
    written, true = states.last_written(folder), states.read(folder)
    if not (written.is_live or written.monitor or (folder / SAVED).exists()):
        return  # whoever wrote it last has put everything away
    if written.cgroup and written.boot_id == states.boot_id():
        groups.remove(written.cgroup)
    engine.networks.release(container)
    states.write(folder, true.replaced(monitor=0, cgroup="", networks={}))
    if written.is_live:
        # Nobody was left who could have told.
        lifecycle.tell(engine, container, "die", exitCode=str(true.exit_code))
