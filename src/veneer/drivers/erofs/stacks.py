"""The images of whole stacks: made from the layers' indexes, kept until one of the layers goes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from veneer.changeset.index import LayerIndex
from veneer.drivers.erofs import image
from veneer.drivers.erofs.merging import merged


def make(
    path: Path, names: str, layers: Sequence[tuple[Path, Path]], sealed: Callable[[bytes], bytes] | None = None
) -> None:
    """Write the image of `layers` (an index and a directory each, base first) at `path`, whole or not at all.

    `sealed` is as for `merged`.
    Beside it, as `.of`, lies which snapshots are in it: `names`, a line each.  Several may make it at once.
    """
    path.parent.mkdir(mode=0o710, parents=True, exist_ok=True)
    nodes = merged(_opened(layers), sealed)
    of = path.with_suffix(".of")
    if not of.exists():
        _put(of, lambda file: file.write(names.encode()))
    _put(path, lambda file: image.write(nodes, file))


def _opened(layers: Sequence[tuple[Path, Path]]) -> Iterator[tuple[LayerIndex, os.stat_result]]:
    for index, directory in layers:
        with LayerIndex.open(index) as opened:
            yield opened, os.stat(directory)


def _put(path: Path, write: object) -> None:
    assert callable(write)
    fd = os.open(path.parent, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:
        write(file)
        file.flush()
        os.fsync(fd)  # a row implies its file, and nobody makes this one again while it seems to be there
        with contextlib.suppress(FileExistsError):  # another has made the same
            # With a directory descriptor, though the path is absolute: else Python does not have links followed.
            os.link(f"/proc/self/fd/{fd}", path, src_dir_fd=fd, follow_symlinks=True)
