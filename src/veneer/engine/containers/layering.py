"""What is done with what a container has written: shown, made an image, dropped, taken out.

Sources: moby daemon/commit.go, image/image.go (NewChildImage), daemon/export.go.
"""

from __future__ import annotations

import contextlib

from veneer.engine.containers import lifecycle
from veneer.engine.containers.starting import require_unmounted
from veneer.errors import Conflict
from veneer.run.monitor import client
from veneer.run.monitor import state as states
from veneer.run.monitor.stream import MonitorGone
from veneer.store import container_layer
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any, BinaryIO

    from veneer.engine.engine import Engine
    from veneer.oci.digest import ImageID
    from veneer.oci.image import ImageConfig
    from veneer.store.container_layer import Change
    from veneer.store.containers import Container

size = container_layer.size


class StillRunning(Conflict):
    """What was asked needs a container that does not run."""


class StackedLayer(Value):
    """One layer of a container's stack: `kind` is image, init or rw; `id` the image's ID up to there, if it has one
    here, the chain ID, or the container's.  `size` in bytes, `directory` where its files are, `files` how many (of the
    read-write layer), `created_by` the instruction that made it."""

    kind: str
    id: str
    size: int
    directory: str
    created_by: str = ""
    files: int = 0


def changes(engine: Engine, container: Container) -> list[Change]:
    """See container_layer.changes."""
    return container_layer.changes(engine.store, container)


def layers(engine: Engine, container: Container) -> list[StackedLayer]:
    """The stack a container's tree is made of, base first, its own layer last."""
    from veneer.drivers.treecopy import usage

    store = engine.store
    found = [
        StackedLayer("image", layer.chain_id, layer.size, str(store.layers.directory(layer)), made_by)
        for layer, made_by in _image_layers(engine, container)
    ]
    driver = store.containers.driver(container)
    if container.init:
        directory = driver.directory(container.init)  # type: ignore[arg-type]
        found.append(StackedLayer("init", container.init, 0, str(directory), "places for /dev, /etc/hosts, ..."))
    directory = driver.directory(container.rw)
    counted = driver.usage(container.rw) if driver.any_order else usage(directory)
    own = size(store, container)
    return [*found, StackedLayer("rw", container.id, own, str(directory), f"container {container.name}",
                                 max(counted.inodes - 1, 0))]  # fmt: skip


def _image_layers(engine: Engine, container: Container) -> Iterator[tuple[Any, str]]:
    store = engine.store
    if container.top is None:
        return
    made = _parent(engine, container)
    rows = made.rows() if made is not None and made.tells_layers else ()
    made_by = {position: row.created_by for row, position in rows if position is not None}
    for position, layer in enumerate(store.layers.stack(container.top)):
        yield layer, made_by.get(position, "")


@contextlib.contextmanager
def standing_still(engine: Engine, container: Container, *, pause: bool = True) -> Iterator[None]:
    """Nobody writes to the container's layer in this `with`: its processes are frozen, or it does not run, and is
    not started again by its policy."""
    folder = engine.store.containers.folder(container.id)
    with contextlib.ExitStack() as stack:
        if pause:
            # Or it would be started meanwhile.
            stack.enter_context(engine.store.locked(f"container-{container.id}"))
            if states.settled(folder).is_live:
                with contextlib.suppress(client.NotRunning, MonitorGone):
                    stack.enter_context(client.connect(folder).freeze())
        yield


def commit(
    engine: Engine,
    container: Container,
    *,
    author: str = "",
    message: str = "",
    changes: Sequence[str] = (),
    pause: bool = True,
    tag: str = "",
) -> ImageID:
    """Make an image of a container's image, configuration and layer; `changes` are Dockerfile instructions.

    A container that runs is frozen meanwhile, unless told not to.  Raises InvalidInstruction, InvalidReference.
    """
    from veneer.build.changes import apply_changes
    from veneer.oci.reference import Reference

    name = Reference.parse(tag).tagged() if tag else None
    config = container.document["Config"]
    run = apply_changes(config, changes) if changes else dict(config)
    with engine.store.lease("commit") as lease:
        with standing_still(engine, container, pause=pause):
            layer, packed = container_layer.capture(engine.store, lease, container)
        parent = _parent(engine, container)
        document = _child(
            engine, parent, container, run, diff_id=str(packed.diff_id) if layer is not None else "", author=author,
            message=message,
        )  # fmt: skip
        image = engine.store.images.add(
            lease, document, parent=container.image if parent is not None else None, built=True,
            durable=name is None,
        )  # fmt: skip
        if name is not None:
            engine.store.images.tag(image.id, name)
    lifecycle.tell(engine, container, "commit", comment=message)
    return image.id


def _parent(engine: Engine, container: Container) -> ImageConfig | None:
    from veneer.errors import NotFound

    try:
        return engine.images.get(container.image).config
    except NotFound:
        return None


def _child(
    engine: Engine,
    parent: ImageConfig | None,
    container: Container,
    run: dict[str, Any],
    *,
    diff_id: str,
    author: str,
    message: str,
) -> bytes:
    """The config of the image that a commit makes, in docker's keys."""
    from veneer.build.derivation import history_row
    from veneer.oci import strictjson
    from veneer.oci.timestamp import now

    made_at = now()
    base = dict(parent.document) if parent is not None else {}
    if parent is None and container.top is not None:
        # The image was removed by force: what its layers are is still known.
        stack = engine.store.layers.stack(container.top)
        base["rootfs"] = {"type": "layers", "diff_ids": [str(layer.diff_id) for layer in stack]}
    words = container.document["Config"].get("Cmd") or []
    row = history_row(made_at, author, " ".join(words), empty=not diff_id, comment=message)
    below = base.get("rootfs") or {}
    diff_ids = [*(below.get("diff_ids") or ()), *([diff_id] if diff_id else [])]
    platform_keys = {key: base[key] for key in ("architecture", "variant", "os", "os.version") if base.get(key)}
    document: dict[str, Any] = (
        {"architecture": _machine(), "os": "linux"}
        | platform_keys
        | {
            "config": run,
            "container": container.id,
            "container_config": container.document["Config"],
            "created": made_at,
            "history": [*(base.get("history") or ()), row],
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
    )
    if author:
        document["author"] = author
    if message:
        document["comment"] = message
    return strictjson.dumps(dict(sorted(document.items())))


def _machine() -> str:
    from veneer.oci.platform import host

    return host().architecture


def snapshot(engine: Engine, container: Container, tag: str) -> ImageID:
    """Make an image of a container as it stands, under a name: its layer alone is written, its processes rest
    meanwhile."""
    return commit(engine, container, tag=tag, message=f"snapshot of {container.name}")


def reset(engine: Engine, container: Container) -> int:
    """Drop what a container has written; how many bytes that was.  Raises StillRunning, StillMounted."""
    store = engine.store
    with store.locked(store.containers.tree_key(container.id)), store.locked(f"container-{container.id}"):
        container = store.containers.get(container.id)
        if states.settled(store.containers.folder(container.id)).is_live:
            raise StillRunning(f"container {container.name} runs, and its layer is in use",
                               hint=f"veneer stop {container.name}")  # fmt: skip
        require_unmounted(engine, container)
        dropped = size(store, container)
        with store.lease("reset") as lease:
            container_layer.reset(store, lease, container)
    lifecycle.tell(engine, container, "reset")
    return dropped


def export(engine: Engine, container: Container, out: BinaryIO) -> None:
    """Write a container's tree as a tar, sorted, without what is mounted in it."""
    from veneer.changeset.pack import pack_tree
    from veneer.drivers.mount import opened
    from veneer.engine.containers.viewing import kept

    mounts = engine.store.containers.mounts(container, readonly=True)
    with kept(engine.store, container), opened(mounts) as root:
        pack_tree(root, out, any_name=True)
    lifecycle.tell(engine, container, "export")
