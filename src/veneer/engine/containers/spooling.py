"""A tar from a pipe into a container."""

from __future__ import annotations

import shutil
import tempfile

from veneer.engine.containers import copying

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from veneer.engine.engine import Engine
    from veneer.store.containers import Container


def tar_in(engine: Engine, container: Container, name: str, path: str, stream: BinaryIO) -> None:
    """Unpack what comes into the directory at `path` of a container that was called `name`.

    Raises CannotCopy, NoSuchPath: before anything is read, where that is possible.  NoSuchContainer: it was removed
    meanwhile.
    """
    with copying.container_side(engine, container, name, path, reading=True) as (side, inner):
        copying.check_writable(side)
        copying.directory(side, inner, f"{name}:{path}")
        if not side.is_at_rest:
            copying.tar_in(side, inner, stream)
            return
    # Nobody starts or reads a container at rest while it is written to, and whoever sends this may be about to read it:
    # so it comes whole first.
    with _beside(engine, container) as spool:
        shutil.copyfileobj(stream, spool)
        spool.seek(0)
        with copying.container_side(engine, container, name, path) as (side, inner):
            copying.check_writable(side)
            copying.tar_in(side, inner, spool)


def _beside(engine: Engine, container: Container) -> BinaryIO:
    """A nameless file on the container's file system."""
    try:
        return tempfile.TemporaryFile(dir=engine.store.containers.folder(container.id))
    except FileNotFoundError:
        engine.store.containers.get(container.id)  # its folder goes after its row
        raise
