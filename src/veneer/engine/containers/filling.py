"""What an image has at a volume's place, copied into the volume before anything runs with it.

Into a draft beside the volume's files, which is renamed when it is whole, and its entries then: whoever is killed
leaves a draft that is begun anew, or one that the next has only to move.  What is in the volume is never taken away.
A volume that was made of a directory of the host has no place beside its files, and the draft among them.
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
_WITHIN = ".veneer"
"""What the names of a draft begin with that is among the volume's files."""


def fill_volumes(store: Store, container: Container) -> Container:
    """Copy what the image has at a volume's place into the volume, if that is empty and was not told not to; the
    container as it is then.  The caller holds its lock.

    Links are followed inside the container's tree only: none leads to the host (CVE-2022-23648).
    """
    from veneer.drivers import treecopy

    for point in to_fill(container.document["Mounts"]):
        # Looked at with the lock held: what another container fills just now is not empty, and not full either.
        with store.locked(f"volume {point['Name']}"):
            data = Path(point.get("Device") or point["Source"])
            draft, whole = ((data / f"{_WITHIN}{name}") if point.get("Device") else data.with_name(name)
                            for name in (_DRAFT, _WHOLE))  # fmt: skip
            treecopy.delete_tree(draft)  # of who was killed
            _move_in(whole, data)
            if os.listdir(data):
                continue
            with _source(store, container, point["Destination"]) as source:
                if source >= 0:
                    _fill(source, draft)
                    draft.rename(whole)
                    _move_in(whole, data)
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


def _fill(source: int, draft: Path) -> None:
    from veneer.drivers import treecopy

    draft.mkdir(0o700)
    try:
        treecopy.copy_opened(source, draft)
    except BaseException:
        treecopy.delete_tree(draft)
        raise


def _move_in(whole: Path, data: Path) -> None:
    """Move what was copied whole to where the volume's files are; nothing if there is nothing."""
    from veneer.drivers import treecopy

    if whole.is_symlink() or not whole.is_dir():  # who writes to the volume may have put anything there
        return
    with treecopy.directory(whole) as source, treecopy.directory(data) as target:
        status = os.fstat(source)
        there = set(os.listdir(target))  # a container that has the volume may have made something meanwhile
        for name in os.listdir(source):
            if name not in there:
                os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)
        treecopy.copy_attributes(source, target, status)
    treecopy.delete_tree(whole)
