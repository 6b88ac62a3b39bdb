"""The layers of one image on their way in: several downloads at a time, unpacked while they arrive."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from veneer.distribution.blobs import Opener, download, registry_source
from veneer.distribution.client import Registries, Registry, WrongDigest
from veneer.distribution.crew import Crew
from veneer.distribution.retry import check
from veneer.oci.digest import BlobDigest
from veneer.oci.manifest import Descriptor
from veneer.progress import Progress, Report

if TYPE_CHECKING:
    from veneer.store.blob_writer import BlobWriter
    from veneer.store.intake import LayerIntake
    from veneer.store.leases import Lease
    from veneer.store.store import Store

    Feed = Callable[[BlobWriter | BlobDigest], None]


class LayerDownloads:
    """Brings blobs from `sources` (mirrors first, the registry itself last) into the store, several at a time."""

    def __init__(
        self,
        store: Store,
        registries: Registries,
        lease: Lease,
        sources: Sequence[Registry],
        repository: str,
        progress: Progress,
    ) -> None:
        self._store, self._registries, self._lease = store, registries, lease
        self._sources, self._repository, self._progress = sources, repository, progress
        self._effort = registries.effort
        self._host = sources[-1].host
        self._turns = threading.Semaphore(registries.config.max_downloads)

    def take_layers(
        self, layers: Sequence[Descriptor], intake: LayerIntake, beside: Callable[[], None] | None = None
    ) -> None:
        """Feed every layer that `intake` misses and wait until each is unpacked and verified, base first.

        `beside` is done meanwhile, once a download thread has nothing else to begin with.
        Raises the first thing that went wrong; everything else is stopped then.
        """
        missing = set(intake.missing)
        told: set[str] = set()
        for position, layer in enumerate(layers):
            status = "Pulling fs layer" if position in missing else "Already exists"
            if layer.digest not in told:
                self._tell(layer, status)
                told.add(layer.digest)

        def bring(position: int) -> Callable[[], None]:
            layer = layers[position]
            return lambda: self._bring(layer, lambda blob: intake.feed(position, blob, layer.media_type))

        work: dict[int, Callable[[], None]] = {position: bring(position) for position in self._order(layers, intake)}
        for position, layer in enumerate(layers):
            # A row without its file: the layer is here, but the blob must be had again to be pushed or saved.
            known = position not in missing and layer.digest in self._store.blobs
            if known and not self._store.blobs.acquire(self._lease, layer.digest):
                work[position] = partial(self._bring, layer, None)
        if beside is not None:
            work[len(layers)] = beside

        def unpacked(position: int) -> None:
            if position in missing:
                size = layers[position].size
                self._progress(Report(layers[position].digest.short, "Extracting", size, size))
                intake.wait(position)
                self._tell(layers[position], "Pull complete")

        self._crew().run(work, unpacked)

    def take_blobs(self, descriptors: Sequence[Descriptor]) -> None:
        """Store blobs as they are, without unpacking them."""
        wanted = {descriptor.digest: descriptor for descriptor in descriptors}
        work: dict[int, Callable[[], None]] = {}
        for position, descriptor in enumerate(wanted.values()):
            if not self._store.blobs.acquire(self._lease, descriptor.digest):
                self._tell(descriptor, "Pulling fs layer")
                work[position] = partial(self._bring, descriptor, None)
        self._crew().run(work)

    def _crew(self) -> Crew:
        # As many download at a time as the configuration says; as many again may wait for their blob to be on the disk.
        return Crew(self._registries, 2 * self._registries.config.max_downloads, "download")

    def _order(self, layers: Sequence[Descriptor], intake: LayerIntake) -> list[int]:
        """Which to begin with: the biggest where layers may be unpacked in any order, for they take longest."""
        missing = intake.missing
        if missing and intake.driver.any_order:
            return sorted(missing, key=lambda position: (-layers[position].size, position))
        return sorted(missing)

    # -- one blob ---------------------------------------------------------------------------------------------

    def _bring(self, layer: Descriptor, feed: Feed | None) -> None:
        """Have the blob in the store, and `feed` it while it comes."""
        if self._store.blobs.acquire(self._lease, layer.digest):
            self._tell(layer, "Download complete")
            if feed is not None:
                feed(layer.digest)
            return
        from veneer.store.blob_writer import BlobMismatch

        try:
            self._download(layer, feed)
        except BlobMismatch:
            # Something on the way changed a bit, or an earlier, interrupted download did: once more from the start.
            check(self._effort.stop)
            self._tell(layer, "Download failed verification, trying once more")
            try:
                self._download(layer, feed, origin_first=True)
            except BlobMismatch as error:
                hosts = " and ".join(registry.host for registry in self._sources)
                raise WrongDigest(f"{hosts}: {error.message}", hint="twice the same: ask who runs it") from error
        self._tell(layer, "Download complete")

    def _download(self, layer: Descriptor, feed: Feed | None, *, origin_first: bool = False) -> None:
        # A mirror may be what changed the bytes.
        sources = self._sources[::-1] if origin_first else self._sources
        with self._store.blobs.writer(
            self._lease, expect=layer.digest, size=layer.size, waiting=lambda: self._wait_for_other(layer)
        ) as writer:
            with self._turns:
                check(self._effort.stop)
                if feed is not None:
                    feed(writer)
                if not writer.complete:
                    self._fill(layer, writer, sources)
                    self._tell(layer, "Verifying Checksum")
            writer.commit()

    def _fill(self, layer: Descriptor, writer: BlobWriter, sources: Sequence[Registry]) -> None:
        short, size = layer.digest.short, layer.size

        def report(have: int) -> None:
            self._progress(Report(short, "Downloading", have, size))

        download(self._places(layer, sources), layer, writer, self._effort, report)

    def _places(self, layer: Descriptor, sources: Sequence[Registry]) -> list[tuple[str, Opener]]:
        # What a vendor serves itself is asked for there first, and nobody's credentials go along.
        foreign = [(url.partition("?")[0], partial(self._registries.open_url, url, self._host)) for url in layer.urls]
        return [*foreign, *(registry_source(registry, self._repository, layer) for registry in sources)]

    def _wait_for_other(self, layer: Descriptor) -> None:
        check(self._effort.stop)
        self._tell(layer, "Waiting")

    def _tell(self, layer: Descriptor, status: str) -> None:
        self._progress(Report(layer.digest.short, status))
