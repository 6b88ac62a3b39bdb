"""What an image has at a volume's place, copied into the volume before anything runs with it.

Into a draft beside the volume's files, which is renamed when it is whole, and its entries then: whoever is killed
leaves a draft that is begun anew, or one that the next has only to move.  What is in the volume is never taken away.
Source: moby daemon/create_unix.go, populateVolumes.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from veneer.engine.containers.mounts import UNFILLED, to_fill

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from veneer.store.containers import Container
    from veneer.store.store import Store

_DRAFT, _WHOLE = "_filling", "_filled"


def fill_volumes(store: Store, container: Container) -> Container:
    """Copy what the image has at a volume's place into the volume, if that is empty and was not told not to; the
    container as it is then.  The caller holds its lock.

    Links are followed inside the container's tree only: none leads to the host (CVE-2022-23648).
    """
    for point in to_fill(container.document["Mounts"]):
        # Looked at with the lock held: what another container fills just now is not empty, and not full either.
        with store.locked(f"volume {point['Name']}"):
            # A volume that was made of a directory of the host has no place beside its files.
            data, beside = Path(point.get("Device") or point["Source"]), not point.get("Device")
            if beside:
                _move_in(data)
            if os.listdir(data):
                continue
            with _source(store, container, point["Destination"]) as source:
                if source >= 0:
                    (_fill if beside else _fill_in_place)(source, data)
    now = store.containers.get(container.id)
    document = {key: value for key, value in now.document.items() if key != UNFILLED}
    store.containers.set_document(container.id, document)
    return now.replaced(document=document)


@contextlib.contextmanager
def _source(store: Store, container: Container, destination: str) -> Iterator[int]:
    """The directory that a container's tree has at a volume's place; -1 if it has none."""
    from veneer.changeset import syscalls
    from veneer.drivers.mount import opened

    with opened(store.containers.mounts(container, readonly=True)) as root:
        try:
            source = syscalls.openat2(root, os.fsencode(destination.lstrip("/")),
                                      os.O_RDONLY | os.O_DIRECTORY, syscalls.RESOLVE_IN_ROOT)  # fmt: skip
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise
            yield -1
            return
        try:
            yield source
        finally:
            os.close(source)


def _fill(source: int, data: Path) -> None:
    from veneer.drivers import treecopy

    draft = data.with_name(_DRAFT)
    treecopy.delete_tree(draft)
    draft.mkdir(0o700)
    try:
        treecopy.copy_opened(source, draft)
    except BaseException:
        treecopy.delete_tree(draft)
        raise
    draft.rename(data.with_name(_WHOLE))
    _move_in(data)


def _move_in(data: Path) -> None:
    """Move what was copied whole to where the volume's files are; nothing if there is nothing."""
    from veneer.drivers import treecopy

    whole = data.with_name(_WHOLE)
    if not whole.is_dir():
        return
    with treecopy.directory(whole) as source, treecopy.directory(data) as target:
        status = os.fstat(source)
        there = set(os.listdir(target))  # a container that has the volume may have made something meanwhile
        for name in os.listdir(source):
            if name not in there:
                os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)
        treecopy.copy_attributes(source, target, status)
    treecopy.delete_tree(whole)


def _fill_in_place(source: int, data: Path) -> None:
    from veneer.drivers import treecopy

    try:
        treecopy.copy_opened(source, data)
    except BaseException:
        # The volume may stay when the container does not come to be, and half of it would be taken for all.
        with treecopy.directory(data) as folder:
            for name in os.listdir(folder):
                treecopy.delete_entry(folder, name)
        raise
