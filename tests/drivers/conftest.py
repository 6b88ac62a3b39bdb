"""What the drivers' tests share: layers by the hundred, and an eye on descriptors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import leaks


@pytest.fixture(autouse=True)
def _no_descriptor_is_left_open(root_only: None) -> Iterator[None]:
    before = leaks.open_descriptors()
    yield
    left = {fd: what for fd, what in leaks.open_descriptors().items() if fd not in before}
    assert not left, f"still open after the test: {left}"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """An empty directory to mount on."""
    folder = tmp_path / "target"
    folder.mkdir()
    return folder


@pytest.fixture
def layers(tmp_path: Path) -> Callable[[int], list[Path]]:
    """Call it with a number for that many layer directories, nearest first.

    Layer n holds a file `n` and its own version of `same`, whose content is n.
    """

    def make(count: int) -> list[Path]:
        made = []
        for number in range(count):
            folder = tmp_path / "layers" / f"{number:032x}" / "diff"
            folder.mkdir(parents=True)
            (folder / str(number)).touch()
            (folder / "same").write_text(str(number))
            made.append(folder)
        return made

    return make
