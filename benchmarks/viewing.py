"""How long the pages' server takes to answer, on synthetic images: their indexes are made, their layers are not.

Each first answer is that of a server just started, which has not looked into any image yet.
"""

from __future__ import annotations

import http.client
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.looking import SHAPES, Shape, make
from benchmarks.measure import Measure, Series, measured, memory_of
from benchmarks.report import table
from tests.support.programs import VENEER, run
from veneer.engine.engine import open_engine
from veneer.store.indexes import path as index_path
from veneer.testing.images import SampleLayer, docker_archive, image, layer_tar

TOGETHER = 12
"""Images on one page of comparison: of the first shape, all but their last layer shared."""
API = "/api/v1/images/view:1"


@dataclass(frozen=True)
class Question:
    """Requests that together are what somebody waits for; `warm`: the server has told of the image before."""

    name: str
    targets: tuple[str, ...]
    warm: bool


QUESTIONS = (
    Question("an image and its layers", (API,), False),
    Question("the page without a script", ("/i/view:1",), False),
    Question("first screen: image, map, directory", (API, f"{API}/rollup", f"{API}/tree"), False),
    Question("slider moved: map and directory", (f"{API}/rollup?at=3&since=1", f"{API}/tree?at=3&since=1"), True),
    Question("a directory opened", (f"{API}/tree?path=/usr/share",), True),
    Question("a path's history", (f"{API}/history?path=/usr/share/d0/d0/f0",), True),
    Question("waste by path", (f"{API}/waste",), True),
)
_TOGETHER = ",".join(f"view:{number + 1}" for number in range(TOGETHER))
COMPARE = Question(f"{TOGETHER} images compared", (f"/api/v1/compare?images={_TOGETHER}",), False)
Results = Mapping[tuple[str, str], Series]


def store(work: Path, shape: Shape, images: int) -> Path:
    """A store with `images` images of that shape, view:1 and so on, whose layers have the indexes of the shape."""
    folder = work / f"{shape.files}-{shape.layers}-{shape.rewritten}-{images}"
    root = folder / "store"
    if root.is_dir():
        return root
    make(shape, folder / "indexes")
    common = [SampleLayer(layer_tar({f"layer-{n}": b"x"}), "") for n in range(shape.layers - 1)]
    made = [image(*common, SampleLayer(layer_tar({f"top-{n}": b"x"}), "")) for n in range(images)]
    archive = folder / "images.tar"
    archive.write_bytes(docker_archive(*((each, [f"view:{n + 1}"]) for n, each in enumerate(made))))
    run(VENEER, "--root", folder / "half", "load", "-q", "-i", archive)
    archive.unlink()
    indexes = sorted((folder / "indexes").iterdir())
    with open_engine(folder / "half") as engine:
        for each in made:
            for diff_id, index in zip((layer.diff_id for layer in each.layers), indexes, strict=True):
                shutil.copyfile(index, index_path(engine.store, diff_id))
    (folder / "half").rename(root)
    return root


@contextmanager
def server(root: Path) -> Iterator[tuple[int, int]]:
    """The port and the process of a server just started."""
    process = subprocess.Popen([VENEER, "--root", root, "serve", "--port", "0"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r":(\d+)/$", process.stdout.readline().strip())
        assert found, "the server did not start"
        yield int(found[1]), process.pid
    finally:
        process.terminate()
        process.communicate()


def asked(port: int, targets: Sequence[str]) -> float:
    """Seconds until all is answered, one after the other on one connection, as a browser takes it: compressed."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        start = time.perf_counter()
        for target in targets:
            connection.request("GET", target, headers={"Accept-Encoding": "gzip"})
            answer = connection.getresponse()
            body = answer.read()
            assert answer.status == 200, f"{target}: {answer.status} {body[:300]!r}"
        return time.perf_counter() - start
    finally:
        connection.close()


def viewing(work: Path, rounds: int, shapes: Sequence[Shape] = SHAPES) -> Results:
    """Each question to each shape, and its report; and images compared."""
    results: dict[tuple[str, str], Series] = {}

    def measure(root: Path, what: str, question: Question) -> None:
        series = results[what, question.name] = Series()
        for _ in range(rounds):
            with server(root) as (port, pid):
                if question.warm:
                    asked(port, (API,))
                series.taken.append(Measure(asked(port, question.targets), memory_of(pid)))
        print(f"  {what}, {question.name}: {series.best * 1e3:.0f} ms", file=sys.stderr, flush=True)

    for shape in shapes:
        root = store(work / "viewing", shape, 1)
        for question in QUESTIONS:
            measure(root, shape.name, question)
        written = results[shape.name, "a report written"] = Series(
            [measured([str(VENEER), "--root", str(root), "report", "-o", str(root.parent / "report.html"), "view:1"])
             for _ in range(rounds)])  # fmt: skip
        print(f"  {shape.name}, report: {written.best * 1e3:.0f} ms", file=sys.stderr, flush=True)
    measure(store(work / "viewing", shapes[0], TOGETHER), shapes[0].name, COMPARE)
    return results


def viewing_table(results: Results) -> str:
    """Milliseconds of every question, and the server's memory after it."""
    rows = [[f"{what}: {question}", f"{series.median * 1e3:.0f}", f"{series.best * 1e3:.0f}",
             f"{series.peak / 1e6:.0f}"] for (what, question), series in results.items()]  # fmt: skip
    return table(["image: what is asked", "median ms", "best ms", "server's MB"], rows)
