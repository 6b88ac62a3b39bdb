"""What containers and volumes take on disk, for `system df`.

Source: moby daemon/disk_usage.go.
"""

from __future__ import annotations

from veneer.engine.containers import listing
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from veneer.engine.containers.listing import Summary
    from veneer.engine.engine import Engine


class VolumeUsage(Value):
    """A volume: how many containers use it, and the bytes of its files, each once."""

    __slots__ = ()
    name: str
    links: int
    size: int


class ContainersUsage(Value):
    """Every container with its size, and every volume."""

    __slots__ = ()
    containers: Sequence[Summary]
    volumes: Sequence[VolumeUsage]

    @property
    def size(self) -> int:
        """What containers have written."""
        return sum(each.size for each in self.containers)

    @property
    def reclaimable(self) -> int:
        """What those have written that do not run."""
        return sum(each.size for each in self.containers if not each.state.is_live)

    @property
    def volumes_size(self) -> int:
        return sum(each.size for each in self.volumes)

    @property
    def volumes_reclaimable(self) -> int:
        """What is in volumes that no container uses."""
        return sum(each.size for each in self.volumes if not each.links)


def usage(engine: Engine) -> ContainersUsage:
    """Looks at every file of containers' own layers and of volumes."""
    store = engine.store
    volumes = [
        VolumeUsage(volume.name, len(store.volumes.users(volume.name)), _size(engine, volume.name))
        for volume in store.volumes.list()
    ]
    return ContainersUsage(listing.summaries(engine, all=True, size=True), volumes)


def _size(engine: Engine, name: str) -> int:
    from veneer.drivers.treecopy import TreeChanged
    from veneer.drivers.treecopy import usage as counted
    from veneer.store.cache_mounts import size_meanwhile

    directory = engine.store.volumes.directory(name)
    try:
        return counted(directory).size
    except (TreeChanged, FileNotFoundError, NotADirectoryError):
        return size_meanwhile(directory)  # a container is at work in it
