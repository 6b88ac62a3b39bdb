"""Containers: the verbs, each one line to the module that does it."""

from __future__ import annotations

import builtins

from veneer.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    from veneer.engine.containers.creating import ContainerRequest
    from veneer.engine.containers.listing import Summary
    from veneer.engine.containers.logs import Line
    from veneer.engine.containers.processes import Processes
    from veneer.engine.containers.pruning import PrunedThings
    from veneer.engine.containers.running import Finished
    from veneer.engine.containers.statistics import Sample
    from veneer.engine.engine import Engine
    from veneer.progress import Progress
    from veneer.run.monitor.launch import Launch
    from veneer.run.monitor.state import State
    from veneer.run.monitor.stream import Stream, Streams
    from veneer.store.containers import Container

# What only some verbs need is imported by those.


class Containers:
    """The containers of one data root.

    `name` is whatever docker takes: a name, an id, or a unique beginning of one.  Every method that takes one raises
    NotFound ("No such container: ...").
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._store = engine.store

    def list(self) -> builtins.list[Container]:
        """Every container, the newest first."""
        return self._store.containers.list()

    def summaries(
        self,
        *,
        all: bool = False,
        filters: Mapping[str, Sequence[str]] | None = None,
        last: int = 0,
        size: bool = False,
    ) -> builtins.list[Summary]:
        """What `ps` shows: those that run, or `all`, or the `last` so many; newest first.  See listing.summaries."""
        from veneer.engine.containers.listing import summaries

        return summaries(self._engine, all=all, filters=filters, last=last, size=size)

    def get(self, name: str) -> Container:
        """The container called `name`."""
        return self._store.containers.get(name)

    def state(self, container: Container) -> State:
        """How a container is: running, exited and with which status, ..."""
        from veneer.run.monitor import state

        return state.read(self._store.containers.folder(container.id))

    def create(
        self,
        image: ContainerRequest | str,
        command: Sequence[str] | str | None = None,
        *,
        progress: Progress | None = None,
        **fields: Any,
    ) -> Container:
        """Make a container; nothing runs yet.

        `image` is an image's name, `command` words or a line for its shell, `fields` are those of asking.asked; or it
        is a whole request in docker's shapes.  Raises as creating.create.
        """
        from veneer.engine.containers.creating import ContainerRequest, create
        from veneer.store.containers import NameInUse

        if not isinstance(image, ContainerRequest) or command or fields:
            from veneer.engine.containers.asking import requested

            image = requested(image, command, fields)
        try:
            made = create(self._engine, image, progress)
        except NameInUse:
            from veneer.engine.containers.leftovers import sweep

            if not sweep(self._engine):
                raise
            made = create(self._engine, image, progress)
        self._tell(made, "create")
        return made

    def run(
        self,
        image: ContainerRequest | str,
        command: Sequence[str] | str | None = None,
        *,
        input: bytes = b"",
        remove: bool = True,
        check: bool = False,
        on_output: Callable[[int, bytes], object] | None = None,
        **fields: Any,
    ) -> Finished:
        """Run a command in a new container to its end; what it printed, and its exit status.

        Fields as for `create`.  The container is removed at its end, unless told not to.  See running.run.
        """
        from veneer.engine.containers.asking import requested
        from veneer.engine.containers.running import run

        return run(
            self._engine, requested(image, command, fields), input=input, remove=remove, check=check,
            on_output=on_output,
        )  # fmt: skip

    # ---- life

    def start(self, name: str, *, launch: Launch | None = None, attach: Streams | None = None) -> Stream | None:
        """Start a container; returns when its process runs.  See starting.start."""
        from veneer.engine.containers.starting import start

        return start(self._engine, self.get(name), launch=launch, attach=attach)

    def stop(self, name: str, timeout: float | None = None, *, signal: str = "") -> None:
        """Have a container end: its stop signal, then `timeout` seconds later SIGKILL."""
        from veneer.engine.containers.lifecycle import stop

        stop(self._engine, self.get(name), timeout, signal)

    def restart(self, name: str, timeout: float | None = None, *, signal: str = "") -> None:
        """Stop a container, if it runs, and start it."""
        from veneer.engine.containers.lifecycle import restart

        restart(self._engine, self.get(name), timeout, signal)

    def kill(self, name: str, signal: str = "KILL") -> None:
        """Send a container's first process a signal.  Raises InvalidSignal, NotKillable."""
        from veneer.engine.containers.lifecycle import NotKillable, kill

        try:
            container = self.get(name)
        except NotFound as error:
            raise type(error)(f"Cannot kill container: {name}: {error.message}", hint=error.hint) from None
        try:
            kill(self._engine, container, signal)
        except NotKillable as error:
            raise NotKillable(f"Cannot kill container: {name}: {error.message}") from None

    def pause(self, name: str) -> None:
        """Have the kernel stop all processes of a container."""
        from veneer.engine.containers.lifecycle import pause

        pause(self._engine, self.get(name))

    def unpause(self, name: str) -> None:
        """Have them go on."""
        from veneer.engine.containers.lifecycle import unpause

        unpause(self._engine, self.get(name))

    def wait(self, name: str, condition: str = "not-running") -> int:
        """The exit status, as soon as the container does not run (or at its "next-exit", or when it is "removed")."""
        from veneer.engine.containers.lifecycle import wait

        return wait(self._engine, self.get(name), condition)

    def remove(self, name: str, *, force: bool = False, volumes: bool = False) -> None:
        """Remove a container; with `volumes` also those of its volumes that nobody named.  Raises CannotRemove."""
        from veneer.engine.containers.lifecycle import remove

        remove(self._engine, self.get(name), force=force, volumes=volumes)

    def update(self, name: str, changes: Mapping[str, Any]) -> None:
        """Change limits and the restart policy, by docker's names in a HostConfig."""
        from veneer.engine.containers.lifecycle import update

        update(self._engine, self.get(name), changes)

    def exec(self, name: str, request: Mapping[str, Any]) -> Stream:
        """Run one more program in a container that runs; `request` is docker's ExecConfig.

        Raises NotRunning, InvalidContainer.
        """
        from veneer.engine.containers.spelling import check_words
        from veneer.run.monitor.client import IsPaused, connect

        container = self.get(name)
        check_words([*(request.get("Cmd") or ()), *(request.get("Env") or ())])
        try:
            return connect(self._store.containers.folder(container.id)).exec(dict(request))
        except IsPaused:
            text = f"Container {container.name} is paused, unpause the container before exec"
            raise IsPaused(text, hint=f"veneer unpause {container.name}") from None

    def attach(self, name: str, *, stdin: bool = False, logs: bool = False) -> Stream:
        """What a container that runs prints from now on, and its input.  Raises NotRunning."""
        from veneer.run.monitor.client import connect

        return connect(self._store.containers.folder(self.get(name).id)).attach(stdin=stdin, logs=logs)

    def to_start(self, policies: Sequence[str] = ()) -> builtins.list[Container]:
        """Which containers do not run; of `policies`, restart policies, only those that these would start at a boot."""
        from veneer.engine.containers.starting import to_start

        return to_start(self._engine, policies)

    def logs(
        self,
        name: str,
        *,
        since: float | None = None,
        until: float | None = None,
        tail: int | None = None,
        follow: bool = False,
    ) -> Iterator[Line]:
        """What a container has printed, by lines; see logs.lines.  Raises NotReadable."""
        from veneer.engine.containers.logs import ALL, of_container

        container = self.get(name)
        return of_container(container, self._store.containers.folder(container.id), since=since, until=until,
                            tail=ALL if tail is None else tail, follow=follow)  # fmt: skip

    def top(self, name: str, options: Sequence[str] = ()) -> Processes:
        """The processes of a container that runs, as the host's `ps` shows them with these options.

        Raises NotRunning, BadProcessOptions.
        """
        from veneer.engine.containers.processes import listed
        from veneer.run.monitor.client import connect

        return listed(connect(self._store.containers.folder(self.get(name).id)).pids(), options)

    def statistics(self, container: Container) -> Sample:
        """What a container takes of the machine; statistics.NOTHING for one that does not run."""
        from veneer.engine.containers.lifecycle import statistics

        return statistics(self._engine, container)

    def rename(self, name: str, new: str) -> None:
        """Give a container another name.  Raises NameInUse, InvalidContainerName."""
        from veneer.engine import network_changes
        from veneer.engine.containers.naming import checked_name

        container, new = self.get(name), checked_name(new)
        network_changes.rename(self._store, container, new)
        self._tell(container.replaced(name=new), "rename", oldName=f"/{container.name}")

    def prune(self, filters: Mapping[str, Sequence[str]] | None = None, *, dry_run: bool = False) -> PrunedThings:
        """Remove containers that do not run; with `dry_run` only say which.  Raises InvalidFilter."""
        from veneer.engine.containers.pruning import containers

        return containers(self._engine, filters or {}, dry_run=dry_run)

    def inspect(self, name: str, *, size: bool = False) -> Mapping[str, Any]:
        """Docker's inspect object, key for key; with SizeRw and SizeRootFs if asked."""
        container = self.get(name)  # of what is none nothing else has to be loaded
        from veneer.engine.containers.inspecting import inspection

        return inspection(self._engine, container, size=size)

    def _tell(self, container: Container, action: str, **more: str) -> None:
        from veneer.engine.containers.lifecycle import tell

        tell(self._engine, container, action, **more)
