"""What a running command has at hand: the streams, the engine (opened when first used) and how to print."""

from __future__ import annotations

import time

from veneer.cli.tables import harmless

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO, TextIO

    from veneer.cli.progress import Lines
    from veneer.engine.engine import Engine

DEFAULT_COLUMNS = 80
USAGE_EXIT = 125
"""docker's exit status for options it does not understand; wrong arguments and commands are 1."""


class Failure(Exception):
    """A command failed and has already said why, or says it in `message`; `code` becomes the exit status.

    `hint` is the way out, as a VeneerError's.
    """

    def __init__(self, message: str = "", code: int = 1, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.hint = hint


class App:
    """One call of `veneer`.

    `settings` are what the global options set, for Config.  `now` is the moment ages are counted from.
    `owns_process`: this call is all that the process is there for.
    """

    def __init__(
        self, out: TextIO, err: TextIO, stdin: TextIO, settings: dict[str, Any], now: float | None = None,
        *, owns_process: bool = False,
    ) -> None:  # fmt: skip
        self.out = out
        self.err = err
        self.stdin = stdin
        self.settings = settings
        self.now = time.time() if now is None else now
        self.path = "veneer"
        self.debug = False
        self._owns_process = owns_process
        self._engine: Engine | None = None

    @property
    def engine(self) -> Engine:
        """The engine for the chosen data root."""
        if self._engine is None:
            from veneer.engine.engine import open_engine

            self._engine = open_engine(**self.settings)
        return self._engine

    @property
    def may_fork(self) -> bool:
        """Whether a fork of this process holds nothing but what was imported."""
        return self._owns_process and self._engine is None

    def enter_namespace(self, container: str = "") -> None:
        """Become root of a user namespace if this is a plain user: what follows works on layers' files, or on those of
        a container that may run."""
        import os

        if os.geteuid() != 0:
            self.engine.enter_namespace(container)

    def tell_notes(self) -> None:
        """Say, once, what layers could not keep because this is a plain user's store."""
        if self._engine is not None:
            for note in self._engine.notes:
                self.warn(f"Warning: {note}")

    def close(self) -> None:
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    @property
    def on_terminal(self) -> bool:
        """Whether standard output is a terminal."""
        return self.out.isatty()

    @property
    def columns(self) -> int:
        """How wide the terminal is; 80 where there is none."""
        import os

        try:
            return os.get_terminal_size(self.out.fileno()).columns or DEFAULT_COLUMNS
        except (OSError, ValueError):
            return DEFAULT_COLUMNS

    def write(self, text: str) -> None:
        """Text of veneer's own making (tables, JSON) to standard output, as it is."""
        self.out.write(text)

    def line(self, text: str) -> None:
        """One line to standard output, made harmless."""
        self.out.write(harmless(text) + "\n")

    def write_foreign(self, text: str) -> None:
        """Text that may hold anything (a template's result): as it is into a file or pipe, harmless on a terminal."""
        self.out.write(harmless(text, keep="\n\t") if self.on_terminal else text)

    def warn(self, text: str) -> None:
        """One line to standard error."""
        self.err.write(harmless(text) + "\n")

    def hint(self, text: str) -> None:
        """A way out, on standard error; commands in it are spelled as they would have to be here."""
        self.warn(f"hint: {self.spelled(text)}")

    def spelled(self, text: str) -> str:
        """Text whose commands of ours are given the global options that this call was given."""
        from veneer.cli.spelling import spelled

        return spelled(text, self.settings)

    def confirm(self, question: str) -> bool:
        """Ask, with docker's [y/N]; anything but y or yes, an end of input included, is no."""
        self.out.write(question + " [y/N] ")
        self.out.flush()
        answer = self.stdin.readline()
        if not answer.endswith("\n"):
            self.out.write("\n")
        return answer.strip().lower() in ("y", "yes")

    def progress(self) -> Lines:
        """Where long work reports: on standard output, renewed in place if that is a terminal."""
        from veneer.cli.progress import Lines

        return Lines(self.out, live=self.on_terminal, columns=self.columns)

    def binary_out(self) -> BinaryIO:
        """Standard output for bytes."""
        self.out.flush()
        return self.out.buffer

    def binary_in(self) -> BinaryIO:
        """Standard input for bytes."""
        return self.stdin.buffer
