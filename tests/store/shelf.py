"""An image store with real blobs whose layers are only rows: for what does not look into layers."""

from __future__ import annotations

import contextlib
import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from veneer.oci.digest import BlobDigest, ChainID, DiffID, Digest, ImageID, chain_ids
from veneer.oci.manifest import OCI_INDEX, OCI_MANIFEST, Descriptor, Index
from veneer.oci.reference import Reference
from veneer.store.blobs import BlobStore
from veneer.store.catalog import Catalog
from veneer.store.images import Image, ImageStore
from veneer.store.layout import Layout
from veneer.store.leases import Lease, leased

if TYPE_CHECKING:
    from veneer.store.store import Store


def ref(text: str) -> Reference:
    return Reference.parse(text)


def diff_id(name: str) -> DiffID:
    return DiffID(Digest.of(name.encode()))


class Shelf:
    """`image()` makes an image; equal layer names are one layer, as far as what is below them is equal too."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "ingest").mkdir(parents=True, exist_ok=True)
        self.catalog = Catalog(root / "state.db", root / "locks")
        self.blobs = BlobStore(root, self.catalog, sync=False)
        self.layout = Layout(root, self.catalog, root / "locks")
        self.images = ImageStore(self.catalog, self.blobs, self.layout)
        self.clock = 1_700_000_000
        self.collections = 0

    @contextlib.contextmanager
    def lease(self) -> Iterator[Lease]:
        with leased(self.root, self.catalog, "test") as lease:
            yield lease

    def layers(self, lease: Lease, names: Sequence[str], sizes: Mapping[str, int] | None = None) -> list[ChainID]:
        """Make the layers `names`, base first; a layer's blob unpacks to its name."""
        ids = [diff_id(name) for name in names]
        chain = chain_ids(ids)
        below: ChainID | None = None
        for name, one, top in zip(names, ids, chain, strict=True):
            blob = self.blobs.put(lease, gzip.compress(name.encode(), mtime=0))
            with self.catalog.transaction(durable=False) as connection:
                connection.execute("INSERT OR IGNORE INTO blob_diff VALUES (?, ?, '', '')", (one, blob))
                snapshot = Digest.of(top.encode()).hex[:32]
                size = (sizes or {}).get(name, len(name))
                connection.execute(
                    "INSERT OR IGNORE INTO snapshot (id, driver, diff_id, size, tar_size, entries, standalone, durable,"
                    " created) VALUES (?, 'vfs', ?, ?, 0, 0, 0, 1, 0)",
                    (snapshot, one, size),
                )
                connection.execute("INSERT OR IGNORE INTO layer VALUES (?, ?, ?, ?, 0)", (top, one, below, snapshot))
            below = top
        return chain

    def config(
        self,
        layers: Sequence[str] = (),
        *,
        labels: Mapping[str, str] | None = None,
        created: str | None = "2023-11-14T22:13:20Z",
        **keys: Any,
    ) -> bytes:
        document: dict[str, Any] = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Labels": dict(labels)} if labels is not None else {},
            "rootfs": {"type": "layers", "diff_ids": [str(diff_id(name)) for name in layers]},
            "history": [{"created_by": f"ADD {name}"} for name in layers],
            **keys,
        }
        if created is not None:
            document["created"] = created
        return json.dumps(document).encode()

    def image(
        self,
        *layers: str,
        tags: Sequence[str] = (),
        digests: Sequence[str] = (),
        parent: Image | ImageID | None = None,
        sizes: Mapping[str, int] | None = None,
        labels: Mapping[str, str] | None = None,
        created: int | None = None,
        **keys: Any,
    ) -> Image:
        """One image, each a second newer than the one before."""
        import datetime

        self.clock += 1
        moment = datetime.datetime.fromtimestamp(self.clock if created is None else created, datetime.UTC)
        config = self.config(layers, labels=labels, created=moment.strftime("%Y-%m-%dT%H:%M:%SZ"), **keys)
        with self.lease() as lease:
            self.layers(lease, layers, sizes)
            made = self.images.add(lease, config, parent=parent.id if isinstance(parent, Image) else parent)
        for name in tags:
            self.images.tag(made.id, ref(name))
        for name in digests:
            self.images.add_digest(made.id, ref(name))
        return self.images.get(made.id)

    def put(self, data: bytes) -> BlobDigest:
        with self.lease() as lease:
            return self.blobs.put(lease, data)

    def index(self, *images: Image) -> Index:
        """A stored index of these images, each with its platform."""
        children = [
            Descriptor(OCI_MANIFEST, one.manifest, self.blobs.size(one.manifest), one.platform) for one in images
        ]
        made = Index.build(OCI_INDEX, tuple(children))
        self.put(made.raw)
        return made

    @property
    def store(self) -> Store:
        """This, as far as the modules about images know a store."""
        return cast("Store", self)

    def collect(self, *, extent: object = None) -> None:
        self.collections += 1

    def close(self) -> None:
        self.catalog.close()
