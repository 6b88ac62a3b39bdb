"""Measure, print the tables, write them into docs/benchmarks.md.  `--help` lists what can be chosen."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
from pathlib import Path

from benchmarks import builds, containers, report
from benchmarks.corpus import BYTES, FILES, corpus
from benchmarks.growth import growth
from benchmarks.journeys import journeys
from benchmarks.looking import looking
from benchmarks.metadata import metadata
from benchmarks.peeling import peeling, peeling_table
from benchmarks.tools import TOOLS, Tool
from benchmarks.viewing import viewing, viewing_table

HOME = Path(__file__).parents[1]


def numbers(text: str) -> list[int]:
    return [int(float(word)) for word in text.split(",") if word]


def stopped(number: int, frame: object) -> None:
    sys.exit(f"stopped by signal {number}")  # as an exception, so that every mount and server is undone


def build_section(work: Path, chosen: argparse.Namespace, wanted: list[str]) -> str:
    """Make the context, measure whoever can build and is wanted, and tell it as a table."""
    print("making the context", file=sys.stderr, flush=True)
    made = builds.context(work / f"context-{chosen.build_files}-{chosen.build_bytes}",
                          chosen.build_files, chosen.build_bytes)  # fmt: skip
    absent = {tool.name: tool.missing() for tool in builds.TOOLS if tool.missing()}
    # "docker" means both its builders.
    tools = [tool for tool in builds.TOOLS if tool.name not in absent
             and (not chosen.tools or tool.name.partition(" ")[0] in wanted)]  # fmt: skip
    loops = work / "builds"
    loops.mkdir(exist_ok=True)
    taken = builds.builds(loops, made, tools, chosen.rounds)
    shutil.rmtree(loops)
    return report.builds_table(made, taken, absent)


def main() -> None:
    signal.signal(signal.SIGTERM, stopped)
    # An installed package has its byte code; a developer's shell that forbids writing it must not be measured.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often each journey is measured (3)")
    parser.add_argument(
        "--parts",
        default="journeys,builds,containers,metadata,looking,viewing,peeling,growth",
        help="which tables (all)",
    )
    parser.add_argument("--tools", default="", help="only these, e.g. veneer,floor (all there are)")
    parser.add_argument("--work", type=Path, default=HOME / ".work" / "bench", help="where the image is made and kept")
    parser.add_argument("--files", type=int, default=FILES, help=f"files of the image ({FILES})")
    parser.add_argument("--bytes", type=int, default=BYTES, help=f"bytes of the image ({BYTES})")
    parser.add_argument("--build-files", type=int, default=builds.FILES, help=f"files of a context ({builds.FILES})")
    parser.add_argument("--build-bytes", type=int, default=builds.BYTES, help=f"bytes of a context ({builds.BYTES})")
    parser.add_argument("--runs", type=int, default=1000, help="containers run for the table of growth (1000)")
    parser.add_argument("--images", type=numbers, default=[1000, 10_000], help="images in the store (1000,10000)")
    parser.add_argument("--growth-layers", type=numbers, default=[1, 10, 100, 500])
    parser.add_argument("--growth-files", type=numbers, default=[1000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--growth-bytes", type=numbers, default=[10_000_000, 100_000_000, 1_000_000_000])
    parser.add_argument("--no-write", action="store_true", help="print only; leave docs/benchmarks.md alone")
    chosen = parser.parse_args()

    work = chosen.work / f"{chosen.files}-{chosen.bytes}"
    work.mkdir(parents=True, exist_ok=True)
    absent = {tool.name: tool.missing() for tool in TOOLS if tool.missing()}
    wanted = chosen.tools.split(",") if chosen.tools else [tool.name for tool in TOOLS]
    tools: list[type[Tool]] = [tool for tool in TOOLS if tool.name in wanted and tool.name not in absent]
    engines = [tool for tool in tools if "images" in tool.operations]

    sections: dict[str, str] = {}
    parts = chosen.parts.split(",")
    if "journeys" in parts or "looking" in parts:
        print("making the image", file=sys.stderr, flush=True)
        big = corpus(work, chosen.files, chosen.bytes)
    if "journeys" in parts:
        taken = journeys(work, big, tools, chosen.rounds)
        sections["An image in and out"] = report.journeys_table(big, taken, absent)
    if "builds" in parts:
        sections["A build with a large context"] = build_section(chosen.work, chosen, wanted)
    if "containers" in parts:
        live = [tool for tool in tools if tool in containers.TOOLS]
        taken_there = containers.containers(work, live, chosen.rounds * 5, chosen.runs)
        sections["Containers"] = report.containers_table(taken_there)
    if "metadata" in parts:
        sections["Looking at many images"] = report.metadata_table(metadata(work, engines, chosen.images))
    if "looking" in parts:
        sections["Looking into an image"] = report.looking_table(looking(chosen.work, chosen.rounds, big))
    if "viewing" in parts:
        sections["Looking with a browser"] = viewing_table(viewing(chosen.work, chosen.rounds))
    if "peeling" in parts:
        sections["Looking in a terminal"] = peeling_table(peeling(chosen.work, chosen.rounds))
    if "growth" in parts:
        points = growth(work, chosen.growth_layers, chosen.growth_files, chosen.growth_bytes)
        sections["How a pull grows"] = report.growth_table(points)
    shutil.rmtree(work / "loop", ignore_errors=True)
    for title, text in sections.items():
        print(f"\n### {title}\n\n{text}")
    if not chosen.no_write:
        report.write(HOME / "docs" / "benchmarks.md", sections, "make bench")


if __name__ == "__main__":
    main()
