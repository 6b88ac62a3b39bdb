"""The data root of containers/storage (podman, buildah, CRI-O): <driver>-images and <driver>-layers beside <driver>/.

Source: containers/storage images.go, layers.go (images.json, layers.json), storage's bigDataName.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from veneer.distribution.foreign.root import ForeignDamaged, ForeignImage, ForeignLayer, ForeignRoot, ordered
from veneer.oci import strictjson
from veneer.oci.digest import ChainID, DiffID, Digest, chain_id
from veneer.oci.image import ImageConfig
from veneer.oci.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_DIRECTORIES = {"overlay": "overlay/{}/diff", "vfs": "vfs/dir/{}"}


def read(root: Path) -> ForeignRoot | None:
    """What containers/storage has in a directory or in `storage` below it; None if it is not its.

    Raises ForeignDamaged.
    """
    for folder in (root, root / "storage"):
        for driver in _DIRECTORIES:
            if (folder / f"{driver}-layers" / "layers.json").is_file():
                layers = dict(_layers(folder, driver))
                images = tuple(_images(folder, driver))
                return ForeignRoot(folder, f"containers/storage's {driver}", ordered(layers.values()), images)
    return None


def _layers(root: Path, driver: str) -> Iterator[tuple[str, ForeignLayer]]:
    """Each layer with the name it has there; those of containers have no diff ID and are left out."""
    folder = root / f"{driver}-layers"
    documents = {each["id"]: each for each in _list(folder / "layers.json")}
    chains: dict[str, ChainID | None] = {}

    def chain(name: str) -> ChainID | None:
        """The chain ID of a layer; None for what stands on something without one."""
        above: list[str] = []
        while name and name not in chains and name not in above:
            above.append(name)
            name = documents.get(name, {}).get("parent", "")
        for each in reversed(above):
            document = documents.get(each, {})
            below = chains.get(document.get("parent", ""))
            whole = document.get("diff-digest") and (below is not None or not document.get("parent"))
            chains[each] = chain_id(below, DiffID(Digest.parse(document["diff-digest"]))) if whole else None
        return chains.get(above[0]) if above else chains.get(name)

    for name, document in documents.items():
        if "/" in name or name in ("", ".", ".."):
            raise ForeignDamaged(f"{folder / 'layers.json'}: {name[:80]!r} is no name of a directory")
        named = chain(name)
        if named is None:
            continue
        split = folder / f"{name}.tar-split.gz"
        yield name, ForeignLayer(
            named, DiffID(Digest.parse(document["diff-digest"])), chain(document.get("parent", "")),
            int(document.get("diff-size") or 0), driver, name, root / _DIRECTORIES[driver].format(name),
            split if split.exists() else None,
        )  # fmt: skip


def _images(root: Path, driver: str) -> Iterator[ForeignImage]:
    folder = root / f"{driver}-images"
    for document in _list(folder / "images.json") if (folder / "images.json").exists() else ():
        names = [name for name in document.get("big-data-names") or () if name.startswith("sha256:")]
        for name in names:
            # A config is kept under its digest; what else is has other names.
            file = folder / document["id"] / ("=" + base64.b64encode(name.encode()).decode())
            if not file.exists():
                continue
            config = ImageConfig.parse(file.read_bytes(), str(file))
            if config.image_id != name:
                raise ForeignDamaged(f"{file}: the config is not what its name says")
            parsed = [Reference.parse(each) for each in document.get("names") or ()]
            yield ForeignImage(config, tuple(each for each in parsed if each.digest is None))
            break


def _list(file: Path) -> list[dict[str, Any]]:
    found = strictjson.loads_any(file.read_bytes(), str(file))
    if not isinstance(found, list) or not all(
        isinstance(each, dict) and isinstance(each.get("id"), str) for each in found
    ):
        raise ForeignDamaged(f"{file} is no list of objects with ids")
    return found
