"""Which directories of a view lead to paths in certain states."""

from __future__ import annotations

from collections.abc import Iterator

from veneer.analysis.events import Op
from veneer.analysis.view import Line, View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.analysis.copies import Place

UNCHANGED = "U"


class States:
    """The lines of a view that are in one of the states `show`, letters of Op and U, and the directories above them.

    A directory that is M only for what is beneath it is in no state of its own but U.  Directories are looked into
    until something is found, each once.
    """

    def __init__(self, view: View, show: str) -> None:
        self._view = view
        self._show = show
        self._leading: dict[bytes, bool] = {}

    def has(self, line: Line) -> bool:
        """Whether the line is in one of the states, or a directory that leads to one which is."""
        if self._is_itself(line):
            return True
        return line.place is not None and line.is_directory and self._leads(line, line.place)

    def _is_itself(self, line: Line) -> bool:
        state = str(line.state)
        if not line.is_there and not state:
            return False  # came and went before
        if line.is_directory and line.state == Op.MODIFIED:
            state = ""
        return (state or UNCHANGED) in self._show

    def _leads(self, line: Line, place: Place) -> bool:
        if line.path in self._leading:
            return self._leading[line.path]
        stack = [(line.path, self._inside(line, place))]
        while stack:
            path, lines = stack[-1]
            for each in lines:
                found = self._is_itself(each)
                if not found and each.place is not None and each.is_directory:
                    if each.path not in self._leading:
                        stack.append((each.path, self._inside(each, each.place)))
                        break
                    found = self._leading[each.path]
                if found:
                    self._leading.update((above, True) for above, _ in stack)
                    return True
            else:
                self._leading[path] = False
                stack.pop()
        return False

    def _inside(self, line: Line, place: Place) -> Iterator[Line]:
        """As many of the lines in a directory as tell what can be in it."""
        lines = self._view.beneath(line.path, place)
        # What came and went between the two depths is D, and no change.
        if not line.sums.changed and not {UNCHANGED, Op.DELETED.value} & set(self._show):
            return
        if self._view.table.run(place) is None:
            yield from lines
        elif (first := next(lines, None)) is not None:  # what one layer alone has is in one state
            yield first
