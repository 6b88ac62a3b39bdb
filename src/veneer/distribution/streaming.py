"""An image in a registry, looked at from afar: its documents, and its layers as they arrive, without storing any.

Of a layer only the bytes of its index stay; the download goes through a pipe to whoever reads it, with the retries and
the proof of digest and size that a pull has.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import select
import threading
from collections.abc import Iterator
from functools import partial

from veneer.changeset.compression import Source
from veneer.changeset.growing import Aborted
from veneer.distribution.blobs import Opener, download, registry_source
from veneer.distribution.client import Registries, Registry, WrongDigest
from veneer.distribution.pull import MAX_DEPTH, NotAnImage
from veneer.errors import Corrupt, VeneerError
from veneer.oci.image import ImageConfig
from veneer.oci.manifest import Descriptor, Index, InvalidManifest, Manifest, parse
from veneer.oci.platform import Platform
from veneer.oci.reference import Reference
from veneer.progress import Progress, Report
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.oci.digest import BlobDigest


_PIPE = 1 << 20
"""Bytes of a layer that may be under way to its reader."""


class RemoteImage(Value):
    """An image as a registry has it: what its name resolved to, the index on the way there if any, its documents."""

    __slots__ = ()
    registry: Registry
    reference: Reference
    digest: BlobDigest
    index: Index | None
    manifest: Manifest
    config: ImageConfig


def resolve(registries: Registries, reference: Reference, platform: Platform) -> RemoteImage:
    """The image that `reference` means for `platform`; two or three small requests.

    Raises NotInRegistry, AccessDenied, AuthenticationRequired, NoMatchingPlatform, NotAnImage, InvalidManifest,
    Corrupt, Unavailable.
    """
    reference = reference.tagged()
    registry, descriptor = _resolved(registries, reference)
    index: Index | None = None
    wanted = descriptor
    for _ in range(MAX_DEPTH + 1):
        raw, media_type = registry.manifest(reference.repository, str(wanted.digest))
        document = parse(raw, media_type, f"{reference.familiar_name}@{wanted.digest}")
        if isinstance(document, Manifest):
            break
        index = index or document
        wanted = document.choose(platform)
    else:
        raise InvalidManifest(f"{reference.familiar}: more than {MAX_DEPTH} indexes within each other")
    if document.is_artifact:
        raise NotAnImage(f"{reference.familiar} is not a container image but an artifact")
    config = ImageConfig.parse(
        registry.blob(reference.repository, document.config), f"image config {document.config.digest}"
    )
    if len(document.layers) != len(config.diff_ids):
        raise InvalidManifest(
            f"{reference.familiar}: manifest {document.digest} has {len(document.layers)} layers, "
            f"its config {len(config.diff_ids)} diff IDs"
        )
    return RemoteImage(registry, reference, descriptor.digest, index, document, config)


def _resolved(registries: Registries, reference: Reference) -> tuple[Registry, Descriptor]:
    """Who has it, by the first source that knows."""
    for registry in registries.sources(reference.registry):
        try:
            return registry, registry.resolve(reference)
        except VeneerError:
            if not registry.mirror:
                raise
    raise AssertionError("the registry itself comes last and raises")


class _Pipe:
    """The writing end of a pipe as a sink for a download."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.offset = 0
        self.digest = hashlib.sha256()

    def write(self, data: bytes | bytearray | memoryview, /) -> None:
        view = memoryview(data)
        self.digest.update(view)
        self.offset += len(view)
        while view:
            view = view[os.write(self._fd, view) :]


class _Reader:
    """The reading end, as a source that a thread may read ahead from."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._interrupt_fd = os.eventfd(0, os.EFD_CLOEXEC)
        self._waiting = select.poll()
        for each in (fd, self._interrupt_fd):
            self._waiting.register(each, select.POLLIN)

    def readinto(self, buffer: memoryview | bytearray, /) -> int:
        if any(fd == self._interrupt_fd for fd, _ in self._waiting.poll()):
            raise Aborted("reading was given up")
        return os.readv(self._fd, [buffer])

    def interrupt(self) -> None:
        """Have a `readinto` of another thread that waits for more, and every later one, raise Aborted."""
        os.eventfd_write(self._interrupt_fd, 1)

    def close(self) -> None:
        os.close(self._fd)
        os.close(self._interrupt_fd)


@contextlib.contextmanager
def layer_stream(registries: Registries, image: RemoteImage, position: int, progress: Progress) -> Iterator[Source]:
    """The bytes of a layer (the base is 0) while they are downloaded; read it to its end.

    Leaving the `with` raises what went wrong with the download (WrongDigest for other bytes than were promised), rather
    than what the reader made of it.
    """
    layer = image.manifest.layers[position]
    reading, writing = os.pipe()
    with contextlib.suppress(OSError):  # more than a user may have
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PIPE)
    failure: list[BaseException] = []

    def bring() -> None:
        pipe = _Pipe(writing)
        try:
            download(_places(registries, image, layer), layer, pipe, registries.effort,
                     lambda have: progress(Report(layer.digest.short, "Downloading", have, layer.size)))  # fmt: skip
            if layer.digest.algorithm == "sha256" and pipe.digest.hexdigest() != layer.digest.hex:
                raise WrongDigest(
                    f"{image.registry.host}: blob {layer.digest}: wrong bytes: got sha256:{pipe.digest.hexdigest()}",
                    hint="try again; if it stays, ask who runs it",
                )
        except BrokenPipeError:
            pass  # the reader has given up and says why
        except BaseException as error:  # noqa: BLE001  it is raised again in the reader's thread
            failure.append(error)
        finally:
            os.close(writing)

    thread = threading.Thread(target=bring, name="layer", daemon=True)
    thread.start()
    reader = _Reader(reading)
    try:
        yield reader
    except BaseException as error:
        reader.close()
        registries.stop()
        thread.join()
        if failure and isinstance(error, Corrupt):
            raise failure[0] from None  # a download that broke off is why the reader met an end
        raise
    reader.close()
    thread.join()
    if failure:
        raise failure[0]


def _places(registries: Registries, image: RemoteImage, layer: Descriptor) -> list[tuple[str, Opener]]:
    host = image.reference.registry
    sources = [image.registry, registries.registry(host)] if image.registry.mirror else [image.registry]
    foreign = [(url.partition("?")[0], partial(registries.open_url, url, host)) for url in layer.urls]
    return [*foreign, *(registry_source(source, image.reference.repository, layer) for source in sources)]
