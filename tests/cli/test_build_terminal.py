"""A build on a real pseudo-terminal: what is finished stays, what runs renews itself, whatever the terminal's size."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import termios
import tty
from collections.abc import Iterator
from typing import TextIO

import pytest

from veneer.build.caching.explain import Miss
from veneer.build.events import Finished, Missed, Output, Step, StepDone, StepFailed, StepStarted, Warned
from veneer.cli.build_terminal import Terminal
from veneer.oci.digest import Digest, ImageID

IMAGE = ImageID(Digest("sha256:" + "1" * 64))
MAKE = Step("0", 1, 2, 1, 2, "RUN make all of it and everything that stands beside it as well", 2)
TEST = Step("0", 2, 2, 2, 2, "RUN test", 3)


class Screen:
    """What a terminal of some width shows: as much of one as the view asks for."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.rows = [""]
        self.at = 0
        self.column = 0

    def feed(self, text: str) -> None:
        for found in re.finditer(r"\x1b\[(\d*)([A-Za-z])|([\r\n])|(.)", text, re.DOTALL):
            if found[2] == "A":
                self.at -= int(found[1] or 1)
                assert self.at >= 0, "the view went above its first line"
            elif found[2] == "J":
                self.rows[self.at :] = [self.rows[self.at][: self.column]]
            elif found[3] == "\n":
                self.at += 1
            elif found[3] == "\r":
                self.column = 0
            elif found[4]:
                if self.column == self.columns:
                    self.at, self.column = self.at + 1, 0
                self._row()
                row = self.rows[self.at].ljust(self.column)
                self.rows[self.at] = row[: self.column] + found[4] + row[self.column + 1 :]
                self.column += 1
            self._row()

    def _row(self) -> None:
        while len(self.rows) <= self.at:
            self.rows.append("")

    @property
    def text(self) -> list[str]:
        return [row.rstrip() for row in self.rows]


class Pty:
    def __init__(self) -> None:
        self.master, slave = os.openpty()
        self.out: TextIO = os.fdopen(slave, "w", encoding="utf-8")
        tty.setcbreak(slave)
        os.set_blocking(self.master, False)

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.out.fileno(), termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def said(self) -> str:
        parts = []
        while True:
            try:
                parts.append(os.read(self.master, 65536))
            except BlockingIOError:
                return b"".join(parts).decode()


@pytest.fixture
def pty() -> Iterator[Pty]:
    made = Pty()
    made.resize(80, 24)
    yield made
    made.out.close()
    os.close(made.master)


def shown(pty: Pty, screen: Screen) -> list[str]:
    screen.feed(pty.said())
    return screen.text


def test_finished_steps_stay_and_a_running_one_shows_its_last_lines(pty: Pty) -> None:
    view, screen = Terminal(pty.out, explain=False, columns=80, rows=24), Screen(80)
    view(StepStarted(0.0, MAKE))
    view(StepDone(0.0, MAKE, IMAGE, True, None, 0.0))
    view(StepStarted(0.0, TEST))
    view(Output(0.0, TEST, 1, b"".join(b"line %d\n" % n for n in range(100))))
    view(Warned(0.0, "", "odd"))  # a line that stays has all else drawn again
    rows = shown(pty, screen)
    assert rows[0].startswith("= Step 1/2 : RUN make all of it") and rows[0].endswith("cached")
    assert rows[1] == "warning odd"
    assert rows[2].startswith("• Step 2/2 : RUN test")
    assert rows[3:9] == [f"  line {n}" for n in range(94, 100)]
    view(StepDone(0.0, TEST, IMAGE, False, 2048, 1.5))
    view(Finished(0.0, IMAGE, ("a:b",)))
    view.close(failed=False)
    rows = shown(pty, screen)
    assert rows[2].startswith("✓ Step 2/2 : RUN test") and rows[2].endswith("1.5s  2.05kB")
    assert rows[3].startswith("Successfully built 111111111111 in ")
    assert rows[4:] == ["Successfully tagged a:b", ""]


@pytest.mark.parametrize("columns", [1, 7, 20, 40])
def test_a_narrow_terminal_is_not_written_past(pty: Pty, columns: int) -> None:
    pty.resize(columns, 10)
    view, screen = Terminal(pty.out, explain=False, columns=columns, rows=10), Screen(columns)
    view(StepStarted(0.0, TEST))
    for n in range(3):
        view(Output(0.0, TEST, 1, b"a line that is longer than the terminal is wide\n"))
        view(Warned(0.0, "", str(n)))
    view(StepDone(0.0, TEST, IMAGE, False, None, 0.0))
    view.close(failed=False)
    text = "".join(shown(pty, screen))
    # Each line that stays is there once, and nothing of what was renewed.
    assert [text.count(f"warning {n}".replace(" ", "")) or text.count(f"warning {n}") for n in range(3)] == [1, 1, 1]
    assert "•" not in text and text.count("✓") == 1


def test_a_terminal_that_becomes_narrower_is_cleaned_up(pty: Pty) -> None:
    view, screen = Terminal(pty.out, explain=False, columns=80, rows=24), Screen(80)
    view(StepStarted(0.0, MAKE))
    view(Warned(0.0, "", "one"))
    shown(pty, screen)
    # A terminal breaks the lines it has where they are too long for its new width.
    narrow = Screen(40)
    narrow.feed("\r\n".join(screen.text))
    pty.resize(40, 24)
    view(Warned(0.0, "", "two"))
    view(StepDone(0.0, MAKE, IMAGE, False, None, 0.0))
    view.close(failed=False)
    rows = shown(pty, narrow)
    assert rows[:2] == ["warning one", "warning two"]
    assert rows[2].startswith("✓ Step 1/2 : RUN make") and len(rows[2]) <= 40
    assert not any("•" in row for row in rows)


def test_what_is_renewed_is_never_higher_than_the_terminal(pty: Pty) -> None:
    pty.resize(80, 6)
    view, screen = Terminal(pty.out, explain=False, columns=80, rows=6), Screen(80)
    for number in range(20):
        step = Step(str(number), 1, 1, number + 1, 20, "RUN x", 1)
        view(StepStarted(0.0, step))
        view(Output(0.0, step, 1, b"a\nb\nc\n"))
    view(Warned(0.0, "", "odd"))
    assert len(shown(pty, screen)) <= 1 + 4 + 1
    view.close(failed=True)


def test_a_failed_step_leaves_its_output_and_no_colour_runs_on(pty: Pty) -> None:
    view, screen = Terminal(pty.out, explain=False, columns=80, rows=24), Screen(80)
    view(StepStarted(0.0, TEST))
    view(Output(0.0, TEST, 2, b"\x1b[31mred\n\x1b[2J\x1b[1;1Hgone?\n10%\r100%\nhalf"))
    view(StepFailed(0.0, TEST, "no", IMAGE))
    view(Warned(0.0, "JSONArgsRecommended", "use JSON", 3))
    view.close(failed=True)
    said = pty.said()
    assert "\x1b[2J" not in said and "\x1b[1;1H" not in said
    assert "\x1b[31mred\x1b[0m" in said
    screen.feed(said)
    assert screen.text[:5] == ["✗ Step 2/2 : RUN test", "  red", "  \\x1b[2J\\x1b[1;1Hgone?", "  100%", "  half"]
    assert screen.text[5:8] == [
        "",
        " 1 warning found (use --check to see where):",
        " - JSONArgsRecommended: use JSON (line 3)",
    ]


def test_explain_stays_on_the_screen(pty: Pty) -> None:
    view, screen = Terminal(pty.out, explain=True, columns=80, rows=24), Screen(80)
    view(StepStarted(0.0, TEST))
    view(Missed(0.0, TEST, Miss("file", "a.txt differs", ("a.txt: 3 bytes -> 4 bytes",))))
    view(StepDone(0.0, TEST, None, False, None, 0.0, True))
    view.close(failed=False)
    assert shown(pty, screen)[:3] == [
        "    not in the cache: a.txt differs", "        a.txt: 3 bytes -> 4 bytes", "? Step 2/2 : RUN test  would run",
    ]  # fmt: skip
