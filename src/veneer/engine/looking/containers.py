"""A container to be looked at: its image's layers, and on top what it has written, as a commit would make it.

Nothing is committed: the driver packs the difference into nowhere, and of that only the table of contents stays, in
memory.  A container may run meanwhile; it is looked at once, when it is opened.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from typing import TYPE_CHECKING, BinaryIO, cast

from veneer.changeset.index import LayerIndex
from veneer.engine.looking.subject import Documents, Subject

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from veneer.changeset.compression import Source
    from veneer.engine.engine import Engine
    from veneer.engine.looking.contents import LayerBytes
    from veneer.oci.digest import DiffID
    from veneer.oci.image import ImageConfig
    from veneer.store.containers import Container
    from veneer.store.images import Image

WHERE = "container"


def of_container(engine: Engine, stack: contextlib.ExitStack, name: str) -> Subject:
    """The container called `name`; its indexes are closed with `stack`.

    Its config is that of the image a commit would make now, but for the moment it was made, which is the container's.
    A plain user must be in the namespace (`engine.enter_namespace`) to read what the container wrote.
    Raises NoSuchContainer, AmbiguousContainer, LayerLost.
    """
    from veneer.engine.looking.contents import LayerBytes
    from veneer.engine.looking.sources import of_image, stored_bytes

    container = engine.containers.get(name)
    diff_id, top = _written(engine, stack, container)
    image = image_of(engine, container)
    config = _config(engine, container, image, diff_id)
    manifest = index = None
    blobs: Sequence[Any] = (None,) * len(config.diff_ids)
    if image is not None:
        below = of_image(engine, stack, image).documents
        manifest, index, blobs = below.manifest, below.index, (*below.blobs, None)

    def open_() -> Sequence[LayerIndex]:
        layers = engine.store.layers
        return [*(stack.enter_context(layers.index(each)) for each in config.diff_ids[:-1]), top]

    driver = engine.store.containers.driver(container)

    @contextlib.contextmanager
    def packed() -> Iterator[Source]:
        # Of a file whose mode was changed, or its directory renamed, the driver's directory need not have the bytes.
        with tempfile.TemporaryFile(buffering=0) as file:
            driver.diff(container.rw, engine.store.containers.lowers(container), cast(BinaryIO, file))
            file.seek(0)
            yield file

    def bytes_(position: int) -> LayerBytes:
        if position < len(config.diff_ids) - 1:
            return stored_bytes(engine, config.chain_ids[position])
        return LayerBytes(os.fspath(driver.directory(container.rw)), packed)

    documents = Documents(container.name, WHERE, config, (), manifest, index, None, tuple(blobs))
    return Subject(documents, open_, bytes_)


def image_of(engine: Engine, container: Container) -> Image | None:
    """The image it was made of; None if that was removed by force."""
    from veneer.errors import NotFound

    try:
        return engine.images.get(container.image)
    except NotFound:
        return None


def _written(engine: Engine, stack: contextlib.ExitStack, container: Container) -> tuple[DiffID, LayerIndex]:
    """What the container has changed of what it stands on; what every container is given is no change."""
    from veneer.store.container_layer import compared

    with open(os.memfd_create("veneer-index"), "w+b") as file:  # in memory, where it is read to at once
        packed = compared(engine.store, container, file)
        file.seek(0)
        return packed.diff_id, stack.enter_context(LayerIndex.from_bytes(file.read()))


def _config(engine: Engine, container: Container, image: Image | None, diff_id: DiffID) -> ImageConfig:
    """The config of the image that a commit would make."""
    from veneer.build.derivation import history_row
    from veneer.oci import strictjson
    from veneer.oci.image import ImageConfig
    from veneer.oci.platform import host
    from veneer.oci.timestamp import render

    if image is not None:
        document = dict(image.config.document)
        below = [str(each) for each in image.config.diff_ids]
    else:
        document = {"architecture": host().architecture, "os": "linux"}
        layers = engine.store.layers.stack(container.top) if container.top is not None else ()
        below = [str(layer.diff_id) for layer in layers]
    rows = list(document.get("history") or ())
    created = render(container.created)
    row = history_row(created, "", f"container {container.name}", empty=False)
    document |= {
        "config": container.document["Config"],
        "created": created,
        "history": [*rows, row],
        "rootfs": {"type": "layers", "diff_ids": [*below, str(diff_id)]},
    }
    return ImageConfig.parse(strictjson.dumps(document), f"container {container.name}")
