"""One layer's place in an intake, and what is to be known about it."""

from __future__ import annotations

import os
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from veneer.drivers.driver import SnapshotID
from veneer.oci.digest import BlobDigest, ChainID, DiffID

if TYPE_CHECKING:
    from veneer.changeset.unpack import Unpacked
    from veneer.store.blob_writer import BlobWriter


@dataclass(slots=True)
class Slot:
    """One layer's place in the image.

    here: its layer is in the store.  shared: an unpacked snapshot of the same content will do.  twin: the position
    of an earlier layer of this image with the same content.
    """

    position: int
    diff_id: DiffID
    chain_id: ChainID
    snapshot: SnapshotID
    here: bool = False
    shared: bool = False
    twin: int | None = None
    blob: BlobWriter | BlobDigest | None = None
    media_type: str = ""
    blob_fd: int = -1
    wake_fd: int = -1
    index: Path | None = None
    future: Future[Unpacked] | None = None
    unpacked: Unpacked | None = None

    def close(self) -> None:
        for fd in (self.blob_fd, self.wake_fd):
            if fd >= 0:
                os.close(fd)
        self.blob_fd = self.wake_fd = -1


def is_settled(unpacked: Unpacked) -> bool:
    """Whether the layer's directory is right as it was unpacked, and so the same on whatever layers."""
    return not (unpacked.implied or unpacked.lower_links or unpacked.whited_out)


def media_type_of(blob_fd: int) -> str:
    """What a layer blob is, by its first bytes, for one that came without a descriptor."""
    from veneer.changeset.compression import sniff
    from veneer.oci.manifest import OCI_LAYER

    return OCI_LAYER + sniff(os.pread(blob_fd, 16, 0)).suffix


def allow_files(count: int) -> None:
    """Let this process have `count` more files open, as far as the hard limit goes."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 256
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
