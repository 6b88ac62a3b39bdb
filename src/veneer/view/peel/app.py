"""`veneer peel` as a Textual application: its screens, its styles, and work that goes on in threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.theme import Theme
from textual.worker import Worker, get_current_worker

from veneer.errors import Unavailable, VeneerError
from veneer.view.peel import themes
from veneer.view.peel.around import Around, News
from veneer.view.peel.base import PeelScreen
from veneer.view.peel.keys import ACTIONS, Action, shown
from veneer.view.peel.model import Peel
from veneer.view.peel.preferences import Preferences
from veneer.view.peel.sheets import Sheet
from veneer.view.peel.spans import plain
from veneer.view.peel.waits import shorten

CSS = """
Screen { layers: base above; background: $background; color: $foreground; }
Words { width: 1fr; height: 1; background: $surface; }
#top { height: 2; }
#panes { height: 1fr; }
Pane {
    border: round $peel-dim; background: $background; width: 1fr; height: 1fr;
    border-title-color: $foreground; scrollbar-size: 1 1; scrollbar-gutter: stable; overflow-x: hidden;
    scrollbar-color: $peel-dim; scrollbar-background: $background;
}
Pane:focus { border: heavy $peel-here; border-title-style: bold; }
#left { width: 38%; min-width: 44; max-width: 76; }
#journal { height: 25%; min-height: 5; max-height: 10; }
LinesScreen > #told { height: 0; }
Map > #told { height: 1; }
Compare > #told { height: 1; }
Waste > #told { height: 2; }
#right { width: 1fr; }
#layers { height: 3fr; }
#layer { height: 2fr; min-height: 8; }
#files { height: 3fr; }
#history { height: 1fr; min-height: 6; }
Ask { layer: above; dock: bottom; height: auto; background: $surface; border-top: solid $peel-here; }
Ask Label { width: 1fr; }
Ask Input { border: none; height: 1; background: $background; }
"""


shorten()


class PeelApp(App[Any], inherit_bindings=False):
    """An image peeled.  Exits with None, with the error that ended it, or with ("platform", PLATFORM, NAME)."""

    CSS = CSS
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+q,ctrl+c", "quit", "Quit", show=False, priority=True)]
    TITLE = "veneer peel"

    def __init__(
        self, peel: Peel, around: Around, preferences: Preferences | None = None, news: News | None = None,
        *, path: bytes = b"",
    ) -> None:  # fmt: skip
        self._themes = {theme.name: theme for theme in map(themes.theme, themes.NAMES)}
        super().__init__()
        self.stylesheet: Sheet = Sheet(self.get_css_variables())
        self.peel = peel
        self.around = around
        self.preferences = preferences or Preferences()
        self.news = news or News()
        self.first_path = path
        self._works = threading.Condition()
        self._at_work = 0
        for theme in self._themes.values():
            self.register_theme(theme)
        self.theme = f"veneer-{self.preferences.theme}"
        self.palette = themes.Palette(self.preferences.theme)
        self.set_keymap(dict(self.preferences.keys))

    def on_mount(self) -> None:
        from veneer.view.peel.main_screen import Main

        self.push_screen(Main())
        for warning in self.preferences.warnings:
            self.notify(warning, severity="warning", markup=False)

    # -- keys, themes, commands ------------------------------------------------------------------------------

    def keys_of(self, action: Action) -> str:
        """The keys that do it now."""
        return self.preferences.keys.get(action.id, action.keys)

    def named(self, *actions: str) -> str:
        """Some actions with their first keys."""
        by_id = {action.id: action for action in ACTIONS}
        return "  ".join(f"{shown(self.keys_of(by_id[name])).split(' ')[0]} {by_id[name].hint}" for name in actions)

    def exit(self, result: Any = None, return_code: int = 0, message: Any = None) -> None:
        """Leave; downloads that go on stop at their next report."""
        self.news.over = True
        super().exit(result, return_code, message)

    def get_theme(self, theme_name: str) -> Theme | None:
        """As Textual's, which looks through all themes, for each line that is drawn."""
        return self._themes.get(theme_name) or super().get_theme(theme_name)

    @property
    def _background_screens(self) -> list[Screen[Any]]:
        """The screens that are seen through this one.  Textual counts one beneath an opaque one too: it would be laid
        out with it, and whatever it has to draw would have all drawn anew."""
        return super()._background_screens if self.screen.styles.background.a < 1 else []

    def next_theme(self) -> None:
        names = themes.NAMES
        name = names[(names.index(self.theme.removeprefix("veneer-")) + 1) % len(names)]
        self.palette = themes.Palette(name)
        self.theme = f"veneer-{name}"

    def refresh_css(self, animate: bool = True) -> None:
        with self.stylesheet.applied_to_all():
            super().refresh_css(animate)

    def prepare_themes(self) -> None:
        """Have the style sheet of all themes parsed.  Is called in a thread."""
        usual = self.get_theme_variable_defaults()
        for theme in self._themes.values():
            self.stylesheet.ahead({**usual, **theme.to_color_system().generate(), **theme.variables})

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        if isinstance(screen, PeelScreen):
            for action in ACTIONS:
                do = getattr(screen, f"do_{action.id}", None)
                if do is not None:
                    yield SystemCommand(action.about, shown(self.keys_of(action)), do)

    def tell(self, text: str, *, bad: bool = False) -> None:
        """A word in the corner."""
        self.notify(text, severity="error" if bad else "information", markup=False, timeout=8 if bad else 4)

    # -- work in threads -------------------------------------------------------------------------------------

    def working(self, screen: Screen[Any], work: Callable[[], Any], done: Callable[[Any], object], group: str) -> None:
        """In a worker's thread: `work`, and `done` in the application's unless that is over or overtaken by now."""
        worker = get_current_worker()
        with self._works:
            self._at_work += 1
        try:
            self._worked(worker, screen, work, done, group)
        finally:
            with self._works:
                self._at_work -= 1
                self._works.notify_all()

    def still_working(self, seconds: float) -> bool:
        """Whether a thread is at work yet, after so long."""
        with self._works:
            return not self._works.wait_for(lambda: not self._at_work, seconds)

    def _worked(
        self, worker: Worker[Any], screen: Screen[Any], work: Callable[[], Any], done: Callable[[Any], object],
        group: str,
    ) -> None:  # fmt: skip
        try:
            found = work()
        except OSError as error:
            told = Unavailable(f"{plain(str(error.filename or group))}: {error.strerror}")
            if not worker.is_cancelled:
                self._here(screen, self._failed, (told, group))
            return
        except VeneerError as error:
            if not worker.is_cancelled:
                self._here(screen, self._failed, (error, group))
            return
        if not worker.is_cancelled:
            self._here(screen, done, found)

    def _here(self, screen: Screen[Any], do: Callable[[Any], object], what: Any) -> None:
        if self.is_running:
            self.call_from_thread(self.call_later, self._if_there, screen, do, what)  # later: by then the work is over

    def _if_there(self, screen: Screen[Any], do: Callable[[Any], object], what: Any) -> None:
        """What a thread found, for a screen that may have been left meanwhile."""
        if screen in self.screen_stack:
            do(what)

    def _failed(self, told: tuple[VeneerError, str]) -> None:
        error, group = told
        if group == "load":
            self.exit(error)
        else:
            self.tell(f"{error.message}{f' ({error.hint})' if error.hint else ''}", bad=True)
