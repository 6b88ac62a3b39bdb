"""Where images to be looked at are found: in the store, in an archive or a layout, in a registry; or a container.

Whatever the source, a layer that the store has is read from its index there; any other is read once, as a stream, and
its index kept in memory for as long as it is looked at.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, cast

from veneer.changeset.index import LayerIndex
from veneer.engine.looking.subject import Documents, Subject
from veneer.errors import Corrupt, InvalidRequest, NotFound
from veneer.oci.platform import Platform, host
from veneer.progress import Progress, silent

if TYPE_CHECKING:
    from pathlib import Path

    from veneer.changeset.compression import Source
    from veneer.distribution.archive_plan import PlannedImage
    from veneer.distribution.archive_source import Archive
    from veneer.distribution.client import Registries
    from veneer.distribution.streaming import RemoteImage
    from veneer.engine.engine import Engine
    from veneer.engine.looking.contents import LayerBytes, Tar
    from veneer.oci.digest import ChainID, DiffID
    from veneer.oci.manifest import Descriptor, Index, Manifest
    from veneer.store.images import Image

    Stream = Callable[[int], contextlib.AbstractContextManager[Source]]


class WhichImage(InvalidRequest):
    """An archive with several images, and none of them was named."""


class NotInThisArchive(NotFound):
    """An archive without the image that was named."""


class NotThatPlatform(NotFound):
    """An image that is not here for the platform asked for."""


class OtherLayer(Corrupt):
    """A layer with other content than its image's config says."""


@contextlib.contextmanager
def opened(
    engine: Engine,
    name: str = "",
    *,
    archive: Path | BinaryIO | None = None,
    remote: bool = False,
    container: bool = False,
    platform: str | None = None,
    progress: Progress = silent,
    contents: bool = True,
) -> Iterator[Subject]:
    """The image called `name`, in the store unless `archive` or `remote` say otherwise, or the `container` called so.

    `archive` is a docker archive or an OCI layout, as a tar or a directory; `name` may be "" where it has one image.
    Of an image for several platforms, `platform` says which; None is the store's own, the archive's only one, or of a
    registry this machine's.  `remote` asks the registry; its layers are downloaded only if somebody looks into them,
    and not kept.  A container is its image with what it wrote as one more layer; see `containers`.
    Without `contents` the layers of an archive are read sooner; a question that compares large ones then takes longer.
    """
    wanted = Platform.parse(platform) if platform else None
    with contextlib.ExitStack() as stack:
        if archive is not None:
            yield _archived(engine, stack, archive, name, wanted, contents=contents)
        elif container:
            from veneer.engine.looking.containers import of_container

            subject = of_container(engine, stack, name)
            if wanted is not None and str(subject.config.platform) != str(wanted):
                raise NotThatPlatform(
                    f"container {name} is of an image for {subject.config.platform}, not for {wanted}"
                )
            yield subject
        elif remote:
            yield _remote(engine, stack, name, wanted or host(), progress)
        else:
            image = engine.images.get(name)
            yield _local(engine, stack, of_platform(engine, image, name, wanted) if wanted else image, name)


def of_platform(engine: Engine, image: Image, name: str, wanted: Platform) -> Image:
    """What the store has for a platform of that for which `name` stands, of which `image` is one.

    Raises NotThatPlatform.
    """
    if str(image.platform) == str(wanted):
        return image
    index = _index_of(engine, image)
    digests = {str(each.digest) for each in index.images() if str(each.platform) == str(wanted)} if index else set()
    for other in engine.images.list(all=True) if digests else ():
        if str(other.manifest) in digests:
            return other
    raise NotThatPlatform(f"{name}: the store does not have it for {wanted}, but for {image.platform}",
                          hint=f"veneer pull --platform {wanted} {name}, or --remote")  # fmt: skip


def of_image(engine: Engine, stack: contextlib.ExitStack, image: Image) -> Subject:
    """An image of the store; its indexes are closed with `stack`."""
    from veneer.engine.looking.origins import name_of

    return _local(engine, stack, image, name_of(image))


def _local(engine: Engine, stack: contextlib.ExitStack, image: Image, name: str) -> Subject:
    from veneer.oci import manifest as oci

    layers = engine.store.layers
    config = image.config
    manifest = oci.parse(engine.store.blobs.read(image.manifest), what=f"manifest {image.manifest}")
    assert isinstance(manifest, oci.Manifest), "an image's manifest is no index"
    blobs = manifest.layers if len(manifest.layers) == len(config.diff_ids) else (None,) * len(config.diff_ids)

    def open_() -> Sequence[LayerIndex]:
        return [stack.enter_context(layers.index(diff_id)) for diff_id in config.diff_ids]

    def bytes_(position: int) -> LayerBytes:
        return stored_bytes(engine, config.chain_ids[position])

    return Subject(
        Documents(name, "store", config, image.references, manifest, _index_of(engine, image), image.manifest, blobs),
        open_,
        bytes_,
    )


def stored_bytes(engine: Engine, chain_id: ChainID) -> LayerBytes:
    """Where the store has a layer's files."""
    from veneer.engine.looking.contents import LayerBytes

    layers = engine.store.layers
    layer = layers.get(chain_id)
    return LayerBytes(os.fspath(layers.directory(layer)), cast("Tar", layers.tar(layer).open))


def _index_of(engine: Engine, image: Image) -> Index | None:
    """The index that one of the image's tags stands for, where all of it is here."""
    from veneer.oci import manifest as oci

    for tag in image.tags:
        target = engine.store.images.target(tag)
        if target is not None:
            document = oci.parse(engine.store.blobs.read(target))
            return document if isinstance(document, oci.Index) else None
    return None


# -- archives ------------------------------------------------------------------------------------------------


def _archived(
    engine: Engine, stack: contextlib.ExitStack, source: Path | BinaryIO, name: str, platform: Platform | None, *,
    contents: bool,
) -> Subject:  # fmt: skip
    from veneer.distribution.archive_plan import plan
    from veneer.distribution.archive_source import archive_apart

    archive = stack.enter_context(archive_apart(source))
    image = chosen(plan(archive, platform).images, name, archive.what)
    config = image.config

    @contextlib.contextmanager
    def stream(position: int) -> Iterator[Source]:
        with archive.open(image.layers[position]) as (content, _):
            yield content

    manifest: Manifest | None = image.manifest
    blobs = manifest.layers if manifest else _tars(archive, image)
    shown = name or (image.references[0].familiar if image.references else config.image_id.short)
    documents = Documents(
        shown, "archive", config, tuple(image.references), manifest, None, manifest.digest if manifest else None, blobs
    )
    doubts: list[str] = []

    def open_() -> Sequence[LayerIndex]:
        found = _indexes(
            engine, stack, config.diff_ids, stream, archive.what, threads=2, doubts=doubts, contents=contents
        )
        for number, (member, blob) in enumerate(zip(image.layers, blobs, strict=True), 1):
            fact = _lacks(archive, member, blob.size if blob is not None else None)
            if fact:  # or reading it would have failed: the store has this layer
                doubts.append(f"{archive.what}: layer {number} is {fact}; it is shown as the store has it")
        return found

    return Subject(
        documents, open_, lambda position: _elsewhere(engine, config.diff_ids[position], stream, position), doubts
    )


def _lacks(archive: Archive, member: str, size: int | None) -> str:
    """What is wrong with a layer of an archive, as far as is known without reading it; "" for nothing."""
    if member not in archive:
        return "not in it"
    with archive.open(member) as (_, actual):
        return f"damaged ({actual} bytes, not {size})" if size is not None and actual != size else ""


def _tars(archive: Archive, image: PlannedImage) -> tuple[Descriptor | None, ...]:
    """The layers of an archive that has no manifest of the image, as a push would begin with them.

    A plain tar is its own blob until it is compressed; None for what is missing, or compressed by nobody knows whom.
    """
    from veneer.changeset.compression import Compression, sniff
    from veneer.oci.digest import BlobDigest
    from veneer.oci.manifest import DOCKER_LAYER, Descriptor

    found: list[Descriptor | None] = []
    for member, diff_id in zip(image.layers, image.config.diff_ids, strict=True):
        blob = None
        if member in archive:
            head = bytearray(16)
            with archive.open(member) as (content, size):
                count = content.readinto(head)
            if sniff(bytes(head[:count])) is Compression.NONE:
                blob = Descriptor(DOCKER_LAYER, BlobDigest(diff_id), size)
        found.append(blob)
    return tuple(found)


def chosen(images: Sequence[PlannedImage], name: str, what: str) -> PlannedImage:
    """The image of an archive that `name` means: a reference or the beginning of an ID; "" is the only one there is.

    Raises WhichImage, NotInThisArchive.
    """
    from veneer.oci.reference import InvalidReference, Reference

    names = [reference.familiar for image in images for reference in image.references]
    hint = f"it has {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}" if names else "its images have no names"
    if not name:
        if len(images) == 1:
            return images[0]
        raise WhichImage(f"{what} holds {len(images)} images: name one", hint=hint)
    try:
        wanted = Reference.parse(name).tagged()
        found = [image for image in images if wanted in image.references]
    except InvalidReference:
        found = []
    prefix = name.removeprefix("sha256:")
    found = found or [image for image in images if prefix and image.config.image_id.hex.startswith(prefix)]
    if not found:
        raise NotInThisArchive(f"{what}: no image {name} in it", hint=hint)
    return found[0]


# -- registries ----------------------------------------------------------------------------------------------


def _remote(engine: Engine, stack: contextlib.ExitStack, name: str, platform: Platform, progress: Progress) -> Subject:
    from veneer.distribution.client import Registries
    from veneer.distribution.streaming import resolve
    from veneer.oci.reference import Reference

    registries = stack.enter_context(Registries(engine.config))
    return from_afar(engine, stack, registries, resolve(registries, Reference.parse(name), platform), name, progress)


def from_afar(
    engine: Engine, stack: contextlib.ExitStack, registries: Registries, image: RemoteImage, name: str,
    progress: Progress = silent, *, beside: Subject | None = None,
) -> Subject:  # fmt: skip
    """An image of a registry whose documents are known; what it has in common with `beside` is read only once."""
    from veneer.distribution.streaming import layer_stream

    config = image.config

    def stream(position: int) -> contextlib.AbstractContextManager[Source]:
        return layer_stream(registries, image, position, progress)

    documents = Documents(
        name, "registry", config, (image.reference,), image.manifest, image.index, image.digest, image.manifest.layers
    )
    threads = engine.config.max_downloads
    doubts: list[str] = []

    def open_() -> Sequence[LayerIndex]:
        known = dict(zip(beside.config.diff_ids, beside.indexes, strict=True)) if beside is not None else {}
        return _indexes(engine, stack, config.diff_ids, stream, name, threads=threads, doubts=doubts, known=known)

    return Subject(
        documents, open_, lambda position: _elsewhere(engine, config.diff_ids[position], stream, position), doubts
    )


# -- layers that are not in the store -------------------------------------------------------------------------


def _elsewhere(engine: Engine, diff_id: DiffID, stream: Stream, position: int) -> LayerBytes:
    """Where the files of an archive's or a registry's layer are: in the store if it has it, else in its stream."""
    from veneer.engine.looking.contents import LayerBytes

    here = engine.store.layers.by_diff_id(diff_id) if os.path.isdir(engine.config.root_name) else []
    return stored_bytes(engine, here[0].chain_id) if here else LayerBytes("", partial(stream, position))


def _indexes(
    engine: Engine, stack: contextlib.ExitStack, diff_ids: Sequence[DiffID], stream: Stream, what: str, *, threads: int,
    doubts: list[str], known: Mapping[DiffID, LayerIndex] | None = None, contents: bool = True,
) -> list[LayerIndex]:  # fmt: skip
    """One index for each layer: the store's where it has one, else read from the layer itself, each layer once.

    Not all `contents` are hashed of streams that can be read again.  What is shown otherwise than it is, `doubts` tell.
    """
    from concurrent.futures import ThreadPoolExecutor

    found: dict[DiffID, LayerIndex] = dict(known or {})
    missing: dict[DiffID, int] = {}
    for position, diff_id in enumerate(diff_ids):
        if diff_id not in found and diff_id not in missing:
            index = _stored(engine, diff_id)
            if index is not None:
                found[diff_id] = stack.enter_context(index)
            else:
                missing[diff_id] = position
    seen: dict[bytes, int] | None = None if contents else {}
    with ThreadPoolExecutor(max(threads, 1), "look") as pool:
        tasks = {
            diff_id: pool.submit(_read, partial(stream, position), diff_id, f"{what}: layer {position + 1}", seen)
            for diff_id, position in missing.items()
        }
        try:
            for diff_id, task in tasks.items():
                index, climbing = task.result()
                found[diff_id] = stack.enter_context(index)
                doubts += _climbers(climbing, f"{what}: layer {missing[diff_id] + 1}")
        except BaseException:
            for task in tasks.values():
                task.cancel()
            raise
    return [found[diff_id] for diff_id in diff_ids]


def _stored(engine: Engine, diff_id: DiffID) -> LayerIndex | None:
    """The store's index of a layer; None without one, or without a store."""
    if not os.path.isdir(engine.config.root_name):
        return None
    layers = engine.store.layers
    return layers.index(diff_id) if layers.by_diff_id(diff_id) else None


def _read(
    stream: Callable[[], contextlib.AbstractContextManager[Source]], diff_id: DiffID, what: str,
    seen: dict[bytes, int] | None,
) -> tuple[LayerIndex, list[bytes]]:  # fmt: skip
    from veneer.changeset.reading import LOOKED_AT, read_index
    from veneer.changeset.unread import Unread, UnreadIndex

    out, unread = io.BytesIO(), Unread(seen) if seen is not None else None
    climbing: list[bytes] = []
    with stream() as source:
        actual = read_index(source, out, limits=LOOKED_AT, what=what, ahead=True, unread=unread, climbing=climbing)
    if actual != diff_id:
        raise OtherLayer(f"{what}: expected diff ID {diff_id}, got {actual}")
    if unread is None or not unread.members:
        return LayerIndex.from_bytes(out.getbuffer()), climbing
    return UnreadIndex(out.getbuffer(), unread, stream, LOOKED_AT, what), climbing


def _climbers(names: Sequence[bytes], what: str) -> Iterator[str]:
    """Names with `..`, in words: each as it stands in the layer, and where it is shown."""
    from veneer.changeset.reading import MOST_CLIMBERS
    from veneer.changeset.safepath import rooted
    from veneer.changeset.tar import shown

    for name in names[:MOST_CLIMBERS]:
        yield f"{what}: {shown(name)!r} is shown as /{shown(rooted(name))}; load refuses such a name"
    if len(names) > MOST_CLIMBERS:
        yield f"{what}: {len(names) - MOST_CLIMBERS} more names with '..'"
