"""Docker's data root: image/<driver> says what there is, <driver>/ has the files.

Sources: moby image/fs.go, layer/filestore.go, reference/store.go; daemon/graphdriver/{overlay2,aufs,vfs,btrfs}.
"""

from __future__ import annotations

import contextlib

from veneer.distribution.foreign.root import (
    ForeignContainer,
    ForeignDamaged,
    ForeignImage,
    ForeignLayer,
    ForeignRoot,
    noted,
    ordered,
    snapshot_name,
)
from veneer.errors import VeneerError
from veneer.oci import strictjson
from veneer.oci.digest import ChainID, DiffID, Digest, ImageID, chain_id
from veneer.oci.image import ImageConfig
from veneer.oci.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from veneer.distribution.foreign.reading import Reading

_DIRECTORIES = {
    "overlay2": "overlay2/{}/diff",
    "aufs": "aufs/diff/{}",
    "vfs": "vfs/dir/{}",
    "fuse-overlayfs": "fuse-overlayfs/{}/diff",
    "btrfs": "btrfs/subvolumes/{}",
    "zfs": "",
    "devicemapper": "",
}
"""Where each driver has a layer's files, by its cache ID; "": in a dataset or on a volume, and in no directory."""
_MARKS = ("engine-id", "containers", "volumes")
"""What every dockerd makes in its root, wherever it keeps images."""

_ELSEWHERE = (
    "docker with the containerd image store (what 29 begins with) keeps its images in containerd's root: "
    "/var/lib/containerd, or containerd/daemon in docker's own"
)


def read(reading: Reading) -> ForeignRoot | None:
    """What docker has in a directory; None if it is not docker's.  Of several drivers the first of ours to have layers.

    Raises ForeignDamaged, ForeignDenied.
    """
    empty = None
    if all(reading.has(name) for name in _MARKS):
        empty = ForeignRoot(reading.root, "docker's", (), (), elsewhere=_ELSEWHERE)
    for driver in _DIRECTORIES:
        if not reading.has(f"image/{driver}/layerdb"):
            continue
        faults: list[str] = []
        layers = ordered(_layers(reading, driver, faults), faults)
        images = tuple(_images(reading, driver, faults))
        containers = tuple(_containers(reading, driver, faults))
        found = ForeignRoot(
            reading.root, f"docker's {driver}", layers, images, containers, tuple(faults), _ELSEWHERE
        )  # fmt: skip
        if not found.is_empty:
            return found
        empty = found
    return empty


def _layers(reading: Reading, driver: str, faults: list[str]) -> Iterator[ForeignLayer]:
    folder = f"image/{driver}/layerdb/sha256"
    for name in reading.names(folder) if reading.has(folder) else ():
        try:
            named = ChainID(Digest.parse(f"sha256:{name}"))
        except VeneerError:
            continue  # being made or removed: docker gives those longer names
        with noted(faults):
            yield _layer(reading, driver, f"{folder}/{name}", named)


def _layer(reading: Reading, driver: str, entry: str, named: ChainID) -> ForeignLayer:
    where = reading.root / entry
    diff_id = DiffID(Digest.parse(reading.text(f"{entry}/diff")))
    parent = ChainID(Digest.parse(reading.text(f"{entry}/parent"))) if reading.has(f"{entry}/parent") else None
    if chain_id(parent, diff_id) != named:
        raise ForeignDamaged(f"{where}: the layer's name is not that of its parent and content")
    cache = snapshot_name(reading.text(f"{entry}/cache-id"), where / "cache-id")
    size = reading.text(f"{entry}/size")
    if not (size.isascii() and size.isdigit() and len(size) < 19):
        raise ForeignDamaged(f"{where / 'size'}: {size[:80]!r} is no number of bytes")
    split = f"{entry}/tar-split.json.gz"
    return ForeignLayer(
        named, diff_id, parent, int(size), driver, cache,
        _directory(reading, driver, cache), reading.root / split if reading.has(split) else None,
    )  # fmt: skip


def _directory(reading: Reading, driver: str, cache: str) -> Path | None:
    place = _DIRECTORIES[driver].format(cache)
    return reading.root / place if place else None


def _images(reading: Reading, driver: str, faults: list[str]) -> Iterator[ForeignImage]:
    folder = f"image/{driver}"
    names = _names(reading, f"{folder}/repositories.json", faults)
    contents = f"{folder}/imagedb/content/sha256"
    there = reading.names(contents) if reading.has(contents) else []
    for image in sorted(names.keys() - {f"sha256:{name}" for name in there}):
        called = ", ".join(reference.familiar for reference in names[image])
        faults.append(f"image {called}: its config, {image}, is missing")
    for name in there:
        with noted(faults):
            file = reading.root / contents / name
            config = ImageConfig.parse(reading.read(f"{contents}/{name}"), str(file))
            if config.image_id != f"sha256:{name}":
                raise ForeignDamaged(f"{file}: the config is not what its name says")
            parent = None
            with contextlib.suppress(FileNotFoundError):
                parent = ImageID(Digest.parse(reading.text(f"{folder}/imagedb/metadata/sha256/{name}/parent")))
            yield ForeignImage(config, tuple(names.get(config.image_id, ())), parent)


def _names(reading: Reading, path: str, faults: list[str]) -> dict[str, list[Reference]]:
    """The names of each image, by its ID."""
    names: dict[str, list[Reference]] = {}
    with noted(faults):
        if not reading.has(path):
            return names
        document = strictjson.loads(reading.read(path), str(reading.root / path))
        repositories = document.get("Repositories") or {}
        if not isinstance(repositories, dict):
            raise ForeignDamaged(f"{reading.root / path}: Repositories is no object")
        for repository in repositories.values():
            for name, image in repository.items() if isinstance(repository, dict) else ():
                with noted(faults):
                    reference = Reference.parse(name)
                    if reference.digest is None:
                        names.setdefault(str(image), []).append(reference)
    return names


def _containers(reading: Reading, driver: str, faults: list[str]) -> Iterator[ForeignContainer]:
    """Whose the layers are that no image has: those that containers write to, and what docker puts below each."""
    folder = f"image/{driver}/layerdb/mounts"
    for container in reading.names(folder) if reading.has(folder) else ():
        with noted(faults):
            for kind in ("mount-id", "init-id"):
                if reading.has(f"{folder}/{container}/{kind}"):
                    where = reading.root / folder / container / kind
                    cache = snapshot_name(reading.text(f"{folder}/{container}/{kind}"), where)
                    directory = _directory(reading, driver, cache)
                    if directory is not None:
                        yield ForeignContainer(container, directory)
