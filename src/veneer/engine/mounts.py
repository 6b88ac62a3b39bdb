"""Images and containers at a directory, for a person to look at: `mount`, `unmount`.

No process keeps such a mount; what it shows is held as long as the kernel has it (store's mounts.py).
"""

from __future__ import annotations

import builtins
import contextlib
import itertools
import os
import time

from veneer.errors import Conflict, InvalidRequest, NotFound, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from veneer.drivers.driver import SnapshotID
    from veneer.drivers.mount import Keeper, Mount
    from veneer.drivers.mount_table import Place
    from veneer.drivers.protocol import StorageDriver
    from veneer.drivers.userns import Extents
    from veneer.engine.engine import Engine
    from veneer.oci.digest import ChainID
    from veneer.store.mounts import HeldMount


class NoMountPoint(InvalidRequest):
    """What is to be mounted on is no directory."""


class AlreadyMounted(Conflict):
    """An image or container is mounted at the directory already."""


class NotAMount(NotFound):
    """Nothing of the store is mounted at the directory."""


class NoLastingMount(Unsupported):
    """A mount would not outlive the command that makes it."""


class InvalidIds(InvalidRequest):
    """A text that is no map of ids."""


class ContainerRuns(Conflict):
    """A container's tree cannot be mounted elsewhere while its processes change it."""


class Mounts:
    """The mounts of one data root that people asked for."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._store = engine.store

    def list(self) -> builtins.list[HeldMount]:
        """What is mounted, the oldest first."""
        return self._store.mounts.list()

    def dead(self, mounts: Sequence[HeldMount]) -> builtins.list[HeldMount]:
        """Those that nobody serves any more, since a FUSE server was killed; only of this namespace it can be told."""
        from veneer.drivers import mount_table

        here = mount_table.namespace()
        return [each for each in mounts if each.place.namespace == here and mount_table.is_dead(each.target)]

    def add(self, name: str, directory: str, *, writable: bool = False, ids: Sequence[str] = ()) -> HeldMount:
        """Mount an image's or a container's merged file system at a directory, read-only.

        `writable`: what is written goes to a layer of the mount's own, and with the mount.  `ids`: as whom the files'
        owners are seen, each INSIDE:OUTSIDE:COUNT.  The mount stays until
        `remove`, umount(8), or the end of its namespace; so long nothing that it shows is collected.
        Raises NoMountPoint, AlreadyMounted, NoLastingMount, ContainerRuns, NotFound, InvalidIds, MountUnsupported.
        """
        from veneer.store.durability import is_read_only

        target = os.path.realpath(directory)
        self._require_elsewhere(directory, target)
        extents = _extents(ids)
        self._require_namespace()
        self._require_free(target)
        with contextlib.ExitStack() as locks:
            if (container := self._store.containers.find(name)) is not None:
                # Or it would be started, reset or removed between our look at it and the row that forbids that.
                locks.enter_context(self._store.locked(f"container-{container.id}"))
            if is_read_only(self._store.root) and not writable:
                return self._unheld(name, target, extents)
            return self._added(name, target, extents, writable=writable)

    def _unheld(self, name: str, target: str, extents: Extents) -> HeldMount:
        """The mount, of a data root that is read-only: nothing can be written down of it, and nothing collected."""
        from veneer.store.durability import boot_id
        from veneer.store.mounts import HeldMount

        kind, shown, top, own, driver = self._meant(name)
        driver = self._store.working(driver.name)
        place = _attached(_described(driver, own, "", self._below(top, own, driver.name)), target, extents)
        return HeldMount("", target, shown, kind, top, driver.name, own[0] if own else "", "", place, False, boot_id(),
                         time.time())  # fmt: skip

    def _added(self, name: str, target: str, extents: Extents, *, writable: bool) -> HeldMount:
        from veneer.drivers.mount import unmount

        kind, shown, top, own, driver = self._meant(name)
        with self._store.lease("mount") as lease, contextlib.ExitStack() as undone:
            with self._store.catalog.transaction(durable=False) as transaction:
                if top:
                    lease.hold_layer(transaction, top)
            if kind == "image" and top:  # which is settled from here on
                driver = self._store.working(self._store.layers.get(top).driver)
            below = self._below(top, own, driver.name)
            scratch = ""
            if writable:
                from veneer.drivers.driver import new_snapshot_id

                scratch = new_snapshot_id()
                with self._store.catalog.transaction(durable=False) as transaction:
                    lease.hold_snapshot(transaction, scratch, driver.name, "")
                undone.callback(driver.remove, scratch)
                driver.create(scratch, below)
            place = _attached(_described(driver, own, scratch, below), target, extents)
            undone.callback(unmount, _path(target), lazy=True)
            held = self._store.mounts.add(
                lease, place, target=target, shown=shown, kind=kind, top=top, driver=driver.name,
                snapshot=own[0] if own else "", scratch=scratch,
            )  # fmt: skip
            undone.pop_all()
        return held

    def remove(self, directory: str, *, lazy: bool = False) -> HeldMount:
        """Undo the mount at a directory; what was written to it is gone.  `lazy`: even if somebody is in it.

        Raises NotAMount, MountBusy.
        """
        from veneer.drivers import mount_table
        from veneer.drivers.mount import NotMounted, unmount

        target = os.path.realpath(directory)
        held = self._store.mounts.at(target, mount_table.namespace())
        if held is None:
            from veneer.store.durability import is_read_only

            known = "veneer mount lists them"
            if is_read_only(self._store.root) and mount_table.topmost(target) is not None:
                known = f"of a data root that is read-only it is not known what is mounted: umount {target}"
            raise NotAMount(f"no image and no container is mounted at {target}", hint=known)
        # First of all: whatever has become of the layers, or of the driver, a mount can be undone.
        if mount_table.leads_to(target, held.place):
            with contextlib.suppress(NotMounted):  # somebody else was faster
                unmount(_path(target), lazy=lazy)
        # As long as it is there it shows the layers, covered or not.
        if mount_table.is_there(held.place):
            raise AlreadyMounted(f"something else is mounted over {held.shown} at {target}, or over a directory above",
                                 hint=f"unmount that first; findmnt -T {target} shows it")  # fmt: skip
        if (keeper := self._keeper(held)) is not None:
            keeper.ended()
        self._store.mounts.drop(held)
        from veneer.store.gc import Extent

        self._store.collect(extent=Extent.ROWS)
        return held

    def anchor(self) -> None:
        """Have this process's mount namespace, and its mounts, be known to live as long as the programs it becomes and
        starts do.  For a plain user, whose other commands cannot look into it."""
        from veneer.drivers import mount_table, userns
        from veneer.store.mounts import anchor

        if userns.outside_root() >= 0:
            anchor(self._engine.config.root_name, mount_table.namespace(), inherited=True)

    def remove_all(self, *, lazy: bool = False) -> Iterator[HeldMount]:
        """Undo every mount of this namespace, the newest first.  Raises as `remove`, and then leaves the others."""
        from veneer.drivers import mount_table

        here = mount_table.namespace()
        for each in reversed(self.list()):
            if each.place.namespace == here:
                yield self.remove(each.target, lazy=lazy)

    def _require_free(self, target: str) -> None:
        from veneer.drivers import mount_table

        here = mount_table.namespace()
        for each in self.list():
            if (each.target, each.place.namespace) == (target, here):
                fact = "is mounted at"
                if mount_table.is_dead(target):
                    fact = "is mounted, but served by nobody any more (its FUSE server was killed), at"
                raise AlreadyMounted(f"{each.shown} {fact} {target}", hint=f"veneer unmount {target}")
        if mount_table.is_dead(target):
            raise AlreadyMounted(f"what is mounted at {target} is served by nobody any more", hint=f"umount {target}")
        if not os.path.isdir(target):
            way = f"mkdir -p {target}" if not os.path.lexists(target) else "name a directory"
            raise NoMountPoint(f"{target} is no directory", hint=way)

    def _require_elsewhere(self, directory: str, target: str) -> None:
        """Raise where a mount would hide the data root, or lie in it.  Raises NoMountPoint."""
        root = os.path.realpath(self._engine.config.root_name)
        above, inside = f"{target.rstrip('/')}/", f"{root}/"
        if target == root:
            fact = "is the data root"
        elif inside.startswith(above):
            fact = f"has the data root {root} in it"
        elif above.startswith(inside):
            fact = f"lies in the data root {root}"
        else:
            return
        raise NoMountPoint(f"{directory} {fact}: nothing can be mounted there", hint="mount it at another directory")

    def _require_namespace(self) -> None:
        from veneer.drivers import mount_table, userns
        from veneer.store.mounts import anchor

        if userns.standing().kind == userns.PLAIN:
            raise NoLastingMount(
                f"uid {os.geteuid()} can mount only in a user namespace, and the mount would end with the command",
                hint="start a shell with: veneer unshare; and mount, look and unmount in there",
            )
        if userns.outside_root() >= 0:
            anchor(self._engine.config.root_name, mount_table.namespace(), inherited=False)

    def _meant(self, name: str) -> tuple[str, str, ChainID | None, Sequence[SnapshotID], StorageDriver]:
        """What a name means: kind, name to show, layers, a container's own snapshots, driver."""
        container = self._store.containers.find(name)
        if container is not None:
            from veneer.run.monitor import state

            if state.settled(self._store.containers.folder(container.id)).is_live:
                raise ContainerRuns(
                    f"container {container.name} is running: its tree changes under a second mount",
                    hint=f"veneer stop {container.name}, or look with: veneer exec {container.name}",
                )
            own = [container.rw, *([container.init] if container.init else [])]
            driver = self._store.containers.driver(container)
            return "container", container.name, container.top, own, driver  # type: ignore[return-value]
        image = self._store.images.find(name)
        shown = image.tags[0].familiar if image.tags else image.id.short
        if image.top is None:
            return "image", shown, None, (), self._store.driver
        return "image", shown, image.top, (), self._store.layers.driver_of(image.top)

    def _below(self, top: ChainID | None, own: Sequence[SnapshotID], driver: str) -> builtins.list[SnapshotID]:
        from veneer.store.layers import lowers

        return [*own, *(lowers(self._store.layers.ensure(top, driver)) if top else [])]

    def _keeper(self, held: HeldMount) -> Keeper | None:
        """Who puts things right after a writable mount, None if nobody has to."""
        if not held.scratch:
            return None
        driver = self._store.driver_named(held.driver)
        own: builtins.list[SnapshotID] = []
        if held.snapshot:
            container = next((each for each in self._store.containers.list() if each.rw == held.snapshot), None)
            own = [held.snapshot, *([container.init] if container and container.init else [])]  # type: ignore[list-item]
        [mount] = _described(driver, own, held.scratch, [*own, *self._known(held.top, held.driver)])
        return mount.keeper

    def _known(self, top: ChainID | None, driver: str) -> builtins.list[SnapshotID]:
        """What a mount was made on, by the catalog alone: it may be lost by now."""
        from veneer.store.copies import copied
        from veneer.store.layers import lowers

        if top is None:
            return []
        stack = self._store.layers.stack(top)
        if stack[-1].driver != driver:
            stack = copied(self._store.layers, top, driver) or stack
        return lowers(stack)


def _described(
    driver: StorageDriver, own: Sequence[SnapshotID], scratch: str, below: Sequence[SnapshotID]
) -> Sequence[Mount]:
    from veneer.drivers.driver import SnapshotID

    if scratch:
        return driver.mounts(SnapshotID(scratch), below)
    if own:
        return driver.mounts(own[0], below[1:], readonly=True)
    return driver.mounts(None, below, readonly=True)


def _attached(mounts: Sequence[Mount], target: str, extents: Extents) -> Place:
    from veneer.drivers import mount_table
    from veneer.drivers.mount import attach

    mounts = _lasting(mounts)
    attach(_with_owners(mounts, extents) if extents else mounts, _path(target))
    place = mount_table.topmost(target)
    if place is None:
        raise NotAMount(f"{target} was unmounted by somebody else at once")
    return place


def _lasting(mounts: Sequence[Mount]) -> Sequence[Mount]:
    """The mounts, so served that they do not end with this process."""
    if not any(mount.type == "fuse" for mount in mounts):
        return mounts
    from veneer.drivers.aufs.fuse_mount import FuseUnion
    from veneer.drivers.fuse_overlayfs.union import LayerUnion

    return [
        mount.replaced(keeper=mount.keeper.replaced(lasting=True))
        if isinstance(mount.keeper, (FuseUnion, LayerUnion))
        else mount
        for mount in mounts
    ]


def _extents(texts: Sequence[str]) -> Extents:
    from veneer.drivers.idmap import parse

    try:
        ids = tuple(map(parse, texts))
    except ValueError as error:
        raise InvalidIds(f"{str(error)!r} is no map of ids", hint="INSIDE:OUTSIDE:COUNT, as 0:100000:65536") from error
    for side, what in enumerate(("in the image", "as they are seen")):
        ordered = sorted(ids, key=lambda extent: extent[side])
        for one, other in itertools.pairwise(ordered):
            if one[side] + one[2] > other[side]:
                both = " and ".join(":".join(map(str, each)) for each in (one, other))
                raise InvalidIds(f"{both} overlap: the kernel takes no map with an id {what} in it twice",
                                 hint="give ranges of which none begins before another ends")  # fmt: skip
    return ids


def _with_owners(mounts: Sequence[Mount], ids: Extents) -> Sequence[Mount]:
    """The mounts, the image's files with other owners."""
    from veneer.drivers.idmap import shown

    for mount in mounts:
        if mount.upper is not None:  # what is written is owned as it is seen; so is the root directory of the tree
            os.chown(mount.upper, shown(0, ids), shown(0, ids))
    return [mount.replaced(ids=ids) for mount in mounts]


def _path(target: str) -> Path:
    from pathlib import Path

    return Path(target)
