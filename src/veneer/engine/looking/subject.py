"""One image to be looked at, wherever it is."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Sequence

from veneer.analysis.table import Table
from veneer.engine.looking.instructions import Instruction, instructions
from veneer.oci.image import ImageConfig
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.analysis.depths import Depths
    from veneer.analysis.waste import Account
    from veneer.changeset.index import LayerIndex
    from veneer.engine.looking.contents import LayerBytes
    from veneer.oci.digest import BlobDigest, ChainID, DiffID
    from veneer.oci.manifest import Descriptor, Index, Manifest
    from veneer.oci.reference import Reference

    Open = Callable[[], Sequence[LayerIndex]]
    Bytes = Callable[[int], LayerBytes]


class Origin(Value):
    """Where a layer comes from.  `before`: the rows since the layer below that made none.

    The row and the blob may be None, where nobody knows them; a container's own layer has no blob.  `at_most`: the blob
    is a tar that is not compressed yet, and what a registry will have of it is smaller, nobody knows by how much.
    """

    __slots__ = ()
    instruction: Instruction | None
    before: tuple[Instruction, ...]
    diff_id: DiffID
    chain_id: ChainID
    blob: Descriptor | None
    at_most: bool = False

    @property
    def shown(self) -> str:
        """What made it, on one line."""
        return self.instruction.shown if self.instruction else "(no row of the history tells of this layer)"


class Documents(Value):
    """What is known of an image without its layers.

    `name` is what it was asked for by, `where` "store", "archive", "registry" or "container"; `digest` what its name
    stands for, an index where there is one; `blobs` one for each layer, None where nobody says.
    """

    __slots__ = ()
    name: str
    where: str
    config: ImageConfig
    references: tuple[Reference, ...]
    manifest: Manifest | None
    index: Index | None
    digest: BlobDigest | None
    blobs: tuple[Descriptor | None, ...]

    def at_most(self, layer: int) -> bool:
        """Whether the blob of a layer (0 is the base) is only the most that will be pulled: see `Origin`."""
        blob = self.blobs[layer]
        return self.where != "registry" and blob is not None and blob.is_plain_layer

    @property
    def pull_at_most(self) -> bool:
        """Whether the blobs together are only the most that will be pulled."""
        return any(map(self.at_most, range(len(self.blobs))))


class Subject:
    """An image to be looked at.  Its indexes are opened (or read from afar) when first asked for.

    `bytes_` tells where the files of a layer of the image are; without it there are no contents to be had.
    `doubts` are sentences about what is shown that is not quite what the image has; opening the indexes adds to them.
    """

    def __init__(
        self, documents: Documents, open_: Open, bytes_: Bytes | None = None, doubts: Sequence[str] = ()
    ) -> None:
        self.documents = documents
        self._open = open_
        self._bytes = bytes_
        self.doubts = doubts

    @property
    def name(self) -> str:
        return self.documents.name

    @property
    def config(self) -> ImageConfig:
        return self.documents.config

    @functools.cached_property
    def indexes(self) -> tuple[LayerIndex, ...]:
        """The table of contents of each layer, base first."""
        return tuple(self._open())

    def bytes_of(self, layer: int) -> LayerBytes:
        """Where the files of a layer (0 is the base) are."""
        from veneer.engine.looking.contents import NOWHERE

        return self._bytes(layer) if self._bytes is not None else NOWHERE

    def to_pull(self, had: Collection[DiffID] = ()) -> int:
        """The bytes of the blobs that a host pulls, each once, which has layers of these diff IDs already: whatever
        blobs they came as, they are not pulled.  Blobs that nobody knows count nothing."""
        blobs = zip(self.config.diff_ids, self.documents.blobs, strict=True)
        needed = {blob.digest: blob.size for diff_id, blob in blobs if blob is not None and diff_id not in had}
        return sum(needed.values())

    @functools.cached_property
    def table(self) -> Table:
        return Table(self.indexes)

    @functools.cached_property
    def account(self) -> Account:
        """What it stores, shows and wastes."""
        from veneer.analysis.waste import account

        return account(self.table)

    @functools.cached_property
    def depths(self) -> Depths:
        """The sums of its directories at every depth; asked for before the account, they come from the same walk."""
        from veneer.analysis.depths import Depths, weighed

        if "account" in self.__dict__:
            return Depths(self.table)
        self.__dict__["account"], depths = weighed(self.table)
        return depths

    @functools.cached_property
    def origins(self) -> tuple[Origin, ...]:
        """Where each layer comes from, base first."""
        return self._rows[0]

    @property
    def after(self) -> tuple[Instruction, ...]:
        """The rows above the last layer."""
        return self._rows[1]

    @property
    def unplaced(self) -> tuple[Instruction, ...]:
        """The rows of which nobody knows where among the layers they belong: all, where fewer made a layer than there
        are layers.  Then no layer has a row, but that of a container, whose own is the last."""
        return self._rows[2]

    @functools.cached_property
    def _rows(self) -> tuple[tuple[Origin, ...], tuple[Instruction, ...], tuple[Instruction, ...]]:
        documents = self.documents
        config, blobs = documents.config, documents.blobs
        made: list[Origin] = []
        before: list[Instruction] = []

        def layer(instruction: Instruction | None) -> None:
            at = len(made)
            made.append(Origin(instruction, tuple(before), config.diff_ids[at], config.chain_ids[at], blobs[at],
                               documents.at_most(at)))  # fmt: skip
            before.clear()

        rows = instructions(config)
        if not config.tells_layers:
            own = [rows.pop()[0]] if documents.where == "container" else []
            for _ in config.diff_ids[len(own) :]:
                layer(None)
            for instruction in own:
                layer(instruction)
            return tuple(made), (), tuple(instruction for instruction, _ in rows)
        for instruction, position in rows:
            if position is None:
                before.append(instruction)
            else:
                layer(instruction)
        return tuple(made), tuple(before), ()
