"""The measurements as Markdown, and their place in docs/benchmarks.md."""

from __future__ import annotations

import os
import platform
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.builds import OPERATIONS, RUNS, Builds, Context, overheads
from benchmarks.containers import MANY, Containers
from benchmarks.corpus import Corpus
from benchmarks.growth import Point
from benchmarks.journeys import Results
from benchmarks.measure import Series
from tests.support.programs import run

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [" | ".join(head), " | ".join(["---", *["---:"] * (len(head) - 1)]), *(" | ".join(row) for row in rows)]
    return "\n".join(f"| {line} |" for line in lines) + "\n"


def _versions() -> str:
    found = [f"Linux {platform.release()}", f"Python {platform.python_version()}", f"{os.cpu_count()} CPUs"]
    for program in ("dockerd", "podman", "buildah", "runc", "docker-registry"):
        if shutil.which(program):
            version = re.search(r"\d+\.\d+\.\d+", run(program, "--version").out)
            found.append(f"{program} {version[0] if version else '?'}")
    return ", ".join(found)


def journeys_table(corpus: Corpus, results: Results, absent: Mapping[str, str]) -> str:
    """Seconds of every operation by every tool, and how many times veneer's they are."""
    compressed = sum(layer.size for layer in corpus.manifest.layers)
    rows = []
    for operation in ("pull", "push", "save", "load"):
        mine = results.get((operation, "veneer"))
        for (name, tool), series in results.items():
            if name == operation:
                times = f"{series.median / mine.median:.2f}" if mine else ""
                rows.append([f"{operation}, {tool}", f"{series.median:.2f}", f"{series.best:.2f}", times,
                             f"{series.peak / 1e6:.0f}"])  # fmt: skip
    text = (f"The image: {corpus.bytes / 1e6:,.0f} MB in {corpus.files:,} files, {len(corpus.blobs)} layers, "
            f"{compressed / 1e6:,.0f} MB compressed.\n\n")  # fmt: skip
    text += table(["operation", "median s", "best s", "times veneer", "peak MB"], rows)
    for tool, reason in absent.items():
        text += f"\n{tool} was not measured: {reason}.\n"
    return text


def builds_table(context: Context, taken: Builds, absent: Mapping[str, str]) -> str:
    """Seconds of every operation by every tool, how many times veneer's they are, and what a push left behind."""
    rows = []
    for operation in OPERATIONS:
        mine = taken.results.get((operation, "veneer"))
        for (name, tool), series in taken.results.items():
            if name == operation:
                times = f"{series.median / mine.median:.2f}" if mine else ""
                size = taken.sizes.get((operation, tool))
                rows.append([f"{operation}, {tool}", f"{series.median:.2f}", f"{series.best:.2f}", times,
                             f"{series.peak / 1e6:.0f}", f"{size / 1e6:,.0f}" if size else ""])  # fmt: skip
    text = (f"The context: {context.bytes / 1e6:,.0f} MB in {context.files:,} files, in four COPYs, and one RUN.\n\n"
            + table(["operation", "median s", "best s", "times veneer", "peak MB", "pushed MB"], rows))  # fmt: skip
    bare = taken.results["runc alone", "runc"].median / RUNS * 1e3
    text += f"\nA RUN beyond its command ({bare:.0f} ms by runc alone):\n\n"
    text += table(["tool", "ms a RUN"], [[tool, f"{extra:.0f}"] for tool, extra in overheads(taken.results).items()])
    for tool, reason in absent.items():
        text += f"\n{tool} was not measured: {reason}.\n"
    return text


def metadata_table(results: Results) -> str:
    """Milliseconds of each looking command by each tool and number of images."""
    rows = [[f"{operation} images" if operation[-1].isdigit() else operation, tool,
             f"{series.median * 1e3:.0f}", f"{series.best * 1e3:.0f}"]
            for (operation, tool), series in results.items()]  # fmt: skip
    return table(["command", "tool", "median ms", "best ms"], rows)


def looking_table(results: Mapping[tuple[str, str], Series]) -> str:
    """Seconds and memory of each question about each image; what ends within a look at its memory has none."""
    rows = []
    for (what, operation), series in results.items():
        peak = f"{series.peak / 1e6:.0f}" if series.peak else "-"
        rows.append([f"{operation}: {what}", f"{series.median:.2f}", f"{series.best:.2f}", peak])
    return table(["question", "median s", "best s", "peak MB"], rows)


def growth_table(points: Sequence[Point]) -> str:
    """One pull for each amount on each axis."""
    rows = [[f"{point.axis}: {point.amount:,}", f"{point.measure.seconds:.2f}", f"{point.measure.peak / 1e6:.0f}"]
            for point in points]  # fmt: skip
    return table(["pull of", "s", "peak MB"], rows)


def containers_table(taken: Containers) -> str:
    """Milliseconds of short containers by each tool; what each of a hundred takes; what a thousand leave."""
    rows = []
    for (operation, tool), series in taken.results.items():
        mine = taken.results.get((operation, "veneer"))
        times = f"{series.median / mine.median:.2f}" if mine else ""
        rows.append([f"{operation}, {tool}", f"{series.median * 1e3:.0f}", f"{series.best * 1e3:.0f}", times])
    text = table(["command", "median ms", "best ms", "times veneer"], rows)
    text += f"\n{MANY} containers of one image, started one after the other, none has written anything yet:\n\n"
    text += table(["tool", "started a second", "kB of disk each", "MB of memory beside each"], [
        [tool, f"{MANY / crowd.seconds:.1f}", f"{crowd.disk / 1e3:.0f}", f"{crowd.memory / 1e6:.1f}"]
        for tool, crowd in taken.crowds.items()
    ])  # fmt: skip
    if taken.growth:
        grown = taken.growth
        more = f"{grown.mounts:+} mounts, {grown.processes:+} processes, {grown.cgroups:+} control groups"
        text += f"\n{grown.runs:,} times `veneer run --rm` later: {more}, "
        text += f"{grown.disk / 1e3:+,.0f} kB of disk, of them {grown.events / 1e3:,.0f} kB the log of events.\n"
    return text


def write(target: Path, sections: Mapping[str, str], command: str) -> None:
    """Put the sections between the two marks of `target`, each with the command and the day that made it.

    Those that were not measured now stay as they are.
    """
    text = target.read_text()
    head, _, rest = text.partition(BEGIN)
    body, _, tail = rest.partition(END)
    kept = {title: section for title, _, section in (part.partition("\n\n") for part in body.split("\n### ")[1:])}
    made = f"Made by `{command}`, {time.strftime('%Y-%m-%d')}, on {_versions()}.\n\n"
    kept |= {title: made + section for title, section in sections.items()}
    whole = "".join(f"\n### {title}\n\n{section.strip()}\n" for title, section in kept.items())
    target.write_text(f"{head}{BEGIN}\n{whole}\n{END}{tail}")
