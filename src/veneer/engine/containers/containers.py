"""Containers: the verbs, each one line to the module that does it."""

from __future__ import annotations

import builtins

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from veneer.engine.containers.creating import ContainerRequest
    from veneer.engine.engine import Engine
    from veneer.progress import Progress
    from veneer.run.monitor.state import State
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

    def get(self, name: str) -> Container:
        """The container called `name`."""
        return self._store.containers.get(name)

    def state(self, container: Container) -> State:
        """How a container is: running, exited and with which status, ..."""
        from veneer.run.monitor import state

        return state.read(self._store.containers.folder(container.id))

    def create(self, request: ContainerRequest, *, progress: Progress | None = None) -> Container:
        """Make a container; nothing runs yet.  Raises as creating.create."""
        from veneer.engine.containers.creating import create

        return create(self._engine, request, progress)

    def rename(self, name: str, new: str) -> None:
        """Give a container another name.  Raises NameInUse, InvalidContainerName."""
        from veneer.engine.containers.naming import checked_name

        self._store.containers.rename(self.get(name).id, checked_name(new))

    def inspect(self, name: str, *, size: bool = False) -> Mapping[str, Any]:
        """Docker's inspect object, key for key; with SizeRw and SizeRootFs if asked."""
        from veneer.engine.containers.inspecting import inspection

        return inspection(self._engine, self.get(name), size=size)
