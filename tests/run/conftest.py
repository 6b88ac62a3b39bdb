"""A tree with programs, and containers run in it."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.programs import needs
from veneer.drivers.mount import Mount
from veneer.run import container
from veneer.run.bundle import Bundle
from veneer.run.enclosure import Enclosure, enclosed
from veneer.run.host import host
from veneer.run.mountpoints import MountPoints
from veneer.run.runtime import Runtime, choose
from veneer.run.spec import SYSTEM_TARGETS, Process


@pytest.fixture
def tree(tmp_path: Path, busybox: Path) -> Path:
    """Busybox' files in a directory."""
    folder = tmp_path / "tree"
    folder.mkdir()
    subprocess.run(["tar", "--extract", "--file", busybox, "--directory", folder], check=True)
    return folder


@dataclass
class Ran:
    """How a container ended, and what it printed."""

    status: int
    out: str
    err: str


class Containers:
    """Runs containers in one tree.  `runtime` is whose turn it is."""

    def __init__(self, tree: Path, folder: Path) -> None:
        self.tree = tree
        self.folder = folder
        self.runtime: Runtime = choose()
        self.enclosure: Enclosure

    @contextlib.contextmanager
    def bundle(self, *, network: bool = False) -> Iterator[Bundle]:
        with enclosed(network=network) as self.enclosure, self.bundled(self.enclosure) as bundle:
            yield bundle

    def bundled(self, enclosure: Enclosure) -> Bundle:
        return Bundle(enclosure, self.folder, [Mount.bind(self.tree)])

    def run_in(self, bundle: Bundle, words: Sequence[str], *, check: Callable[[], object] = lambda: None,
               output: Callable[[int, bytes], object] | None = None, **wanted: Any) -> Ran:  # fmt: skip
        said: dict[int, bytes] = {1: b"", 2: b""}

        def note(stream: int, data: bytes) -> None:
            said[stream] += data

        process = Process(tuple(words), wanted.pop("env", ("PATH=/bin:/usr/bin:/sbin",)), **wanted)
        with MountPoints(bundle.root) as points:
            for target in SYSTEM_TARGETS:
                points.make(target, directory=True)
            status = container.run(
                self.enclosure, bundle, self.runtime, process, host(), output=output or note, check=check
            )
        return Ran(status, said[1].decode(), said[2].decode())

    def __call__(self, *words: str, **wanted: Any) -> Ran:
        with self.bundle() as bundle:
            return self.run_in(bundle, words, **wanted)


@pytest.fixture
def containers(root_only: None, tree: Path, tmp_path: Path) -> Containers:
    needs("runc")
    folder = tmp_path / "bundle"
    folder.mkdir()
    return Containers(tree, folder)
