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
    from veneer.progress import Progress, Report
    from veneer.store.image import Image
    from veneer.store.store import Store

_TRUE = ("1", "t", "true")


class BadOutput(InvalidRequest):
    """An output that does not say where to, or that this build cannot have."""


def check(specs: Sequence[OutputSpec], tags: Sequence[str], platforms: int) -> None:
    """Refuse, before anything is built, what could not be written after.  Raises BadOutput."""
    for spec in specs:
        options = dict(spec.options)
        if spec.type == "registry" and not (tags or options.get("name")):
            raise BadOutput("type=registry needs a name to push to", hint="give one with -t, or with name= in -o")
        if spec.type in ("local", "oci-dir") and not spec.dest:
            raise BadOutput(f"type={spec.type} needs dest=DIRECTORY")
        if platforms > 1 and spec.type in ("tar", "docker"):
            raise BadOutput(f"type={spec.type} holds one platform, and {platforms} are built",
                            hint="use type=oci, type=local or type=registry")  # fmt: skip


def write(
    store: Store, spec: OutputSpec, images: dict[str, Image], tags: Sequence[str], tell: Listener,
    stdout: BinaryIO | None = None,
) -> None:  # fmt: skip
    """Write one output of the built `images`, by platform text.

    `tags` are the names the build gave; `stdout` is where dest `-` goes.  Raises BadOutput, OutputFailed.
    """

    def progress(report: Report) -> None:
        tell(OutputProgress(time.time(), spec.type, report))

    options = dict(spec.options)
    if spec.type == "local":
        for platform, image in images.items():
            folder = Path(spec.dest)
            if len(images) > 1 or options.get("platform-split", "").lower() in _TRUE:
                folder /= platform.replace("/", "_")
            write_tree(store, image, folder)
    elif spec.type == "tar":
        [image] = images.values()
        with _stream(spec, stdout) as out:
            from veneer.distribution.transfer import export

            export(store, image, out)
    elif spec.type in ("oci", "docker"):
        _archive(store, spec, options, images, tags, progress, stdout)
    elif spec.type == "registry" or options.get("push", "").lower() in _TRUE:
        _push(store, options, tags, progress)


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


def _archive(
    store: Store, spec: OutputSpec, options: dict[str, str], images: dict[str, Image], tags: Sequence[str],
    progress: Progress, stdout: BinaryIO | None,
) -> None:  # fmt: skip
    from veneer.distribution.archive_save import save

    named = [name for name in options.get("name", "").split(",") if name] or list(tags)
    for name in named:
        if name not in tags:
            for image in images.values():
                store.images.tag(image.id, Reference.parse(name).tagged())
    names = named or [str(image.id) for image in images.values()]
    if not spec.dest:
        if spec.type == "docker":
            return  # buildx loads the image into the engine, and there it is
        raise BadOutput("type=oci needs dest=FILE")
    if options.get("tar", "true").lower() not in _TRUE:
        if spec.type != "oci":
            raise BadOutput("tar=false is for type=oci")
        save(store, names, Path(spec.dest), format="oci-dir", progress=progress)
        return
    with _stream(spec, stdout) as out:
        save(store, names, out, format=spec.type, progress=progress)


def _push(store: Store, options: dict[str, str], tags: Sequence[str], progress: Progress) -> None:
    from veneer.distribution.client import Registries
    from veneer.distribution.push import push

    named = [name for name in options.get("name", "").split(",") if name] or list(tags)
    with Registries(store.config) as registries:
        for name in named:
            reference = Reference.parse(name).tagged()
            if name not in tags:
                [first, *_] = tags or [""]
                store.images.tag(store.images.find(first or name).id, reference)
            push(store, registries, reference, progress=progress)


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
