"""What is being looked at in `veneer peel`: an image, and two ends of a slider over its layers.

The slider's end `at` says how many of the lowest layers are there, `since` from where on changes are shown.  In "this"
`since` follows one behind, in "all" it stays at 0, in "range" it stays where it was put.  Everything else follows.
"""

from __future__ import annotations

from veneer.analysis.copies import NEVER
from veneer.analysis.events import events_of
from veneer.analysis.view import View
from veneer.changeset.entry import Kind
from veneer.engine.looking.subject import Subject
from veneer.values import Value
from veneer.view.peel.columns import Sized
from veneer.view.peel.tree import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.analysis.copies import Cause, Copy
    from veneer.analysis.depths import Depths
    from veneer.analysis.events import Event
    from veneer.analysis.waste import Waste
    from veneer.engine.looking.origins import SharedWith, StandsOn

THIS, ALL, RANGE = "this", "all", "range"


class Told(Value):
    """A path's history: its events, what each hid of a layer below (bytes, layer; None: nothing), stored and visible
    bytes."""

    __slots__ = ()
    path: bytes
    events: tuple[Event, ...]
    hidden: tuple[tuple[int, int] | None, ...]
    stored: int
    visible: int


class Peel:
    """An image, the slider, the tree.  `load` takes its time; before it there are names and no sums."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.layers = len(subject.origins)
        self.at = self.layers
        self.mode = THIS
        self.since = max(self.at - 1, 0)
        self.tree = Tree()
        self.depths: Depths | None = None
        self.base: StandsOn | None = None
        self.shared: tuple[SharedWith, ...] = ()
        self.wastes: dict[tuple[str, Cause | None, int | None], list[Waste]] = {}
        """The rows of the waste ledger that are known."""
        self.path = b""
        """The path the cursor is on."""
        self._sized: Sized | None = None

    @property
    def to_pull(self) -> int:
        """Bytes of all blobs that are known."""
        return sum(blob.size for blob in self.subject.documents.blobs if blob is not None)

    # -- what takes time -------------------------------------------------------------------------------------

    def load(self) -> None:
        """Read the layers' tables of contents, from afar if need be, make the sums, and find out what is wasted."""
        subject = self.subject
        depths, _ = subject.depths, subject.account
        self.depths = depths
        self.look()

    def look(self) -> None:
        """See to it that the tree is that of the slider's place: it may have been moved while a thread loaded."""
        if self.tree.view is None or (self.tree.view.at, self.tree.view.since) != (self.at, self.since):
            self.tree.look(self.view)

    # -- the slider ------------------------------------------------------------------------------------------

    @property
    def loaded(self) -> bool:
        return self.depths is not None

    @property
    def view(self) -> View:
        """The tree at the slider's place; only once loaded."""
        assert self.depths is not None
        known = self.tree.view
        if known is not None and (known.at, known.since) == (self.at, self.since):
            return known
        return View(self.subject.table, self.at, self.since, self.depths)

    @property
    def sized(self) -> Sized:
        """What directories have bytes in, at the slider's place; only once loaded."""
        known, view = self._sized, self.view
        if known is None or known.view is not view:
            known = self._sized = Sized(view, self.tree.lines)
        return known

    def _moved(self) -> None:
        if self.loaded:
            self.tree.look(self.view)

    def move(self, at: int) -> bool:
        """Put the upper end there; whether that is another place."""
        at = min(max(at, min(self.layers, 1)), self.layers)
        if at == self.at:
            return False
        self.at = at
        self.since = {THIS: max(at - 1, 0), ALL: 0}.get(self.mode, min(self.since, at))
        self._moved()
        return True

    def move_since(self, since: int) -> bool:
        """Put the lower end there: from now on it stays."""
        since = min(max(since, 0), self.at)
        if since == self.since:
            return False
        self.since, self.mode = since, RANGE
        self._moved()
        return True

    def toggle_all(self) -> None:
        """From what this layer did to all so far, and back."""
        self.mode = THIS if self.mode == ALL else ALL
        self.since = 0 if self.mode == ALL else max(self.at - 1, 0)
        self._moved()

    def go(self, at: int, since: int) -> None:
        """Put both ends somewhere."""
        self.at = min(max(at, 0), self.layers)
        self.since = min(max(since, 0), self.at)
        self.mode = THIS if self.since == max(self.at - 1, 0) else ALL if not self.since else RANGE
        self._moved()

    # -- one path --------------------------------------------------------------------------------------------

    def history(self, path: bytes) -> Told | None:
        """What layers did to a path; None where none did, or before they are loaded."""
        if not self.loaded or not path:
            return None
        table = self.subject.table
        copies, _ = table.find(path)
        if not copies:
            return None
        events = events_of(table, path, copies)
        ended = {copy.ended: copy for copy in copies if copy.ended != NEVER}
        sizes = {id(copy): self._size(copy) for copy in copies}
        hidden = tuple(
            (sizes[id(before)], before.layer) if (before := ended.get(event.layer)) and sizes[id(before)] else None
            for event in events
        )
        visible = sum(self._size(copy) for copy in copies if copy.ended == NEVER)
        return Told(path, tuple(events), hidden, sum(sizes.values()), visible)

    def _size(self, copy: Copy) -> int:
        return self.subject.indexes[copy.layer].sizes[copy.number]

    def copy_at(self, path: bytes, at: int | None = None) -> Copy | None:
        """The copy that is to be seen with the lowest `at` layers (None: the slider's), else the last one there was."""
        if not self.loaded or not path:
            return None
        at = self.at if at is None else at
        copies, _ = self.subject.table.find(path)
        seen = [copy for copy in copies if copy.seen_at(at)]
        below = [copy for copy in copies if copy.layer < at]
        return seen[-1] if seen else below[-1] if below else None

    def has_content(self, copy: Copy) -> bool:
        """Whether a copy is a file with bytes of its own, or a hard link to one."""
        layer, number = self.subject.table.content(copy.layer, copy.number)
        return self.subject.indexes[layer].kind(number) is Kind.REGULAR

    def copies(self, path: bytes) -> tuple[Copy, ...]:
        return self.subject.table.find(path)[0] if self.loaded and path else ()
