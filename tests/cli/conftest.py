"""Running the command line in this process, on streams of our own."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from veneer.cli.main import run


@dataclass(frozen=True)
class Answer:
    """What a command said."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode()


class Terminal(io.TextIOWrapper):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Veneer:
    """The command line on one data root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.now: float | None = None

    def __call__(self, *words: str, stdin: bytes = b"", terminal: bool = False) -> Answer:
        """Run a command; `terminal` makes standard output claim to be one."""
        kind = Terminal if terminal else io.TextIOWrapper
        raw_out, raw_err = io.BytesIO(), io.BytesIO()
        out = kind(raw_out, encoding="utf-8", errors="surrogateescape", write_through=True)
        err = io.TextIOWrapper(raw_err, encoding="utf-8", errors="surrogateescape", write_through=True)
        code = run(["--root", str(self.root), *words], out, err, io.TextIOWrapper(io.BytesIO(stdin)), now=self.now)
        return Answer(code, raw_out.getvalue(), raw_err.getvalue().decode())

    def all_of(self, commands: Sequence[Sequence[str]]) -> list[Answer]:
        return [self(*words) for words in commands]


@pytest.fixture
def veneer(tmp_path: Path) -> Veneer:
    return Veneer(tmp_path / "root")


@pytest.fixture(autouse=True)
def _universal_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()
