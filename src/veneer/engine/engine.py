"""The engine: one object that wires the house for one data root."""

from __future__ import annotations

import functools
from types import TracebackType

from veneer.config import Config

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import Any

    from veneer.build.events import Event
    from veneer.distribution.foreign.root import ForeignRoot
    from veneer.drivers.userns import Standing
    from veneer.engine.builds import Build, Builds
    from veneer.engine.composition import Composition
    from veneer.engine.containers.containers import Containers
    from veneer.engine.images import Images
    from veneer.engine.layers import Layers
    from veneer.engine.looking.verbs import Looking
    from veneer.engine.mounts import Mounts
    from veneer.engine.networks import Networks
    from veneer.engine.system import System
    from veneer.engine.volumes import Volumes
    from veneer.store.image import Image
    from veneer.store.store import Store


class Engine:
    """A data root and everything that can be done with it.

    Opening costs nothing; the store opens when something first needs it.  One engine may be used from several
    threads, and several engines (in other processes too) may use one data root at once.  Use it in a `with`.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self._store: Store | None = None

    @property
    def store(self) -> Store:
        """The store below; for those who build on veneer's own parts."""
        if self._store is None:
            from veneer.store.store import Store

            self._store = Store.open(self.config)
        return self._store

    @functools.cached_property
    def images(self) -> Images:
        """Images: pull, push, load, save, list, history, inspect, tag, remove, derive."""
        from veneer.engine.images import Images

        return Images(self)

    @functools.cached_property
    def containers(self) -> Containers:
        """Containers: made, started, asked, stopped, looked at, committed, removed."""
        from veneer.engine.containers.containers import Containers

        return Containers(self)

    @functools.cached_property
    def layers(self) -> Layers:
        """Layers as things of their own: what there is, who uses it, where it lies on disk."""
        from veneer.engine.layers import Layers

        return Layers(self)

    @functools.cached_property
    def looking(self) -> Looking:
        """Looking into images of the store, of archives and of registries, layer by layer."""
        from veneer.engine.looking.verbs import Looking

        return Looking(self)

    @functools.cached_property
    def system(self) -> System:
        """The store as a whole: info, disk usage, collection, checks; and registry logins."""
        from veneer.engine.system import System

        return System(self)

    @functools.cached_property
    def foreign(self) -> ForeignRoot | None:
        """The data root as another engine's (docker's, containers/storage's), to be read; None if it is ours or new."""
        import os

        if os.path.exists(f"{self.config.root_name}/oci-layout") or not os.path.isdir(self.config.root_name):
            return None
        from veneer.distribution.foreign.root import detect

        return detect(self.config.root_name)

    @functools.cached_property
    def mounts(self) -> Mounts:
        """Images and containers mounted for somebody to look at."""
        from veneer.engine.mounts import Mounts

        return Mounts(self)

    @functools.cached_property
    def networks(self) -> Networks:
        """Networks of containers: made, listed, removed; containers connected to them."""
        from veneer.engine.networks import Networks

        return Networks(self)

    @functools.cached_property
    def volumes(self) -> Volumes:
        """Volumes of containers: made, listed, looked at, removed."""
        from veneer.engine.volumes import Volumes

        return Volumes(self)

    @functools.cached_property
    def builds(self) -> Builds:
        """Builds: from a Dockerfile to an image, and what the linter says of one."""
        from veneer.engine.builds import Builds

        return Builds(self)

    def build(self, context: object = None, *, on_event: Callable[[Event], None] | None = None, **fields: Any) -> Build:
        """Ask for a build of `context` (a directory, a URL, a tar stream); `fields` are those of BuildRequest.

        Nothing happens before its `result()` is asked for, or it is iterated over for its events.
        """
        from veneer.engine.builds import Build, requested

        return Build(self.builds, requested(context=context, **fields), on_event)

    @property
    def notes(self) -> Sequence[str]:
        """What layers could not keep so far because a plain user unpacked them, each fact once."""
        return () if self._store is None else tuple(self._store.notes)

    def enter_namespace(self, container: str = "") -> Standing:
        """Become root of a user namespace, as this data root needs it; nothing for root.  What the process is then.

        For a program of a plain user, once, before it has threads: the whole process is in it from then on.  Without,
        a plain user's engine looks at images and tags them, and refuses what touches layers' files (NotEntered).
        With `container`, and if that runs, it is the namespace of its monitor: of a tree that is mounted by FUSE no
        other process may read.  Raises HasThreads, NoNamespace, NoSuchContainer.
        """
        from veneer.drivers import userns

        beside = self.containers.state(self.containers.get(container)).monitor if container else 0
        return userns.enter(self.store.mapping, beside)

    def image_from(self, image: Composition | Image | str, *, platform: str = "") -> Composition:
        """An image to go on from in Python, without a Dockerfile; a name that is not here is pulled, as FROM does.

        "scratch" is nothing at all.  Nothing happens before something is asked of it.
        """
        from veneer.engine.composition import Composition, named

        return Composition(self, named(image), platform)

    def close(self) -> None:
        """Let go of files, locks and worker processes.  The engine cannot be used afterwards."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_engine(root: str | Path | None = None, **settings: Any) -> Engine:
    """The engine for `root` (default: the configured data root); `settings` are fields of `Config`.

    Raises InvalidConfig for an unknown setting or a value it cannot have, NoSuchDriver for a driver that is none.
    """
    config = Config.load({"root": root, **settings})
    if config.storage_driver:
        from veneer.drivers.driver import require_known

        # Told at once, and not by whichever verb is the first to have a use for it.
        require_known(config.storage_driver, config.root_name)
    return Engine(config)
