"""The big image in and out: pull, push, save, load, each on a fresh ext4, the tools taking turns."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from benchmarks.corpus import Corpus
from benchmarks.measure import Measure, Series
from benchmarks.tools import Floor, Tool
from tests.support.loop import loop_mounted
from tests.support.registries import RealRegistry

Results = dict[tuple[str, str], Series]
"""(operation, tool) -> what was measured."""

AnyTool = TypeVar("AnyTool", bound=Tool)
_SIZE = 16 << 30


@contextmanager
def fresh(work: Path, size: int = _SIZE, inodes: int = 500_000) -> Iterator[Path]:
    """A new, empty ext4 that does nothing in the background; everything written before is on disk."""
    with loop_mounted(work / "loop", size, options=("-N", str(inodes), "-m", "0", "-E", "nodiscard"),
                      mount_options="loop,noinit_itable") as target:  # fmt: skip
        os.sync()
        yield target


@contextmanager
def at(tool: type[AnyTool], folder: Path) -> Iterator[AnyTool]:
    """The tool with its store in `folder`, stopped at the end."""
    engine = tool(folder)
    try:
        yield engine
    finally:
        engine.close()


def note(results: Results, operation: str, tool: str, measure: Measure) -> None:
    """Keep a measure, and print it."""
    results.setdefault((operation, tool), Series()).taken.append(measure)
    print(
        f"  {operation:12}{tool:16}{measure.seconds:8.2f} s {measure.peak / 1e6:6.0f} MB", file=sys.stderr, flush=True
    )


def journeys(work: Path, corpus: Corpus, tools: list[type[Tool]], rounds: int) -> Results:
    """Measure every operation of every tool `rounds` times; the tools alternate and each starts a round in turn."""
    results: Results = {}
    Floor.corpus = corpus
    shutil.rmtree(work / "source", ignore_errors=True)
    source = RealRegistry.start(work / "source")
    try:
        name = corpus.put(source, "bench/image")
        for number in range(rounds):
            print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
            turn = number % len(tools)
            for tool in tools[turn:] + tools[:turn]:
                _round(work, corpus, tool, name, results)
    finally:
        source.stop()
        shutil.rmtree(work / "source")
    return results


def _round(work: Path, corpus: Corpus, tool: type[Tool], name: str, results: Results) -> None:
    with fresh(work) as folder, at(tool, folder) as engine:
        note(results, "pull", tool.name, engine.pull(name))
        if "push" in tool.operations:
            target = RealRegistry.start(work / "target")
            try:
                os.sync()
                note(results, "push", tool.name, engine.push(name, f"{target.host}/bench/pushed:1"))
            finally:
                target.stop()
                shutil.rmtree(work / "target")
        if "save" in tool.operations:
            os.sync()
            note(results, "save", tool.name, engine.save(name, folder / "saved.tar"))
    if "load" in tool.operations:
        with fresh(work) as folder, at(tool, folder) as engine:
            note(results, "load", tool.name, engine.load(corpus.archive))
