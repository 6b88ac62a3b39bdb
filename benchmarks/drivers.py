"""Measure the storage drivers and write the tables into docs/drivers.md.  `--help` lists what can be chosen."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import driver_sharing, driver_work, report
from benchmarks.__main__ import HOME, stopped
from benchmarks.driver_work import LOWERS, METADATA, OPERATIONS, Taken
from tests.support.loop import loop_mounted

_PARTS = ("mounts", "files", "sharing")
SIZE = 6 << 30
_INODES = 1_200_000


def mounts_table(taken: Taken) -> str:
    names = sorted({name for _, name in taken.series})
    rows = []
    for name in names:
        row = [name]
        for count in LOWERS:
            there, gone = (taken.series.get((what, name)) for what in (f"{count}", f"{count}, unmount"))
            row.append(f"{there.best * 1e3:.2f} / {there.median * 1e3:.2f} / {gone.median * 1e3:.2f}"
                       if there and gone else "-")  # fmt: skip
        rows.append(row)
    return report.table(["driver", *(f"{count} layers" for count in LOWERS)], rows)


def files_table(taken: Taken, columns: Mapping[str, str]) -> str:
    """`columns`: what each is headed, and whose measures it has."""
    rows = []
    for what in OPERATIONS:
        row = [what]
        for name in columns.values():
            series = taken.series[what, name]
            row.append(f"{series.best * 1e6:,.1f} ({series.median * 1e6:,.1f})")
        rows.append(row)
    row = [driver_work.CACHED]
    for name in columns.values():
        row.append(f"{1e-9 / taken.best(driver_work.CACHED, name):.1f}")
    return report.table(["microseconds", *columns], [*rows, row])


def work_section(worked: Taken, names: Sequence[str]) -> str:
    served = {name: name for name in names if name in driver_work.SERVED}
    alone = {name: driver_work.on_one_core(name) if name in served else name for name in names}
    text = f"Best (median); 2,000 files of 4 KiB on two layers{_ALONE if served else ''}:\n\n"
    text += files_table(worked, alone)
    if served:
        text += "\nThe same wherever the scheduler puts the two:\n\n" + files_table(worked, served) + _CORES
    return text


_ALONE = "; where a process serves them, it and the one that asks it are on one core"
_CORES = """
What a process serves was measured twice, since on an idle machine the scheduler often puts the two on two cores.  There
each request wakes a core that sleeps and each answer wakes the other, which takes longer than the work itself (veneer's
server spares half of it by staying awake for a moment); the reference figures come from a busy machine, where no core
sleeps, so the goals are compared with what one core does.
"""


def goals_table(mounted: Taken, worked: Taken, sharing: Sharing) -> str:
    """What was wanted, what was measured (the best of the rounds), and whether that is enough."""
    rows: list[list[str]] = []

    def goal(what: str, found: float, most: float, unit: str, *, least: bool = False) -> None:
        met = found >= most if least else found <= most
        rows.append([what, f"{'at least' if least else 'at most'} {most:g} {unit}", f"{found:.2f} {unit}",
                     "met" if met else "missed"])  # fmt: skip

    def mount(name: str, count: int) -> float:
        return mounted.best(str(count), name) * 1e3

    goal("overlay2: mount of 10 layers", mount("overlay2", 10), 1, "ms")
    goal("overlay2: mount of 400 layers", mount("overlay2", 400), 10, "ms")
    more = (mount("aufs by overlay", 100) - mount("overlay2", 100)) / 100
    goal("aufs by overlay: more than overlay2, a layer without deletions", more, 0.2, "ms")
    theirs = driver_work.on_one_core(driver_work.PROGRAM)
    for ours in map(driver_work.on_one_core, driver_work.OURS):
        if ("lookup", ours) not in worked.series:
            continue
        for what, most in (("lookup", 29.0), ("open, read, close: first", 25.0), ("open, read, close: again", 25.0)):
            goal(f"{ours}: {what}", worked.best(what, ours) * 1e6, most, "µs")
        goal(f"{ours}: cached reads", 1e-9 / worked.best(driver_work.CACHED, ours), 2, "GB/s", least=True)
        if ("lookup", theirs) in worked.series:
            for what in METADATA:
                times = worked.best(what, ours) / worked.best(what, theirs)
                goal(f"{ours}: {what}, times what the program fuse-overlayfs takes", times, 1.5, "x")
    goal("erofs: mount of 1 layer", mount("erofs", 1), 1, "ms")
    goal("erofs: mount of 100 layers, times that of one", mount("erofs", 100) / mount("erofs", 1), 1.2, "x")
    goal(f"erofs: image of {driver_sharing.INODES} inodes", sharing.images[0].writing, 0.3, "s")
    taken = sharing.versions[0]
    goal(f"erofs: {driver_sharing.VERSIONS} versions of an application, part of overlay2's bytes",
         taken["erofs"] / taken["overlay2"], 0.5, "x")  # fmt: skip
    ways = list(sharing.namespaces.items())
    goal(f"a user namespace {ways[0][0]}", ways[0][1][0], 15, "ms")
    goal(f"a user namespace {ways[1][0]}", ways[1][1][0], 1, "ms")
    return report.table(["goal", "wanted", "measured", ""], rows)


class Sharing:
    """What driver_sharing measures."""

    def __init__(self, folder: Path) -> None:
        self.images = [driver_sharing.images(folder, layers) for layers in (1, 10, 100)]
        self.versions = driver_sharing.versions(folder / "versions")
        self.namespaces = driver_sharing.namespaces(folder / "user")

    def table(self) -> str:
        text = report.table(
            ["erofs: image of 9,000 inodes", "layers made and hashed, s", "image written, s", "MB"],
            [[f"in {each.layers} layers", f"{each.hashing:.2f}", f"{each.writing:.3f}", f"{each.size / 1e6:.2f}"]
             for each in self.images],
        )  # fmt: skip
        taken, files, size = self.versions
        text += "\n" + report.table(
            [f"{driver_sharing.VERSIONS} versions of {files:,} files, {size / 1e6:.0f} MB each", "MB on disk"],
            [[name, f"{used / 1e6:,.0f}"] for name, used in taken.items()],
        )
        text += "\n" + report.table(["a plain user's namespace", "best ms", "median ms"], [
            [way, f"{best:.2f}", f"{median:.2f}"] for way, (best, median) in self.namespaces.items()
        ])  # fmt: skip
        return text


def measured(folder: Path, rounds: int, parts: Sequence[str]) -> dict[str, str]:
    """The sections of the page that come of these parts."""
    some, absent = driver_work.drivers(folder)
    missing = "".join(f"\n{name} was not measured: {reason}.\n" for name, reason in absent.items())
    mounted = worked = sharing = None
    sections = {}
    if "mounts" in parts:
        print("mounts", file=sys.stderr, flush=True)
        mounted = driver_work.mounts(folder, some, rounds)
        sections["Mounts"] = (
            "Best, median, and median until it is gone again, ms:\n\n" + mounts_table(mounted) + missing
        )
    if "files" in parts:
        print("files", file=sys.stderr, flush=True)
        worked = driver_work.files(folder, some, rounds)
        sections["Work in a mount"] = work_section(worked, list(some))
    if "sharing" in parts:
        print("sharing", file=sys.stderr, flush=True)
        (folder / "sharing").mkdir()
        sharing = Sharing(folder / "sharing")
        sections["Sharing and namespaces"] = sharing.table()
    if mounted and worked and sharing:
        sections["Goals"] = goals_table(mounted, worked, sharing)
    return sections


def main() -> None:
    signal.signal(signal.SIGTERM, stopped)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drivers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="how often each is measured, in turns (9)")
    parser.add_argument("--work", type=Path, default=HOME / ".work" / "bench-drivers", help="where the file system is")
    parser.add_argument("--part", choices=_PARTS, action="append", help="measure this alone (and no goals); repeatable")
    parser.add_argument("--no-write", action="store_true", help="print only; leave docs/drivers.md alone")
    chosen = parser.parse_args()
    shutil.rmtree(chosen.work, ignore_errors=True)
    with loop_mounted(chosen.work, SIZE, options=("-N", str(_INODES), "-m", "0", "-E", "nodiscard"),
                      mount_options="loop,noinit_itable") as folder:  # fmt: skip
        sections = measured(folder, chosen.rounds, chosen.part or _PARTS)
    shutil.rmtree(chosen.work, ignore_errors=True)
    for title, text in sections.items():
        print(f"\n### {title}\n\n{text}")
    if not chosen.no_write:
        report.write(HOME / "docs" / "drivers.md", sections, "make bench-drivers")


if __name__ == "__main__":
    main()
