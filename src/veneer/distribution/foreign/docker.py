"""Docker's data root: image/<driver> says what there is, <driver>/ has the files.

Sources: moby image/fs.go, layer/filestore.go, reference/store.go; daemon/graphdriver/{overlay2,aufs,vfs}.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from veneer.distribution.foreign.root import ForeignDamaged, ForeignImage, ForeignLayer, ForeignRoot, ordered
from veneer.errors import VeneerError
from veneer.oci import strictjson
from veneer.oci.digest import ChainID, DiffID, Digest, ImageID, chain_id
from veneer.oci.image import ImageConfig
from veneer.oci.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_DIRECTORIES = {"overlay2": "overlay2/{}/diff", "aufs": "aufs/diff/{}", "vfs": "vfs/dir/{}"}
"""Where each driver has a layer's files, by its cache ID."""


def read(root: Path) -> ForeignRoot | None:
    """What docker has in a directory; None if it is not docker's.  Of several drivers the first of ours to have layers.

    Raises ForeignDamaged.
    """
    empty = None
    for driver in _DIRECTORIES:
        if not (root / "image" / driver / "layerdb").is_dir():
            continue
        found = ForeignRoot(root, f"docker's {driver}", ordered(_layers(root, driver)), tuple(_images(root, driver)))
        if found.layers or found.images:
            return found
        empty = empty or found
    return empty


def _layers(root: Path, driver: str) -> Iterator[ForeignLayer]:
    folder = root / "image" / driver / "layerdb" / "sha256"
    if not folder.is_dir():
        return
    for entry in sorted(folder.iterdir()):
        try:
            named = ChainID(Digest.parse(f"sha256:{entry.name}"))
        except VeneerError:
            continue  # being made or removed: docker gives those longer names
        diff_id = DiffID(Digest.parse(_text(entry / "diff")))
        parent = ChainID(Digest.parse(_text(entry / "parent"))) if (entry / "parent").exists() else None
        if chain_id(parent, diff_id) != named:
            raise ForeignDamaged(f"{entry}: the layer's name is not that of its parent and content")
        cache = _text(entry / "cache-id")
        if "/" in cache or cache in ("", ".", ".."):
            raise ForeignDamaged(f"{entry / 'cache-id'}: {cache[:80]!r} is no name of a directory")
        split = entry / "tar-split.json.gz"
        yield ForeignLayer(
            named, diff_id, parent, int(_text(entry / "size") or "0"), driver, cache,
            root / _DIRECTORIES[driver].format(cache), split if split.exists() else None,
        )  # fmt: skip


def _images(root: Path, driver: str) -> Iterator[ForeignImage]:
    folder = root / "image" / driver
    names: dict[str, list[Reference]] = {}
    with contextlib.suppress(FileNotFoundError):
        document = strictjson.loads((folder / "repositories.json").read_bytes(), str(folder / "repositories.json"))
        for repository in (document.get("Repositories") or {}).values():
            for name, image in repository.items():
                reference = Reference.parse(name)
                if reference.digest is None:
                    names.setdefault(image, []).append(reference)
    contents = folder / "imagedb" / "content" / "sha256"
    for entry in sorted(contents.iterdir()) if contents.is_dir() else ():
        raw = entry.read_bytes()
        config = ImageConfig.parse(raw, str(entry))
        if config.image_id != f"sha256:{entry.name}":
            raise ForeignDamaged(f"{entry}: the config is not what its name says")
        parent = None
        with contextlib.suppress(FileNotFoundError):
            parent = ImageID(Digest.parse((folder / f"imagedb/metadata/sha256/{entry.name}/parent").read_text()))
        yield ForeignImage(config, tuple(names.get(config.image_id, ())), parent)


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except FileNotFoundError as error:
        raise ForeignDamaged(f"{file} is missing") from error
