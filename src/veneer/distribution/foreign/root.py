"""What another engine's data root has: layers with their directories, images with their names."""

from __future__ import annotations

import os
from pathlib import Path

from veneer.errors import Corrupt, Denied, InvalidRequest, NotFound
from veneer.oci.digest import ChainID, DiffID, ImageID
from veneer.oci.image import ImageConfig
from veneer.oci.reference import Reference
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class ForeignDamaged(Corrupt):
    """Another engine's data root does not say what its layout has it say."""


class ForeignDenied(Denied):
    """Another engine's data root may not be read."""


class NotAForeignRoot(InvalidRequest):
    """A directory that is no data root of an engine whose layout is known."""


class NoSuchForeignImage(NotFound):
    """Another engine's data root has no image of that name."""


class ForeignLayer(Value):
    """A layer in its place: named as ours are, in `directory`, in the spelling of `driver`.

    `snapshot` is what the engine calls it; `size` in bytes as the engine counts them; `tar_split` the file that says
    how its tar was written, None where there is none.
    """

    __slots__ = ()
    chain_id: ChainID
    diff_id: DiffID
    parent: ChainID | None
    size: int
    driver: str
    snapshot: str
    directory: Path
    tar_split: Path | None


class ForeignImage(Value):
    """An image: its config, its names, and the image it was built on, where that is known."""

    __slots__ = ()
    config: ImageConfig
    references: tuple[Reference, ...]
    parent: ImageID | None = None


class ForeignRoot(Value):
    """All of a data root.  `what` names the engine and its driver; `layers` parents first."""

    __slots__ = ()
    path: Path
    what: str
    layers: tuple[ForeignLayer, ...]
    images: tuple[ForeignImage, ...]

    def layer(self, chain_id: ChainID) -> ForeignLayer:
        """The layer that makes that file system.  Raises ForeignDamaged."""
        for layer in self.layers:
            if layer.chain_id == chain_id:
                return layer
        raise ForeignDamaged(f"{self.path} has no layer {chain_id}", hint="the image is not whole there; pull it")

    def image(self, name: str) -> ForeignImage:
        """The image with that name, or whose ID begins so.  Raises NoSuchForeignImage, InvalidReference."""
        prefix = name if name.startswith("sha256:") else f"sha256:{name}"
        if len(name) >= 4:
            found = [image for image in self.images if image.config.image_id.startswith(prefix)]
            if len(found) == 1:
                return found[0]
        wanted = str(Reference.parse(name).tagged())
        for image in self.images:
            if any(str(reference) == wanted for reference in image.references):
                return image
        known = ", ".join(sorted(each.familiar for image in self.images for each in image.references)[:10])
        raise NoSuchForeignImage(f"No such image: {name} in {self.path}", hint=f"it has: {known or 'none with a name'}")

    def owner_of(self, path: str | os.PathLike[str]) -> ForeignLayer | None:
        """The layer that a path belongs to, or None."""
        real = Path(os.path.realpath(path))
        return next((layer for layer in self.layers if real.is_relative_to(os.path.realpath(layer.directory))), None)


def detect(path: str | os.PathLike[str]) -> ForeignRoot | None:
    """The data root at a path as another engine's, None if it is none.  Raises ForeignDamaged, ForeignDenied."""
    from veneer.distribution.foreign import containers, docker

    root = Path(path)
    try:
        return docker.read(root) or containers.read(root)
    except PermissionError as error:
        raise ForeignDenied(f"{error.filename} may not be read by uid {os.geteuid()}",
                            hint="run as the root's owner") from error  # fmt: skip


def require(path: str | os.PathLike[str]) -> ForeignRoot:
    """As `detect`.  Raises NotAForeignRoot where that gives None."""
    found = detect(path)
    if found is None:
        raise NotAForeignRoot(
            f"{os.fspath(path)} is no data root of docker (overlay2, aufs, vfs) and none of containers/storage",
            hint="docker's is /var/lib/docker, podman's /var/lib/containers/storage",
        )
    return found


def ordered(layers: Iterable[ForeignLayer]) -> tuple[ForeignLayer, ...]:
    """The layers, parents before children, otherwise by name; those whose parents are missing are left out."""
    waiting = sorted(layers, key=lambda layer: layer.chain_id)
    done: dict[ChainID | None, ForeignLayer | None] = {None: None}
    while True:
        ready: Sequence[ForeignLayer] = [each for each in waiting if each.parent in done and each.chain_id not in done]
        if not ready:
            return tuple(layer for layer in done.values() if layer is not None)
        done.update((each.chain_id, each) for each in ready)
