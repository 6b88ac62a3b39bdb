"""What docker's events say of images.  Source: moby daemon/images/image_events.go and who calls it; seen with 20.10."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from veneer.store.image import Image
    from veneer.store.removal import Removal
    from veneer.store.store import Store


def happened(store: Store, action: str, id: str, name: str = "", labels: Mapping[str, str] | None = None) -> None:
    """Something happened to an image; docker names it by its id where it has no better name for it."""
    from veneer.store import events  # which a list of images must not pay for

    events.append(
        store.config.root_name, type="image", action=action, id=id, attributes={**(labels or {}), "name": name or id}
    )


def tagged(store: Store, image: Image, name: str) -> None:
    """An image has one more name."""
    happened(store, "tag", image.id, name, _labels(image))


def pulled(store: Store, image: Image, name: str) -> None:
    """An image came from a registry; its id in the event is the name it was asked for by."""
    happened(store, "pull", name, name.rpartition("@")[0] or name, _labels(image))


def pushed(store: Store, name: str) -> None:
    """An image went to a registry."""
    happened(store, "push", name, name)


def removed(store: Store, removals: Iterable[Removal]) -> None:
    """Names and images have gone; layers, which go with them, have no events."""
    for removal in removals:
        if removal.image:
            happened(store, "untag" if removal.kind == "untagged" else "delete", removal.image)


def pruned(store: Store, removals: Iterable[Removal], size: int) -> None:
    """Images that nothing used have gone."""
    from veneer.store import events

    removed(store, removals)
    events.append(store.config.root_name, type="image", action="prune", id="", attributes={"reclaimed": str(size)})


def _labels(image: Image) -> Mapping[str, str]:
    return image.config.labels
