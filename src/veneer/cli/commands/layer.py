"""`veneer layer ls`, `veneer layer inspect`, `veneer layer which`."""

from __future__ import annotations

from veneer.cli.app import App
from veneer.cli.command import INSPECT_FORMAT, LIST_FORMAT, Command
from veneer.cli.flags import Option, Parsed
from veneer.cli.foreign import foreign_root
from veneer.cli.listing import Column, Listing
from veneer.cli.units import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any

    from veneer.engine.foreign import ForeignLayer, LayerUse, ListedImage
    from veneer.engine.layers import LayerInfo
    from veneer.oci.digest import Digest
    from veneer.store.image import Image
    from veneer.store.layers import Layer


def _names(image: Image | ListedImage) -> str:
    return ", ".join(tag.familiar for tag in image.tags) or image.id.short


def _short(digest: Digest | None, *, truncate: bool) -> str:
    if digest is None:
        return ""
    return digest.short if truncate else str(digest)


def _layer_columns(*, truncate: bool) -> list[Column[Layer | ForeignLayer]]:
    return [
        Column("ChainID", "CHAIN ID", lambda layer: _short(layer.chain_id, truncate=truncate)),
        Column("DiffID", "DIFF ID", lambda layer: _short(layer.diff_id, truncate=truncate)),
        Column("Parent", "PARENT", lambda layer: _short(layer.parent, truncate=truncate)),
        Column("Size", "SIZE", lambda layer: human_size(layer.size)),
        Column("Driver", "DRIVER", lambda layer: layer.driver),
        Column("Snapshot", "SNAPSHOT", lambda layer: layer.snapshot),
    ]


def run_list(app: App, given: Parsed) -> None:
    foreign = foreign_root(app)
    layers: Sequence[Layer | ForeignLayer] = app.engine.layers.list() if foreign is None else foreign.layers
    kind: Listing[Layer | ForeignLayer] = Listing("layer", _layer_columns(truncate=not given.flag("no_trunc")))
    format = given.text("format")
    if given.flag("quiet") and format in ("", "table"):
        app.write("".join(kind.columns["ChainID"].text(layer) + "\n" for layer in layers))
        return
    kind.show(app, layers, format, ("ChainID", "DiffID", "Parent", "Size", "Driver"))


def document(info: LayerInfo) -> dict[str, Any]:
    """A layer as `layer inspect` shows it; sizes are bytes, `Images` are all that have it in their stack."""
    layer = info.layer
    return {
        **_identity(layer),
        "Directory": str(info.directory),
        "Durable": layer.durable,
        "Blobs": [{"Digest": str(blob.digest), "MediaType": blob.media_type, "Size": blob.size} for blob in info.blobs],
        "Images": [{"Id": str(image.id), "RepoTags": [tag.familiar for tag in image.tags]} for image in info.images],
    }


def _identity(layer: Layer | ForeignLayer) -> dict[str, Any]:
    """What is said of every engine's layers."""
    return {
        "ChainID": str(layer.chain_id),
        "DiffID": str(layer.diff_id),
        "Parent": str(layer.parent) if layer.parent else "",
        "Size": layer.size,
        "Driver": layer.driver,
        "Snapshot": str(layer.snapshot),
    }


def _foreign_document(use: LayerUse) -> dict[str, Any]:
    """As `document`, of another engine's layer; `Blob` is its tar as it came, `Record` says how that was written."""
    layer = use.layer
    return {
        **_identity(layer),
        "Directory": str(layer.directory or ""),
        "Copies": [str(each) for each in layer.copies],
        "Blob": str(layer.blob or ""),
        "Record": str(layer.tar_split) if layer.tar_split else "",
        "Images": [{"Id": str(image.id), "RepoTags": [tag.familiar for tag in image.tags]} for image in use.images],
    }


def run_inspect(app: App, given: Parsed) -> int:
    from veneer.cli.commands.inspect import show_all

    foreign = foreign_root(app)

    def find(name: str) -> dict[str, Any]:
        if foreign is None:
            return document(app.engine.layers.get(name))
        from veneer.engine.foreign import layer

        return _foreign_document(layer(foreign, name))

    return show_all(app, given.arguments, given.text("format"), find, lambda found: found)


def run_which(app: App, given: Parsed) -> None:
    foreign = foreign_root(app)
    infos: Sequence[LayerInfo | LayerUse]
    if foreign is None:
        infos = [app.engine.layers.which(path) for path in given.arguments]
    else:
        from veneer.engine.foreign import which

        infos = [which(foreign, path) for path in given.arguments]
    truncate = not given.flag("no_trunc")
    kind: Listing[LayerInfo | LayerUse] = Listing("layer", (
        Column("ChainID", "CHAIN ID", lambda info: _short(info.layer.chain_id, truncate=truncate)),
        Column("DiffID", "DIFF ID", lambda info: _short(info.layer.diff_id, truncate=truncate)),
        Column("Blob", "BLOB DIGEST", lambda info: _short(_blob(info), truncate=truncate)),
        Column("Size", "SIZE", lambda info: human_size(info.layer.size)),
        Column("Directory", "DIRECTORY", lambda info: str(_directory(info) or "")),
        Column("Images", "IMAGES", lambda info: ", ".join(_names(image) for image in info.images)),
    ))  # fmt: skip
    blob = ("Blob",) if foreign is None else ()
    kind.show(app, infos, given.text("format"), ("ChainID", "DiffID", *blob, "Size", "Images"))


def _blob(info: LayerInfo | LayerUse) -> Digest | None:
    """The stored bytes with the layer's content; of the other engines containerd keeps such."""
    if not hasattr(info, "blobs"):
        return info.layer.blob_digest
    return info.blobs[0].digest if info.blobs else None


def _directory(info: LayerInfo | LayerUse) -> Path | None:
    return getattr(info, "directory", None) or info.layer.directory  # type: ignore[union-attr]


_NO_TRUNC = Option("no-trunc", "bool", "Don't truncate output")
LIST_LAYERS = Command(
    run_list,
    "List layers",
    "[OPTIONS]",
    names=("layer ls", "layer list"),
    options=(
        Option("format", "string", LIST_FORMAT),
        _NO_TRUNC,
        Option("q,quiet", "bool", "Only show chain IDs"),
    ),
    only_looks=True,
)
INSPECT_LAYER = Command(
    run_inspect,
    "Display detailed information on one or more layers",
    "[OPTIONS] LAYER [LAYER...]",
    least=1,
    most=None,
    options=(Option("f,format", "string", INSPECT_FORMAT),),
    only_looks=True,
)
WHICH_LAYER = Command(
    run_which,
    "Show which layer a path on disk belongs to, and who uses it",
    "[OPTIONS] PATH [PATH...]",
    least=1,
    most=None,
    options=(Option("format", "string", LIST_FORMAT), _NO_TRUNC),
    only_looks=True,
)
