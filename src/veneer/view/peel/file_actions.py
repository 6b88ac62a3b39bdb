"""What the first screen does with files: open, find, filter, sort, view, export; and where it leads to."""

from __future__ import annotations

import os
from urllib.parse import quote

from veneer.view.peel.base import PeelScreen
from veneer.view.peel.model import Peel
from veneer.view.peel.spans import name_text, path_shown, plain
from veneer.view.peel.tree import MOST_MATCHES, Matches, Row, found_by, pattern
from veneer.view.texts import path_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class FileActions(PeelScreen):
    """The part of `Main` that is about files."""

    peel: Peel
    _matches: Matches | None = None

    def row(self) -> Row | None:
        raise NotImplementedError

    def update(self) -> None:
        raise NotImplementedError

    def update_files(self, path: bytes | None = None) -> None:
        raise NotImplementedError

    def to_pane(self, name: str) -> None:
        raise NotImplementedError

    # -- directories -----------------------------------------------------------------------------------------

    def open_row(self) -> None:
        """Enter: into a directory, or more of it, or what is in a file."""
        row = self.row()
        if row is None:
            return
        if row.line is None and row.left:
            self.peel.tree.more(row.path)
            self.update_files()
        elif row.line is not None and row.line.place is not None:
            self.toggle_row()
        elif row.line is not None:
            self.do_view()

    def toggle_row(self) -> None:
        row = self.row()
        if row is not None and row.line is not None and row.line.place is not None:
            self.peel.tree.toggle(row.path)
            self.update_files()

    def unfold(self) -> None:
        row = self.row()
        if row is not None and row.line is not None and row.line.place is not None and not row.open:
            self.toggle_row()

    def collapse(self) -> None:
        row = self.row()
        if row is None:
            return
        if row.open:
            self.toggle_row()
        elif above := (row.path.rpartition(b"/")[0] if row.line is not None else row.path):
            self.update_files(above)

    def do_collapse(self) -> None:
        self.collapse()

    def do_uncollapse(self) -> None:
        self.unfold()

    def do_expand_all(self) -> None:
        row = self.row()
        if row is not None and row.line is not None:
            self.peel.tree.toggle_level(row.path)
            self.update_files()

    def go_to(self, path: bytes) -> None:
        """The cursor to a path, whatever hides it."""
        self.peel.tree.reveal(path)
        self.peel.path = path
        self.update_files(path)

    # -- order and choice ------------------------------------------------------------------------------------

    def _tree(self, change: Callable[[], None]) -> None:
        change()
        self.update_files()

    def do_sort(self) -> None:
        self._tree(self.peel.tree.next_sort)

    def do_small(self) -> None:
        self._tree(self.peel.tree.toggle_small)

    def do_toggle_A(self) -> None:
        self._tree(lambda: self.peel.tree.toggle_state("A"))

    def do_toggle_M(self) -> None:
        self._tree(lambda: self.peel.tree.toggle_state("M"))

    def do_toggle_P(self) -> None:
        self._tree(lambda: self.peel.tree.toggle_state("P"))

    def do_toggle_D(self) -> None:
        self._tree(lambda: self.peel.tree.toggle_state("D"))

    def do_toggle_O(self) -> None:
        self._tree(lambda: self.peel.tree.toggle_state("O"))

    def do_toggle_U(self) -> None:
        self._tree(lambda: self.peel.tree.toggle_state("U"))

    # -- finding and filtering -------------------------------------------------------------------------------

    def _search(self, text: str, found: Callable[[Matches], None]) -> None:
        if not self.peel.loaded:
            return
        try:
            pattern(text)
        except ValueError as error:
            self.peel_app.tell(str(error), bad=True)
            return
        view = self.peel.view
        self.in_background(lambda: found_by(view, text), found, "search")

    def do_find(self) -> None:
        if self.peel.loaded:
            known = self._matches.text if self._matches else ""
            self.ask("Find (text, a pattern with * ? [, or re:EXPRESSION)",
                     lambda text: self._search(text, self._found) if text else None, known)  # fmt: skip

    def _found(self, matches: Matches) -> None:
        self._matches = matches
        if not matches.paths:
            self.peel_app.tell(f"{matches.text} is nowhere in the lowest {self.peel.at} layers")
            return
        here = self.peel.path.split(b"/")
        later = next((number for number, path in enumerate(matches.paths) if path.split(b"/") > here), 0)
        self._to_match(later)

    def _to_match(self, number: int) -> None:
        assert self._matches is not None
        count = len(self._matches.paths)
        number %= count
        self._at_match = number
        self.to_pane("files")
        self.go_to(self._matches.paths[number])
        more = " or more" if count == MOST_MATCHES else ""
        self.peel_app.tell(f"{number + 1} of {count}{more}: {path_shown(self._matches.paths[number])}")

    def do_next(self) -> None:
        if self._matches and self._matches.paths:
            self._to_match(self._at_match + 1)

    def do_previous(self) -> None:
        if self._matches and self._matches.paths:
            self._to_match(self._at_match - 1)

    def do_filter(self) -> None:
        if self.peel.loaded:
            tree = self.peel.tree
            self.ask("Show only (text, a pattern with * ? [, or re:EXPRESSION; nothing shows all)",
                     lambda text: self._search(text, self._filtered) if text else self._filtered(None),
                     tree.only.text if tree.only else "")  # fmt: skip

    def _filtered(self, matches: Matches | None) -> None:
        if matches is not None and not matches.paths:
            self.peel_app.tell(f"{matches.text} is nowhere in the lowest {self.peel.at} layers")
            return
        self.peel.tree.filter(matches)
        self.update_files()

    def do_back(self) -> None:
        if self.peel.tree.only is not None:
            self._filtered(None)

    # -- one file --------------------------------------------------------------------------------------------

    def do_copy(self) -> None:
        if self.peel.path:
            self.app.copy_to_clipboard(path_text(self.peel.path))
            self.peel_app.tell(f"copied: {path_shown(self.peel.path)}")

    def do_view(self) -> None:
        from veneer.view.peel.viewer import Viewer

        copy = self.peel.copy_at(self.peel.path)
        if copy is None:
            return
        row = self.row()
        if row is not None and row.line is not None and row.line.is_directory:
            self.peel_app.tell(f"{path_shown(self.peel.path)} is a directory")
            return
        self.app.push_screen(Viewer(self.peel.path, copy))

    def do_diff(self) -> None:
        from veneer.view.peel.viewer import Difference

        copies = [copy for copy in self.peel.copies(self.peel.path) if self.peel.has_content(copy)]
        upper = max((number for number, copy in enumerate(copies) if copy.layer < self.peel.at), default=0)
        if len(copies) < 2:
            self.peel_app.tell("only one layer has this file: there is nothing to compare")
            return
        upper = max(upper, 1)
        self.app.push_screen(Difference(self.peel.path, copies[upper - 1], copies[upper]))

    def do_export(self) -> None:
        from veneer.engine.looking.extracting import extract

        path, peel = self.peel.path, self.peel
        copy = peel.copy_at(path)
        row = self.row()
        if copy is None or row is None or row.line is None:
            return
        directory = row.line.is_directory
        name = name_text(path.rpartition(b"/")[2]).lstrip(".-") or "file"

        def write(target: str) -> None:
            if target:
                at, told = peel.at, self.peel_app.tell
                self.in_background(
                    lambda: extract(peel.subject, path, at, os.path.expanduser(target)),
                    lambda count: told(f"written: {target}, {count} bytes"),
                    "export",
                )

        self.ask(f"Write {path_shown(path)} {'as a tar ' if directory else ''}to", write,
                 name + ".tar" if directory else name)  # fmt: skip

    # -- elsewhere -------------------------------------------------------------------------------------------

    def do_waste(self) -> None:
        from veneer.view.peel.screens import Waste

        if self.peel.loaded:
            self.app.push_screen(Waste(self.go_to_waste))

    def go_to_waste(self, path: bytes, maker: int) -> None:
        """A path of the waste ledger, at the layer that made the waste."""
        self.peel.go(maker + 1, maker)
        self.update()
        self.to_pane("files")
        self.go_to(path)

    def do_map(self) -> None:
        from veneer.view.peel.pictures import Map

        if self.peel.loaded:
            row = self.row()
            path = self.peel.path if row is not None and row.open else self.peel.path.rpartition(b"/")[0]
            at = self.peel.at
            self.app.push_screen(Map(path, lambda path: self._from_map(path, at)))

    def _from_map(self, path: bytes, at: int) -> None:
        """Back from the map, with another path, perhaps, or another layer than `at`."""
        if self.peel.at != at:
            self.update()
        if path:
            self.to_pane("files")
            self.go_to(path)

    def do_compare(self) -> None:
        from veneer.view.peel.pictures import Compare

        if self.peel.loaded:
            known = [name for name in self.peel_app.around.names() if name != self.peel.subject.name]
            hint = ", ".join(known[:6]) + (", ..." if len(known) > 6 else "")
            self.ask(f"Compare with: names, archive:PATH, remote:NAME, container:NAME.  Here: {hint or 'no other'}",
                     lambda text: self._compare(text, Compare))  # fmt: skip

    def _compare(self, text: str, screen: type) -> None:
        if names := text.replace(",", " ").split():
            self.app.push_screen(screen(names))

    def do_about(self) -> None:
        from veneer.view.peel.screens import About

        self.app.push_screen(About())

    def do_platform(self) -> None:
        here = str(self.peel.subject.config.platform)
        names = self.peel_app.around.platforms(self.peel.subject)
        if not set(names) - {here}:
            self.peel_app.tell(f"it can be looked at for no other platform than {here}")
            return

        def chosen(platform: str) -> None:
            if platform in names:
                self.app.exit(("platform", platform, names[platform]))
            elif platform:
                self.peel_app.tell(f"not for {plain(platform)}", bad=True)

        self.ask(f"Platform ({', '.join(names)})", chosen, here)

    def url(self) -> str:
        """The page of the same image at the same place."""
        peel, around = self.peel, self.peel_app.around
        base = (self.peel_app.preferences.browser or around.browser).rstrip("/")
        query = f"?since={peel.since}&at={peel.at}"
        row = self.row()
        if peel.path and row is not None and row.line is not None:
            within = peel.path if row.line.is_directory else peel.path.rpartition(b"/")[0]
            query += f"&path={quote(path_text(within))}"
            query += f"&file={quote(path_text(peel.path))}" if within != peel.path else ""
        return f"{base}/i/{quote(peel.subject.name, safe='')}{query}"

    def do_browser(self) -> None:
        if self.peel.subject.documents.where != "store":
            self.peel_app.tell("a browser shows images of the store: pull or load this one first")
            return
        url = self.url()
        self.app.open_url(url)
        self.peel_app.tell(f"{url} (where nothing answers: veneer serve)")
