"""What another engine's data root has: layers with their directories, images with their names."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from veneer.errors import Corrupt, Denied, InvalidRequest, NotFound, Unavailable
from veneer.oci.digest import BlobDigest, ChainID, DiffID, Digest, ImageID
from veneer.oci.image import ImageConfig
from veneer.oci.reference import Reference
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from veneer.distribution.foreign.reading import Reading
    from veneer.oci.manifest import Manifest


class ForeignDamaged(Corrupt):
    """Another engine's data root does not say what its layout has it say."""


class ForeignDenied(Denied):
    """Another engine's data root may not be read."""


class ForeignBusy(Unavailable):
    """Another engine writes to its data root faster than it can be read."""


class NotAForeignRoot(InvalidRequest):
    """A directory that is no data root of an engine whose layout is known."""


class NoSuchForeignImage(NotFound):
    """Another engine's data root has no image of that name."""


class NoSuchForeignLayer(NotFound):
    """No layer in another engine's data root has the path."""


WHOLE_TREES = frozenset({"vfs", "btrfs", "native"})
"""The drivers that have a layer's directory show all that is below it too."""


class ForeignLayer(Value):
    """A layer in its place: named as ours are, in `directory`, in the spelling of `driver`.

    `snapshot` is what the engine calls it; `size` in bytes as the engine counts them; `tar_split` the file that says
    how its tar was written, `blob` that tar as it came, mostly compressed: None where there is none.  There is no
    directory where the layer was not unpacked, or in no directory; `copies` are further ones with the same layer.
    """

    __slots__ = ()
    chain_id: ChainID
    diff_id: DiffID
    parent: ChainID | None
    size: int
    driver: str
    snapshot: str
    directory: Path | None
    tar_split: Path | None = None
    blob: Path | None = None
    copies: tuple[Path, ...] = ()

    @property
    def directories(self) -> tuple[Path, ...]:
        """Every directory with the layer's files."""
        return (self.directory, *self.copies) if self.directory is not None else ()

    @property
    def blob_digest(self) -> BlobDigest | None:
        """What the blob's file is called by."""
        return BlobDigest(Digest.parse(f"{self.blob.parent.name}:{self.blob.name}")) if self.blob else None


class ForeignImage(Value):
    """An image: its config, its names, and the image it was built on, where that is known.

    `manifest` with the files of its layers' `blobs`, base first, is how it came, where the engine keeps all of that.
    """

    __slots__ = ()
    config: ImageConfig
    references: tuple[Reference, ...]
    parent: ImageID | None = None
    manifest: Manifest | None = None
    blobs: tuple[Path, ...] = ()


class ForeignContainer(Value):
    """A layer that no image has, in `directory`: a container's own, unless `whose` has other words for it."""

    __slots__ = ()
    name: str
    directory: Path
    whose: str = ""


class ForeignRoot(Value):
    """All of a data root.  `what` names the engine and its driver; `layers` parents first; `faults` says, in words,
    what is there besides and cannot be told, `damage` what is told and not whole; `elsewhere` where to look if nothing
    is there."""

    __slots__ = ()
    path: Path
    what: str
    layers: tuple[ForeignLayer, ...]
    images: tuple[ForeignImage, ...]
    containers: tuple[ForeignContainer, ...] = ()
    faults: tuple[str, ...] = ()
    elsewhere: str = ""
    damage: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is there, and nothing that cannot be told."""
        return not (self.layers or self.images or self.faults)

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
        known = self.elsewhere if self.is_empty and self.elsewhere else f"it has: {known or 'none with a name'}"
        raise NoSuchForeignImage(f"No such image: {name} in {self.path}", hint=known)

    def users(self, chain_id: ChainID) -> tuple[ForeignImage, ...]:
        """The images that have the layer anywhere in their stacks."""
        return tuple(image for image in self.images if chain_id in image.config.chain_ids)

    def owner_of(self, path: str | os.PathLike[str]) -> ForeignLayer:
        """The layer that a path belongs to.  Raises NoSuchForeignLayer."""
        real = Path(os.path.realpath(path))
        for layer in self.layers:
            if any(real.is_relative_to(self._real(directory)) for directory in layer.directories):
                return layer
        for container in self.containers:
            if real.is_relative_to(self._real(container.directory)):
                whose = container.whose or f"container {container.name} writes there"
                raise NoSuchForeignLayer(f"{path} belongs to no image's layer: {whose}")
        for union in (*(each for layer in self.layers for each in layer.directories),
                      *(each.directory for each in self.containers)):  # fmt: skip
            merged = self._real(union.parent) / "merged"
            if union.name == "diff" and real.is_relative_to(merged):
                raise NoSuchForeignLayer(
                    f"{path} belongs to no single layer: {merged} is all of a stack in one",
                    hint=f"ask after a path in a layer's own directory: in {self._real(union)}, or one below it",
                )
        raise NoSuchForeignLayer(f"{path} belongs to no layer of {self.path}")

    def _real(self, directory: Path) -> Path:
        # By the root's own name alone: a link further down would have the layer be wherever it points to.
        return Path(os.path.realpath(self.path)) / directory.relative_to(self.path)


def detect(path: str | os.PathLike[str]) -> ForeignRoot | None:
    """The data root at a path as another engine's, None if it is none.  Raises ForeignDamaged, ForeignDenied."""
    from veneer.distribution.foreign import containerd, containers, docker
    from veneer.distribution.foreign.reading import Reading

    try:
        with Reading(Path(path)) as reading:
            found = docker.read(reading)
            if found is None or found.is_empty:
                inner = containerd.read(reading)  # also of a docker that keeps its images there
                found = inner if inner is not None and not inner.is_empty else found or inner
            found = found or containers.read(reading)
            return None if found is None else found.replaced(damage=tuple(_damage(reading, found)))
    except FileNotFoundError:
        return None


def _damage(reading: Reading, root: ForeignRoot) -> Iterator[str]:
    """What layers and images lack of what their engine says they have."""
    for layer in root.layers:
        for directory in layer.directories:
            # Others than root may not look as far as there; then nothing is known to be missing.
            with contextlib.suppress(ForeignDenied):
                try:
                    fact = "" if reading.has(reading.below(directory)) else f"{directory} is missing"
                except ForeignDamaged as error:
                    fact = error.message
                if fact:
                    yield f"layer {layer.chain_id} is damaged: {fact}"
    known = {layer.chain_id for layer in root.layers}
    for image in root.images:
        lost = next((chain for chain in image.config.chain_ids if chain not in known), None)
        if lost is not None and not any(image.config.image_id in fault for fault in root.faults):
            names = ", ".join(reference.familiar for reference in image.references)
            yield f"image {names or image.config.image_id} is damaged: its layer {lost} is not there"


def require(path: str | os.PathLike[str]) -> ForeignRoot:
    """As `detect`.  Raises NotAForeignRoot where that gives None."""
    found = detect(path)
    if found is None and not os.path.lexists(path):
        raise NotAForeignRoot(f"{os.fspath(path)} is not there", hint="check the path")
    if (
        found is None
        and os.path.exists(os.path.join(path, "oci-layout"))
        and os.path.exists(os.path.join(path, "state.db"))
    ):
        raise NotAForeignRoot(
            f"{os.fspath(path)} is veneer's own data root, and no other engine's",
            hint=f"its images go to another one by: veneer --root {os.fspath(path)} save IMAGE | veneer load",
        )
    if found is None:
        raise NotAForeignRoot(
            f"{os.fspath(path)} is no data root of docker, of containerd or of containers/storage",
            hint="docker's is /var/lib/docker, containerd's /var/lib/containerd, podman's /var/lib/containers/storage",
        )
    return found


def root_around(path: str | os.PathLike[str]) -> Path | None:
    """The nearest directory above a path that is some engine's data root, ours among them, by what they all have in
    theirs; None if there is none.  Nothing is read for it."""
    marks = ("image/*/layerdb", "*-layers/layers.json", "io.containerd.metadata.v1.bolt/meta.db", "state.db")
    for above in Path(os.path.realpath(path)).parents:
        with contextlib.suppress(OSError):  # what may not be looked into
            if any(True for mark in marks for _ in above.glob(mark)):
                return above
    return None


def snapshot_name(name: str, where: Path) -> str:
    """The name if it is that of a directory.  Raises ForeignDamaged."""
    if "/" in name or "\0" in name or name in ("", ".", ".."):
        raise ForeignDamaged(f"{where}: {name[:80]!r} is no name of a directory")
    return name


@contextlib.contextmanager
def noted(faults: list[str]) -> Iterator[None]:
    """Have damage be told beside what is whole, and not in its place."""
    try:
        yield
    except FileNotFoundError as error:
        faults.append(f"{error.filename} is missing")
    except (Corrupt, InvalidRequest) as error:
        faults.append(error.message)


def ordered(layers: Iterable[ForeignLayer], faults: list[str]) -> tuple[ForeignLayer, ...]:
    """The layers, parents before children, otherwise by name; those whose parents are missing become faults."""
    found: dict[ChainID, ForeignLayer] = {}
    for each in layers:
        found.setdefault(each.chain_id, each)
    children: dict[ChainID | None, list[ForeignLayer]] = {}
    for each in sorted(found.values(), key=lambda layer: layer.chain_id):
        children.setdefault(each.parent, []).append(each)
    done: list[ForeignLayer] = []
    level = children.pop(None, [])
    while level:
        done += level
        level = [child for each in level for child in children.pop(each.chain_id, ())]
    faults += [f"layer {each.chain_id} stands on {each.parent}, which is not there"
               for orphans in children.values() for each in orphans]  # fmt: skip
    return tuple(done)
