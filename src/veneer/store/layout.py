"""The data root's `index.json`, which makes it an OCI image layout that other tools read in place.

It is derived from the catalogue and written anew when names change: every tag whose blobs are all here,
under its familiar name (`skopeo inspect oci:ROOT:nginx:latest`).  Source: OCI image-spec image-layout.md.
"""

from __future__ import annotations

import contextlib
import os

from veneer.store.durability import file_errors, sync_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from veneer.store.catalog import Catalog

_OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_OCI_INDEX = "application/vnd.oci.image.index.v1+json"
# What a name may stand for: what it came as, the image's own manifest, and that one's OCI twin if it is Docker's.
_TAGS = f"""
    SELECT tag.name, tag.repository, image.os, image.architecture, image.variant, image.os_version,
           target.digest, target.size, target.media_type, own.digest, own.size, own.media_type,
           twin.digest, twin.size, twin.media_type
    FROM tag JOIN image ON image.id = tag.image JOIN blob AS own ON own.digest = image.manifest
    LEFT JOIN blob AS target ON target.digest = tag.target
    LEFT JOIN blob AS twin ON own.media_type <> '{_OCI_MANIFEST}' AND twin.digest = (
        SELECT child FROM blob_ref JOIN blob ON blob.digest = blob_ref.child
        WHERE blob_ref.blob = own.digest AND blob.media_type = '{_OCI_MANIFEST}')
    ORDER BY tag.name
"""
# Manifests and indexes that need something, or need a manifest that needs something, that is not here.
_INCOMPLETE = """
    WITH RECURSIVE incomplete(digest) AS (
        SELECT blob_ref.blob FROM blob_ref LEFT JOIN blob ON blob.digest = blob_ref.child WHERE blob.digest IS NULL
        UNION SELECT blob_ref.blob FROM incomplete JOIN blob_ref ON blob_ref.child = incomplete.digest
    )
    SELECT digest FROM incomplete
"""


class Layout:
    """`index.json` of the store at `root`."""

    def __init__(self, root: str | os.PathLike[str], catalog: Catalog, lock_file: str | os.PathLike[str]) -> None:
        self._root = os.fspath(root)
        self._catalog = catalog
        self._lock_file = lock_file
        self._held = 0

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Many names change in this `with`: bring the file up to date once, at its end."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
            self.refresh()

    def render(self) -> bytes:
        """What `index.json` has to say now; the same catalogue gives the same bytes."""
        import json

        from veneer.oci.manifest import OCI_INDEX

        with self._catalog.reading():
            missing_some = incomplete(self._catalog)
            rows = self._catalog.rows(_TAGS)
        manifests = [entry for row in rows if (entry := _entry(row, missing_some)) is not None]
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}
        return json.dumps(document, separators=(",", ":")).encode()

    def refresh(self) -> bool:
        """Bring it up to date; returns whether it changed.  Call it after the transaction, never inside one.

        The catalogue is read under the lock that is held while writing, so that of two processes neither can put
        an old state over a new one.
        """
        if self._held:
            return False
        with self._locked():
            content = self.render()
            if self._read() == content:
                return False
            self._write(content)
            return True

    def is_current(self) -> bool:
        """Whether it says what the catalogue says; a crash right after a commit may leave it behind."""
        with self._locked():
            return self._read() == self.render()

    def _locked(self) -> contextlib.AbstractContextManager[object]:
        from veneer.store.locks import locked

        return locked(self._lock_file, ["index.json"])

    def _read(self) -> bytes | None:
        try:
            with open(f"{self._root}/index.json", "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def _write(self, content: bytes) -> None:
        # No random name: whoever was killed while writing held the lock, so the next one takes its file over.
        draft = f"{self._root}/.index.json.new"
        with file_errors(self._root):
            fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
            with open(fd, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(fd)
            os.replace(draft, f"{self._root}/index.json")
            sync_directory(self._root)


def incomplete(catalog: Catalog) -> frozenset[str]:
    """The manifests and indexes of which something is not in the store."""
    return frozenset(row[0] for row in catalog.rows(_INCOMPLETE))


def _entry(row: tuple[Any, ...], incomplete: frozenset[str]) -> dict[str, Any] | None:
    from veneer.oci.manifest import ANNOTATION_IMAGE_NAME, ANNOTATION_REF_NAME, INDEX_TYPES

    name, repository, *platform = row[:6]
    candidates = [
        each for each in (row[6:9], row[9:12], row[12:15]) if each[0] is not None and each[0] not in incomplete
    ]
    # Readers of layouts know OCI's media types; Docker's stand in only where there is nothing else.
    candidates.sort(key=lambda each: each[2] not in (_OCI_MANIFEST, _OCI_INDEX))
    if not candidates:
        return None
    manifest, size, media_type = candidates[0]
    entry: dict[str, Any] = {"mediaType": media_type, "digest": manifest, "size": size}
    if media_type not in INDEX_TYPES:
        keys = ("os", "architecture", "variant", "os.version")
        entry["platform"] = {key: value for key, value in zip(keys, platform, strict=True) if value}
    entry["annotations"] = {ANNOTATION_IMAGE_NAME: name, ANNOTATION_REF_NAME: _familiar(name, repository)}
    return entry


def _familiar(name: str, repository: str) -> str:
    from veneer.store.image import reference_of

    return reference_of(name, repository).familiar
