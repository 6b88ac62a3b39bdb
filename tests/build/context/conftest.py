"""A context of a few files, opened."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from veneer.build.context.root import Context, open_context

OpenContext = Callable[..., contextlib.AbstractContextManager[Context]]


@pytest.fixture
def context_dir(tmp_path: Path) -> Path:
    """An empty directory to be made a context of."""
    directory = tmp_path / "context"
    directory.mkdir()
    return directory


@pytest.fixture
def opened(tmp_path: Path, context_dir: Path) -> OpenContext:
    """Opens `context_dir`, or what is given; each time with a scratch folder of its own and the same memory."""
    count = 0

    @contextlib.contextmanager
    def opening(source: object = None, **options: object) -> Iterator[Context]:
        nonlocal count
        count += 1
        scratch = tmp_path / f"scratch-{count}"
        scratch.mkdir()
        with open_context(
            context_dir if source is None else source,  # type: ignore[arg-type]
            scratch=scratch,
            memory=tmp_path / "contexts",
            **options,  # type: ignore[arg-type]
        ) as context:
            yield context

    return opening
