"""What the kill tests of containers kill: `python container_worker.py CRASHPOINT ROOT DRIVER` dies at that crash point.

Before that there are a container, `old`, with an init layer shared with whatever comes after it, and a volume, `kept`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.built import make_image, make_layer
from veneer.config import Config
from veneer.oci.digest import ChainID
from veneer.store import durability
from veneer.store.containers import Container, new_id
from veneer.store.image import Image
from veneer.store.store import Store

CRASHPOINTS = (
    "init-layer-made", "container-made", "container-in-place", "container-row-gone", "volume-row-gone",
)  # fmt: skip


def make(store: Store, name: str) -> Image:
    """An image of one layer, with the content `name`."""

    def fill(root: Path) -> None:
        (root / "file").write_text(name)

    with store.lease("worker") as lease:
        return make_image(store, lease, [make_layer(store, lease, fill)], tag=f"{name}:1")


def create(store: Store, name: str, image: Image) -> Container:
    top: ChainID | None = image.top
    with store.lease("worker") as lease:
        return store.containers.create(
            lease, id=new_id(), name=name, image=image.id, image_name="x", top=top, document={"Config": {}}
        )


def main(point: str, root: str, driver: str) -> None:
    with Store.open(Config(root=Path(root), storage_driver=driver)) as store:
        first, second = make(store, "first"), make(store, "second")
        create(store, "old", first)
        store.volumes.create("kept")
        durability.arm(point)
        going = create(store, "new", first)  # container-made, container-in-place
        create(store, "other", second)  # init-layer-made, without `new` in its way
        store.containers.remove(going.id)
        store.volumes.create("going")
        store.volumes.remove("going")


if __name__ == "__main__":
    main(*sys.argv[1:])
