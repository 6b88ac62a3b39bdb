"""Caches for elsewhere: `--cache-to`.

A cache is the image itself: its history and layers are all that imported.py asks for.  `mode=max` has the image of
every stage, as an index of several; `mode=min` the result alone.  `inline` is what every image is already.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from veneer.build.events import OutputProgress, Warned
from veneer.errors import Conflict, VeneerError

if TYPE_CHECKING:
    from veneer.build.events import Listener
    from veneer.build.request import CacheSpec
    from veneer.oci.digest import BlobDigest
    from veneer.progress import Progress, Report
    from veneer.store.image import Image
    from veneer.store.leases import Lease
    from veneer.store.store import Store


class NotACache(Conflict):
    """Something else stands where a cache is to be written."""


def export(
    store: Store, lease: Lease, spec: CacheSpec, results: Sequence[Image], stages: Sequence[Image], tell: Listener
) -> None:
    """Write one cache; `results` are what was built, by platform, `stages` what every stage came to.

    Raises NotACache and what pushing or writing does; with `ignore-error` that is only told.
    """
    if spec.type == "inline":
        return
    options = dict(spec.options)

    def progress(report: Report) -> None:
        tell(OutputProgress(time.time(), "cache", report))

    images = dict.fromkeys((*results, *stages) if options.get("mode") == "max" else results)
    try:
        if spec.type == "local":
            _to_directory(store, list(images), Path(options["dest"]), progress)
        else:
            _to_registry(store, lease, list(images), options["ref"], options.get("compression", ""), progress)
    except VeneerError as error:
        if options.get("ignore-error", "").lower() not in ("1", "true"):
            raise
        tell(Warned(time.time(), "", f"the cache was not written: {error.message}"))


def _to_directory(store: Store, images: Sequence[Image], folder: Path, progress: Progress) -> None:
    """An OCI layout in place of the one that is there."""
    from veneer.distribution.archive_save import save

    folder = folder.absolute()
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "oci-layout").is_file():
        raise NotACache(f"{folder} holds something else than a cache", hint="name a directory that is not there yet")
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh, old = (folder.with_name(f".{folder.name}.{word}-{os.getpid()}") for word in ("new", "old"))
    try:
        save(store, [str(image.id) for image in images], fresh, format="oci-dir", progress=progress)
        if folder.exists():
            folder.rename(old)
        try:
            fresh.rename(folder)
        except OSError:
            if old.exists():
                old.rename(folder)
            raise
    finally:
        for left in (fresh, old):
            shutil.rmtree(left, ignore_errors=True)


def _to_registry(
    store: Store, lease: Lease, images: Sequence[Image], name: str, compression: str, progress: Progress
) -> None:
    from veneer.distribution.client import Registries
    from veneer.distribution.push import push
    from veneer.oci.reference import Reference

    index: BlobDigest | None = None
    if len(images) > 1:
        from veneer.build.results import index_over, manifest_over

        entries = [
            manifest_over(store, lease, image, compression).descriptor.replaced(platform=image.platform)
            for image in images
        ]
        index = index_over(store, lease, entries).digest
    with Registries(store.config) as registries:
        reference = Reference.parse(name).tagged()
        push(store, registries, reference, compression=compression, progress=progress, image=images[0], index=index)
