"""What all screens of `veneer peel` share: keys become actions, questions are asked on the last line."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.events import DescendantFocus
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input, Label

from veneer.view.cells import width
from veneer.view.peel.kept import Kept
from veneer.view.peel.keys import ACTIONS, shown
from veneer.view.peel.lines import Pane, Words
from veneer.view.peel.spans import Spans, cut

if TYPE_CHECKING:
    from veneer.view.peel.app import PeelApp

BINDINGS: list[BindingType] = [
    Binding(action.keys, f"act('{action.id}')", action.about, show=False, id=action.id) for action in ACTIONS
]


class PeelScreen(Screen[None], inherit_bindings=False):
    """A screen on which `do_<action>` does what an action of `keys.ACTIONS` is about; others do nothing here."""

    BINDINGS: ClassVar[list[BindingType]] = BINDINGS
    HINTS: ClassVar[tuple[str, ...]] = ("back", "help", "quit")
    """The actions that the last line names, as far as there is room."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = Kept()
        self.question: Ask | None = None
        """What asks, on a screen that may."""

    def on_unmount(self) -> None:
        self.kept.close()

    @property
    def peel_app(self) -> PeelApp:
        return cast("PeelApp", self.app)

    @property
    def pane(self) -> Pane | None:
        """The pane that keys go to."""
        return self.focused if isinstance(self.focused, Pane) else None

    def action_act(self, action: str) -> None:
        do: Callable[[], None] | None = getattr(self, f"do_{action}", None)
        if do is not None and not self.is_asking:
            do()

    def hints(self, room: int) -> list[Spans]:
        """The last line: keys and a word for each, the last two of HINTS whatever the room."""
        told: dict[str, list[str]] = {}
        actions = {action.id: action for action in ACTIONS}
        for name in self.HINTS:
            keys = shown(self.peel_app.keys_of(actions[name])).split(" ")
            told.setdefault(actions[name].hint or name, []).append(keys[0])
        texts = [(f"{' '.join(keys)} ", f"{word}  ") for word, keys in told.items()]
        *others, end, very_end = texts
        left = room - 1 - sum(width(part) for text in (end, very_end) for part in text)
        spans: Spans = [(" ", "")]
        for key, word in others:
            left -= width(key) + width(word)
            if left < 0:
                break
            spans += [(key, "strong"), (word, "dim")]
        return [[*spans, (end[0], "strong"), (end[1], "dim"), (very_end[0], "strong"), (very_end[1], "dim")]]

    # -- what is the same everywhere -------------------------------------------------------------------------

    def _move(self, lines: Callable[[Pane], int]) -> None:
        if self.pane is not None:
            self.pane.move(lines(self.pane))

    def do_up(self) -> None:
        self._move(lambda pane: -1)

    def do_down(self) -> None:
        self._move(lambda pane: 1)

    def do_page_up(self) -> None:
        self._move(lambda pane: -pane.page)

    def do_page_down(self) -> None:
        self._move(lambda pane: pane.page)

    def do_first(self) -> None:
        if self.pane is not None:
            self.pane.go(0)

    def do_last(self) -> None:
        if self.pane is not None:
            self.pane.go(self.pane.count - 1)

    def do_back(self) -> None:
        if len(self.app.screen_stack) > 2:  # Textual's own and the first of ours stay
            self.app.pop_screen()

    def do_quit(self) -> None:
        self.app.exit()

    def do_theme(self) -> None:
        self.peel_app.next_theme()

    def do_commands(self) -> None:
        self.app.action_command_palette()

    def do_help(self) -> None:
        from veneer.view.peel.screens import Help

        if not isinstance(self, Help):
            self.app.push_screen(Help())

    @property
    def is_asking(self) -> bool:
        return self.question is not None and self.question.is_open

    def ask(self, question: str, answered: Callable[[str], None], value: str = "") -> None:
        """Ask on the last line; nothing happens where it is left by Escape, or for another pane."""
        assert self.question is not None
        self.question.open(question, answered, value)

    def to(self, widget: Widget) -> None:
        """Keys go there, once a question that is asked is answered."""
        if self.question is not None and self.question.is_open:
            self.question.back = widget
        else:
            widget.focus()

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        if isinstance(event.widget, Pane) and self.question is not None and self.question.is_open:
            self.question.back = event.widget
            self.question.action_leave()

    def in_background(self, work: Callable[[], Any], done: Callable[[Any], object], group: str) -> None:
        """Do `work` in a thread, then `done` with what it gives here; a later work of the group drops this one's."""
        app = self.peel_app

        def run() -> None:
            with self.kept.used() as there:
                if there:
                    app.working(self, work, done, group)

        self.run_worker(run, thread=True, exclusive=True, group=group)


class Ask(Vertical):
    """One line to be written, at the bottom of a screen: a widget of it, for another screen is drawn as a whole."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", show=False)]

    def __init__(self) -> None:
        super().__init__()
        self.display = False
        self.is_open = False
        self.back: Widget | None = None
        """What has the keys afterwards."""
        self._answered: Callable[[str], None] = lambda answer: None
        self._label = Label("", markup=False)
        self._input = Input(select_on_focus=False)

    def compose(self) -> ComposeResult:
        yield self._label
        yield self._input

    def open(self, question: str, answered: Callable[[str], None], value: str) -> None:
        """Ask; `answered` is called with what is written, if somebody ends it with Enter."""
        self.back = self.screen.focused
        self._answered = answered
        self._label.update(cut(question, 300))
        self._input.value = value
        self._input.cursor_position = len(value)
        self.is_open = self.display = True
        self._input.focus()

    def _close(self) -> None:
        self.is_open = self.display = False
        if self.back is not None:
            self.back.focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self._close()
        self._answered(event.value)

    def action_leave(self) -> None:
        self._close()


class LinesScreen(PeelScreen):
    """A screen of one pane: a title in its frame, lines in it, hints below."""

    HAS_CURSOR: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        # Kept, not asked for by name: what comes late finds them even while the screen is being left.
        self.body = Pane(id="body", cursor=self.HAS_CURSOR)
        self.told = Words(self.telling, id="told")

    def compose(self) -> ComposeResult:
        yield self.body
        yield self.told
        yield Words(self.hints, id="hints")

    def telling(self, room: int) -> list[Spans]:
        """The lines beneath the pane; their number is up to the style sheet, none without a word there."""
        return []

    def on_mount(self) -> None:
        self.body.focus()  # it has no room yet: once it has, it tells, and is filled

    def on_pane_resized(self, event: Pane.Resized) -> None:
        if event.pane is self.body:
            self.update()

    def update(self) -> None:
        """Show what is to be shown now."""
