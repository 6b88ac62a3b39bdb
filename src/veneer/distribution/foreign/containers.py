"""The data root of containers/storage (podman, buildah, CRI-O): <driver>-images and <driver>-layers beside <driver>/.

Source: containers/storage images.go, layers.go (images.json, layers.json), containers.go, storage's bigDataName.
"""

from __future__ import annotations

import base64
from typing import Any

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
from veneer.oci import strictjson
from veneer.oci.digest import ChainID, DiffID, Digest, chain_id
from veneer.oci.image import ImageConfig
from veneer.oci.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from veneer.distribution.foreign.reading import Reading

_DIRECTORIES = {"overlay": "overlay/{}/diff", "vfs": "vfs/dir/{}"}


def read(reading: Reading) -> ForeignRoot | None:
    """What containers/storage has in a directory or in `storage` below it; None if it is not its.

    Raises ForeignDamaged, ForeignDenied.
    """
    for below in ("", "storage/"):
        for driver in _DIRECTORIES:
            if reading.has(f"{below}{driver}-layers/layers.json"):
                faults: list[str] = []
                found = _Storage(reading, below, driver, faults)
                layers = ordered(found.layers(), faults)
                images, containers = tuple(found.images()), tuple(found.containers())
                what = f"containers/storage's {driver}"
                return ForeignRoot(reading.root / below, what, layers, images, containers, tuple(faults))
    return None


class _Storage:
    def __init__(self, reading: Reading, below: str, driver: str, faults: list[str]) -> None:
        self._reading = reading
        self._below = below
        self._driver = driver
        self._faults = faults

    def layers(self) -> Iterator[ForeignLayer]:
        """Those of images; a container's has no diff ID."""
        folder = f"{self._below}{self._driver}-layers"
        where = self._reading.root / folder / "layers.json"
        documents = {each["id"]: each for each in self._list(f"{folder}/layers.json")}
        chains = _chains(documents)
        for name, document in documents.items():
            if not document.get("diff-digest"):
                continue
            with noted(self._faults):
                directory = self._directory(name, where)
                chain = chains[name]
                if chain is None:
                    raise ForeignDamaged(f"{where}: layer {name} stands on a layer that is not there")
                size = document.get("diff-size") or 0
                if not isinstance(size, int) or not 0 <= size < 1 << 63:
                    raise ForeignDamaged(f"{where}: {size!r} of layer {name} is no number of bytes")
                split = f"{folder}/{name}.tar-split.gz"
                yield ForeignLayer(
                    chain, DiffID(Digest.parse(document["diff-digest"])), chains[document.get("parent", "")],
                    size, self._driver, name, self._reading.root / directory,
                    self._reading.root / split if self._reading.has(split) else None,
                )  # fmt: skip

    def images(self) -> Iterator[ForeignImage]:
        folder = f"{self._below}{self._driver}-images"
        if not self._reading.has(f"{folder}/images.json"):
            return
        for document in self._list(f"{folder}/images.json"):
            with noted(self._faults):
                image = self._image(folder, document)
                if image is not None:
                    yield image

    def containers(self) -> Iterator[ForeignContainer]:
        """Whose the layers are that have no diff ID."""
        path = f"{self._below}{self._driver}-containers/containers.json"
        for document in self._list(path) if self._reading.has(path) else ():
            with noted(self._faults):
                names = document.get("names") or [document["id"]]
                directory = self._directory(str(document.get("layer", "")), self._reading.root / path)
                yield ForeignContainer(str(names[0]), self._reading.root / directory)

    def _directory(self, name: str, where: Any) -> str:
        return self._below + _DIRECTORIES[self._driver].format(snapshot_name(name, where))

    def _image(self, folder: str, document: dict[str, Any]) -> ForeignImage | None:
        """The image; None for what has no config, as half of a manifest list."""
        identifier = snapshot_name(document["id"], self._reading.root / folder / "images.json")
        for name in document.get("big-data-names") or ():
            # A config is kept under its digest; what else is has other names.
            if not str(name).startswith("sha256:"):
                continue
            path = f"{folder}/{identifier}/=" + base64.b64encode(str(name).encode()).decode()
            if not self._reading.has(path):
                called = ", ".join(map(str, document.get("names") or ())) or identifier
                raise ForeignDamaged(f"image {called}: its config, {self._reading.root / path}, is missing")
            config = ImageConfig.parse(self._reading.read(path), str(self._reading.root / path))
            if config.image_id != name:
                raise ForeignDamaged(f"{self._reading.root / path}: the config is not what its name says")
            return ForeignImage(config, tuple(self._references(document.get("names") or ())))
        return None

    def _references(self, names: Any) -> Iterator[Reference]:
        for name in names:
            with noted(self._faults):
                reference = Reference.parse(str(name))
                if reference.digest is None:
                    yield reference

    def _list(self, path: str) -> list[dict[str, Any]]:
        where = self._reading.root / path
        found = strictjson.loads_any(self._reading.read(path), str(where))
        texts, lists = ("id", "parent", "diff-digest", "layer"), ("names", "big-data-names")
        if not isinstance(found, list) or not all(
            isinstance(each, dict)
            and isinstance(each.get("id"), str)
            and all(isinstance(each.get(key, ""), str) for key in texts)
            and all(isinstance(each.get(key) or [], list) for key in lists)
            for each in found
        ):
            raise ForeignDamaged(f"{where} is no list of objects with ids")
        return found


def _chains(documents: dict[str, dict[str, Any]]) -> dict[str, ChainID | None]:
    """The chain ID of each layer, by its name; None for what has no diff ID or stands on something without one."""
    chains: dict[str, ChainID | None] = {"": None}
    for name in documents:
        above: dict[str, None] = {}  # in order
        while name not in chains and name in documents and name not in above:
            above[name] = None
            name = documents[name].get("parent", "")
        for each in reversed(above):
            parent = documents[each].get("parent", "")
            below, digest = chains.get(parent), documents[each].get("diff-digest")
            whole = digest and (below is not None or not parent)
            chains[each] = chain_id(below, DiffID(Digest(digest))) if whole else None
    return chains
