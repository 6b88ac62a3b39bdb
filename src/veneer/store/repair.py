"""What a check found damaged is made whole, as far as the store itself has what that takes.

A layer's files are unpacked anew from its blob, or from the tar that whole files of it elsewhere give; they come to
lie in a new directory, and whatever still uses the old one keeps it so long.  What containers have written is not
touched.  A blob with other bytes than its name says is taken away, so that whoever has it can bring it again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from veneer.drivers.driver import SnapshotID
from veneer.errors import VeneerError
from veneer.oci.digest import BlobDigest, ChainID, DiffID, Digest
from veneer.store import damage, indexes
from veneer.store.durability import crashpoint
from veneer.store.gc import Extent
from veneer.values import Value

if TYPE_CHECKING:
    from veneer.store.check import Finding
    from veneer.store.layers import Layer
    from veneer.store.leases import Lease
    from veneer.store.store import Store

_ANEW = "made anew"
_AGAIN = "build, pull or load the image again"
_OLD_IN_USE = "; what uses it now has the old files until it is started again"
_BY_HAND = {
    "blob-missing": _AGAIN,
    "layer-lost": _AGAIN,
    "migration-cut-off": "veneer system migrate goes on with it",
    "container-missing": "its settings are here, its files are not: remove it",
    "volume-missing": "its files are gone: remove it, or make the directory again",
}
_STACKS = """
    WITH RECURSIVE above (chain_id) AS (
        SELECT chain_id FROM layer WHERE snapshot = ?1
        UNION SELECT layer.chain_id FROM above JOIN layer ON layer.parent = above.chain_id)
    SELECT layer.snapshot, layer.diff_id FROM above JOIN layer USING (chain_id)"""


class Repaired(Value):
    """What became of a finding: `done`, and in words how, or what is to be done."""

    __slots__ = ()
    finding: Finding
    done: bool
    how: str


def repair(store: Store, findings: Sequence[Finding]) -> list[Repaired]:
    """Repair what can be, of what `check` has just found; one answer for each finding, in their order.

    May be cut off at any moment and done again.
    """
    work = _Repair(store)
    answers: dict[tuple[str, str], tuple[bool, str]] = {}
    # Blobs first: layers are made of them.
    for finding in sorted(findings, key=lambda each: not each.code.startswith("blob-")):
        what = (finding.code, finding.subject)
        if what not in answers:
            answers[what] = work.one(finding)
    store.collect(extent=Extent.ALIENS)
    for snapshot in work.replaced:
        if store.catalog.row("SELECT 1 FROM snapshot WHERE id = ?", (snapshot,)):
            for what in (("snapshot-missing", snapshot), ("snapshot-differs", snapshot)):
                if what in answers:
                    answers[what] = (True, answers[what][1] + _OLD_IN_USE)
    return [Repaired(each, *answers[each.code, each.subject]) for each in findings]


class _Repair:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._layers = store.layers
        self.replaced: list[str] = []

    def one(self, finding: Finding) -> tuple[bool, str]:
        try:
            return self._one(finding)
        except VeneerError as error:
            return False, f"{error.message}" + (f" ({error.hint})" if error.hint else "")

    def _one(self, finding: Finding) -> tuple[bool, str]:
        code, subject = finding.code, finding.subject
        if code in ("blob-size", "blob-digest"):
            self._take_away(BlobDigest(Digest(subject)))
            return False, f"taken away; {_AGAIN}"
        if code in ("snapshot-missing", "snapshot-differs", "snapshot-untrusted"):
            return self._files(SnapshotID(subject), missing=code == "snapshot-missing")
        if code in ("index-missing", "index-damaged"):
            indexes.rebuild(self._layers, DiffID(Digest(subject)))
            return True, _ANEW
        if code == "index-json":
            self._store.images.layout.refresh()
            return True, _ANEW
        if code.startswith("stray-"):
            return True, "removed"
        return False, _BY_HAND.get(code, "nothing that veneer could do")

    def _take_away(self, digest: BlobDigest) -> None:
        path = self._store.blobs.path(digest)
        with contextlib.suppress(FileNotFoundError):
            if not self._store.blobs.is_intact(digest, self._store.blobs.size(digest)):
                path.rename(self._store.root / "trash" / f"damaged-{digest.hex}")

    # ---- files

    def _files(self, snapshot: SnapshotID, *, missing: bool) -> tuple[bool, str]:
        row = self._store.catalog.row("SELECT driver, diff_id, boot_id FROM snapshot WHERE id = ?", (snapshot,))
        if row is None:
            return self._container(snapshot)
        driver, diff_id = row[0], DiffID(Digest(row[1]))
        with self._store.lease("repair") as lease:
            doubtful = dict(self._shown_too(snapshot, driver, diff_id))
            can = {each: self._can_be_had(lease, of, doubtful) for each, of in doubtful.items()}
            with self._store.catalog.transaction() as transaction:
                for each, had in can.items():
                    if had or each == snapshot:
                        # What is not there cannot be served either.
                        damage.mark(transaction, each, served=not had and not missing)
            crashpoint("damage-marked")
            if not can[snapshot]:
                return False, f"no whole blob of it is here; {_AGAIN}"
            for each in doubtful:  # the damaged one first
                if can[each]:
                    self._anew(each, driver)
                    self.replaced.append(each)
        return True, _ANEW

    def _shown_too(self, snapshot: SnapshotID, driver: str, diff_id: DiffID) -> Iterator[tuple[SnapshotID, DiffID]]:
        """The snapshot, and what may have copies of its files."""
        yield snapshot, diff_id
        if not self._store.driver_named(driver).any_order:
            for above, of in self._store.catalog.rows(_STACKS, (snapshot,)):
                yield SnapshotID(above), DiffID(Digest(of))

    def _can_be_had(self, lease: Lease, diff_id: DiffID, damaged: dict[SnapshotID, DiffID]) -> bool:
        """Whether a whole blob of a layer is here, which is kept from now on; made of whole files if there is none."""
        blobs = self._store.blobs
        for blob in self._layers.blobs(diff_id):
            if blobs.acquire(lease, blob.digest):
                if blobs.is_intact(blob.digest, blob.size):
                    return True
                self._take_away(blob.digest)
        return any(self._packed(lease, layer) for layer in self._elsewhere(diff_id) if layer.snapshot not in damaged)

    def _elsewhere(self, diff_id: DiffID) -> list[Layer]:
        from veneer.store.copies import copies_of

        doubtful = self._layers.untrusted()
        found = [*self._layers.by_diff_id(diff_id), *copies_of(self._layers, diff_id)]
        return [each for each in found if each.snapshot not in doubtful and self._layers.directory(each).is_dir()]

    def _packed(self, lease: Lease, layer: Layer) -> bool:
        """Have the layer's tar be a blob; whether that is what its files give."""
        from veneer.oci.manifest import OCI_LAYER, Descriptor
        from veneer.store.packing import write_tar

        digest = BlobDigest(Digest(layer.diff_id))
        try:
            with self._store.blobs.writer(lease, expect=digest) as writer:
                if not writer.complete:
                    writer.restart()
                    write_tar(self._layers, layer, writer)
                writer.commit()
        except (VeneerError, FileNotFoundError):
            return False
        made = Descriptor(OCI_LAYER, digest, self._store.blobs.size(digest))
        self._layers.record_blob(lease, layer.diff_id, made, "tar")
        return True

    def _anew(self, snapshot: SnapshotID, driver: str) -> None:
        """Have all layers made anew that had these files."""
        served: list[Any] = self._store.catalog.rows("SELECT chain_id FROM layer WHERE snapshot = ?", (snapshot,))
        for (chain_id,) in served:
            self._layers.ensure(ChainID(Digest(chain_id)))
        copies: list[Any] = self._store.catalog.rows("SELECT chain_id FROM layer_copy WHERE snapshot = ?", (snapshot,))
        for (chain_id,) in copies:
            self._layers.ensure(ChainID(Digest(chain_id)), driver)

    # ---- containers

    def _container(self, snapshot: SnapshotID) -> tuple[bool, str]:
        """What lies between a container and its image can be made anew; what it has written cannot."""
        from veneer.store.container_init import init_layer

        users = [each for each in self._store.containers.list() if snapshot in (each.rw, each.init)]
        if not users:
            return True, "gone meanwhile"
        if users[0].rw == snapshot:
            return False, f"what it had written is lost: veneer rm {users[0].name}"
        for user in users:
            with self._store.locked(f"container-{user.id}"), self._store.lease("repair") as lease:
                below = self._store.containers.lowers(user, init=False)
                made = init_layer(self._store, lease, self._store.working(user.driver), user.top, below)
                with self._store.catalog.transaction() as transaction:
                    transaction.execute(
                        "UPDATE container SET init = ? WHERE id = ? AND init = ?", (made, user.id, snapshot)
                    )
        return True, _ANEW
