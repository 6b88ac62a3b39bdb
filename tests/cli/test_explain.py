"""`build --explain` on ten kinds of change: each time its line names the cause, and the cache has what comes before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Veneer

FILE = """\
FROM busybox:1
ENV LEVEL=1
ARG VERSION=1
COPY . /app/
LABEL of=app
RUN : $VERSION
"""
BEFORE = " ---> Using cache"


class Change:
    """What is changed between two builds: files, the Dockerfile, the command line, the store."""

    def __init__(self, veneer: Veneer, folder: Path, busybox: Path) -> None:
        self.veneer, self.folder, self.busybox = veneer, folder, busybox
        self.words: list[str] = []

    def text(self, old: str, new: str) -> None:
        path = self.folder / "Dockerfile"
        path.write_text(path.read_text().replace(old, new))

    def byte(self) -> None:
        (self.folder / "main.py").write_text("print(2)\n")

    def mode(self) -> None:
        (self.folder / "main.py").chmod(0o700)

    def rename(self) -> None:
        (self.folder / "main.py").rename(self.folder / "program.py")

    def ignored(self) -> None:
        (self.folder / "debug.log").write_text("more")

    def argument(self) -> None:
        self.words = ["--build-arg", "VERSION=2"]

    def no_cache(self) -> None:
        self.words = ["--no-cache"]

    def environment(self) -> None:
        self.text("LEVEL=1", "LEVEL=2")

    def instruction(self) -> None:
        self.text("of=app", "of=application")

    def parent(self) -> None:
        self.text("ENV LEVEL=1\n", "ENV LEVEL=1\nUSER 0\n")

    def base(self) -> None:
        assert self.veneer("import", "--change", "LABEL new=1", str(self.busybox), "busybox:1").code == 0


@pytest.mark.parametrize(
    ("change", "cached", "cause"),
    [
        (Change.argument, 4, 'build argument VERSION: "1" -> "2"'),
        (Change.environment, 0, 'environment variable LEVEL: "1" -> "2"'),
        (Change.byte, 2, "main.py"),
        (Change.mode, 2, "main.py: mode 0644 -> 0700"),
        (Change.rename, 2, "main.py is now called program.py"),
        (Change.parent, 1, "its parent is new: 'USER 0' was not in the cache"),
        (Change.base, 0, "FROM busybox:1 was"),
        (Change.no_cache, 0, "the cache is not to be used for this step (--no-cache"),
        (Change.ignored, 5, ""),
        (Change.instruction, 3, 'the instruction: "of=app" -> "of=application"'),
    ],
    ids=lambda value: value.__name__ if callable(value) else None,
)
def test_the_cause_is_named(
    veneer: Veneer, tmp_path: Path, busybox: Path, change: Callable[[Change], None], cached: int, cause: str
) -> None:
    folder = tmp_path / "c"
    folder.mkdir()
    for name, text in (("Dockerfile", FILE), (".dockerignore", "*.log\nDockerfile\n"), ("main.py", "print(1)\n"),
                       ("debug.log", "noise")):  # fmt: skip
        (folder / name).write_text(text)
    (folder / "main.py").chmod(0o644)
    assert veneer("import", str(busybox), "busybox:1").code == 0
    assert veneer("build", "--network", "none", "-q", str(folder)).code == 0
    made = Change(veneer, folder, busybox)
    change(made)
    answer = veneer("build", "--progress", "plain", "--network", "none", "--explain", *made.words, str(folder))
    lines = answer.text.splitlines()
    assert (answer.code, lines.count(BEFORE)) == (0, cached)
    causes = [line for line in lines if line.startswith(" ---> Not in the cache: ")]
    assert cause in answer.text[answer.text.index(causes[0]) :] if cause else not causes
