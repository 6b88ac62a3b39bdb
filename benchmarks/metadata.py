"""Looking at a store with many images: images, history, inspect."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.journeys import Results, at, fresh
from benchmarks.measure import Series, measured
from benchmarks.tools import Tool, Veneer
from veneer.testing.images import SampleLayer, directory, docker_archive, image, layer_tar

COMMANDS = {
    "images": ("images",),
    "history": ("history", "bench/app-7:1"),
    "inspect": ("image", "inspect", "bench/app-7:1"),
}


TAGGED = 1000
"""How many of the images get a name: people with ten thousand images have mostly untagged ones."""


def archive_of(count: int, target: Path) -> Path:
    """A docker archive of `count` images that share one small layer; the first TAGGED have a tag."""
    layer = SampleLayer(layer_tar({"etc": directory(), "etc/app": b"x"}))
    made = [image(layer, style="docker", config={"Env": [f"N={n}"]}) for n in range(count)]
    target.write_bytes(docker_archive(*((each, [f"bench/app-{n}:1"] * (n < TAGGED)) for n, each in enumerate(made))))
    return target


def metadata(work: Path, tools: list[type[Tool]], counts: list[int], repeats: int = 15) -> Results:
    """`("images 1000", tool)` and so on.

    The peers are filled with the smallest count only, or with as many as they take in bearable time: what they
    need then is a lower bound, their rows say how many it was.
    """
    results: Results = {}
    bare = [measured([sys.executable, "-c", "pass"], memory=False) for _ in range(repeats)]
    results["interpreter", "python -c pass"] = Series(bare)
    for count, tool in [(count, tool) for count in counts for tool in tools]:
        if tool is Veneer or count == min(counts):
            _look(work, tool, min(count, tool.most_images), repeats, results)
    return results


def _look(work: Path, tool: type[Tool], count: int, repeats: int, results: Results) -> None:
    archive = archive_of(count, work / "many.tar")
    with fresh(work) as folder, at(tool, folder) as engine:
        print(f"  {count} images into {tool.name}", file=sys.stderr, flush=True)
        engine.fill(archive)
        for command, words in COMMANDS.items():
            engine.do(*words, memory=False)
            taken = [engine.do(*words, memory=False) for _ in range(repeats)]
            results[f"{command} {count}", tool.name] = Series(taken)
    archive.unlink()
