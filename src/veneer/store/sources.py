"""Where blobs are known to be, so that a push to a registry mounts what is there instead of sending it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from veneer.oci.digest import BlobDigest

if TYPE_CHECKING:
    from veneer.store.catalog import Catalog

KEPT_PER_REGISTRY = 5


def note(catalog: Catalog, digests: Iterable[BlobDigest], registry: str, repository: str) -> None:
    """Remember that `registry` has these blobs in `repository`; digests of blobs that are not here are left out."""
    now = time.time()
    with catalog.transaction(durable=False) as transaction:
        for digest in digests:
            transaction.execute(
                "INSERT INTO blob_source SELECT digest, ?, ?, ? FROM blob WHERE digest = ?"
                " ON CONFLICT DO UPDATE SET seen = excluded.seen",
                (registry, repository, now, digest),
            )
            transaction.execute(
                "DELETE FROM blob_source WHERE blob = ? AND registry = ? AND repository NOT IN"
                " (SELECT repository FROM blob_source WHERE blob = ? AND registry = ? ORDER BY seen DESC LIMIT ?)",
                (digest, registry, digest, registry, KEPT_PER_REGISTRY),
            )


def known(catalog: Catalog, digest: BlobDigest, registry: str) -> list[str]:
    """The repositories of `registry` that had the blob, the latest first."""
    rows = catalog.rows(
        "SELECT repository FROM blob_source WHERE blob = ? AND registry = ? ORDER BY seen DESC, repository",
        (digest, registry),
    )
    return [row[0] for row in rows]
