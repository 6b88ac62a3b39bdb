"""What comes out of a build besides the image in the store: `-o type=...`.

    local      the merged tree into a directory, owned by the caller      registry   a push of every tag
    tar        the merged tree as one tar                                 image      the store alone (the default)
    oci        an OCI layout, as a tar or (tar=false) as a directory      docker     an archive for `docker load`
Source: docker/buildx reference for `build --output`.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from veneer.build.events import OutputProgress
from veneer.errors import InvalidRequest
from veneer.oci.reference import Reference

if TYPE_CHECKING:
    from veneer.build.events import Listener
    from veneer.build.request import OutputSpec
    from veneer.oci.manifest import Descriptor
    from veneer.progress import Progress, Report
    from veneer.store.image import Image
    from veneer.store.store import Store

_TRUE = ("1", "t", "true")
_OPTIONS = {
    "local": {"platform-split"},
    "tar": set[str](),
    "oci": {"name", "tar", "compression"},
    "docker": {"name", "compression"},
    "image": {"name", "push", "compression"},
    "registry": {"name", "compression"},
}
_SAID_ANYWAY = {"oci-mediatypes": "true", "store": "true", "unpack": "true", "push": "true"}
"""What buildx lets one choose and veneer always does."""


class BadOutput(InvalidRequest):
    """An output that does not say where to, or that this build cannot have."""


def names_of(spec: OutputSpec) -> list[str]:
    """What `name=` of an output calls the image."""
    return [name for name in dict(spec.options).get("name", "").split(",") if name]


def pushes(spec: OutputSpec) -> bool:
    """Whether an output goes to a registry."""
    return spec.type == "registry" or (spec.type == "image" and _is_true(spec, "push"))


def _is_true(spec: OutputSpec, option: str, default: str = "") -> bool:
    return dict(spec.options).get(option, default).lower() in _TRUE


def check(specs: Sequence[OutputSpec], tags: Sequence[str], platforms: int) -> None:
    """Refuse, before anything is built, what could not be written after.  Raises BadOutput."""
    for spec in specs:
        if spec.type not in _OPTIONS:
            raise BadOutput(f"there is no output type={spec.type}", hint=f"one of {', '.join(_OPTIONS)}")
        for name, value in spec.options:
            if name not in _OPTIONS[spec.type] and _SAID_ANYWAY.get(name) != value.lower():
                known = ", ".join(("dest", *sorted(_OPTIONS[spec.type])))
                raise BadOutput(f"type={spec.type} with {name}={value} is not supported", hint=f"it takes {known}")
        if pushes(spec) and not (tags or names_of(spec)):
            raise BadOutput(f"type={spec.type} needs a name to push to",
                            hint="give one with -t, or with name= in -o")  # fmt: skip
        if spec.type == "local" and not spec.dest:
            raise BadOutput("type=local needs dest=DIRECTORY")
        if spec.type == "oci" and not spec.dest:
            raise BadOutput("type=oci needs dest=FILE, or tar=false and dest=DIRECTORY")
        if platforms > 1 and spec.type in ("tar", "docker"):
            raise BadOutput(f"type={spec.type} holds one platform, and {platforms} are built",
                            hint="use type=oci, type=local or type=registry")  # fmt: skip


def write(
    store: Store, spec: OutputSpec, images: dict[str, Image], tags: Sequence[str], tell: Listener,
    stdout: BinaryIO | None = None, compression: str = "",
) -> Descriptor | None:  # fmt: skip
    """Write one output of the built `images`, by platform text; what a registry has now, if it was pushed.

    `tags` are the names the build gave, which the images have, as they have those of the output; `stdout` is where
    dest `-` goes.  Raises BadOutput, and what writing and pushing do.
    """

    def progress(report: Report) -> None:
        tell(OutputProgress(time.time(), spec.type, report))

    names = names_of(spec) or list(tags)
    if spec.type == "local":
        for platform, image in images.items():
            folder = Path(spec.dest)
            if _is_true(spec, "platform-split", "true" if len(images) > 1 else ""):
                folder /= platform.replace("/", "_")
            write_tree(store, image, folder)
    elif spec.type == "tar":
        [image] = images.values()
        with _stream(spec, stdout) as out:
            from veneer.distribution.transfer import export

            export(store, image, out)
    elif spec.type in ("oci", "docker"):
        _archive(store, spec, names or [str(image.id) for image in images.values()], progress, stdout)
    elif pushes(spec):
        return _push(store, names, compression, progress)
    return None


@contextlib.contextmanager
def _stream(spec: OutputSpec, stdout: BinaryIO | None) -> Iterator[BinaryIO]:
    from veneer.distribution.archive_sink import written_whole

    if spec.dest == "-":
        if stdout is None:
            raise BadOutput("dest=- needs a stream to write to", hint="give a file")
        yield stdout
        return
    with written_whole(Path(spec.dest)) as out:
        yield out


def _archive(store: Store, spec: OutputSpec, names: Sequence[str], progress: Progress, stdout: BinaryIO | None) -> None:
    from veneer.distribution.archive_save import save

    if not spec.dest:
        return  # type=docker: buildx loads the image into the engine, and there it is
    if not _is_true(spec, "tar", "true"):
        save(store, names, Path(spec.dest), format="oci-dir", progress=progress)
        return
    with _stream(spec, stdout) as out:
        save(store, names, out, format=spec.type, progress=progress)


def _push(store: Store, names: Sequence[str], compression: str, progress: Progress) -> Descriptor:
    from veneer.distribution.client import Registries
    from veneer.distribution.push import push
    from veneer.store import manifests

    with Registries(store.config) as registries:
        for name in names:
            pushed = push(store, registries, Reference.parse(name), compression=compression, progress=progress)
    return manifests.read(store.catalog, store.blobs, pushed.digest).descriptor


def write_tree(store: Store, image: Image, folder: Path) -> None:
    """The image's merged tree into a directory, which may have something in it; files become the caller's.

    Nothing is written outside `folder`, whatever links the image or the directory hold.
    """
    from veneer.changeset.pack import pack_tree
    from veneer.changeset.unpack import unpack
    from veneer.changeset.whiteout import WhiteoutStyle
    from veneer.drivers.mount import opened

    folder.mkdir(parents=True, exist_ok=True)
    if image.top is None:
        return
    failure: list[BaseException] = []
    reading, writing = os.pipe()
    with open(reading, "rb", buffering=0) as source, contextlib.ExitStack() as stack:
        out = stack.enter_context(open(writing, "wb", buffering=1 << 20))
        tree = stack.enter_context(opened(store.layers.mounts(image.top)))

        def pack() -> None:
            try:
                with out:
                    pack_tree(tree, out, owner=(os.geteuid(), os.getegid()))
            except BaseException as error:  # noqa: BLE001  told to whoever waits for the thread
                failure.append(error)

        packer = threading.Thread(target=pack, name="veneer-output")
        packer.start()
        root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            unpack(source, root, WhiteoutStyle.ERASE, index=None, what=f"image {image.id.short}")
        finally:
            source.close()  # a packer that still writes gets EPIPE and ends
            packer.join()
            os.close(root)
    if failure and not isinstance(failure[0], BrokenPipeError):
        raise failure[0]
