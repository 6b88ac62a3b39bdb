"""What a container has written: its size, what changed, and images made of it."""

from __future__ import annotations

from typing import cast

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from veneer.store.containers import Container
    from veneer.store.store import Store


def size(store: Store, container: Container) -> int:
    """Bytes of all that a container has written, as docker's SizeRw: lstat's sizes, each inode once."""
    driver = store.containers.driver(container)
    if driver.any_order:
        return driver.usage(container.rw).size
    # Of a driver whose layers are whole trees: what differs from the one below.
    from veneer.store.drafts import Nowhere

    return driver.diff(container.rw, store.containers.lowers(container), cast("BinaryIO", Nowhere())).size
