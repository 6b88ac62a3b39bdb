"""What each operation of the store costs: `python benchmarks/store_operations.py [FOLDER]` prints a table.

FOLDER is where the store is made (a real disk tells more than tmpfs).  Times are medians of this machine's wall
clock; the probe line is what one fdatasync plus one directory fsync cost there, which bounds every put from below.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from veneer.config import Config
from veneer.oci.reference import Reference
from veneer.store.store import Store
from veneer.testing.images import SampleLayer, directory, image, layer_tar

PUTS = 1000


def timed(repeat: int, operation: Callable[[int], object]) -> float:
    """The median of `repeat` runs, in milliseconds."""
    times = []
    for n in range(repeat):
        begun = time.perf_counter()
        operation(n)
        times.append((time.perf_counter() - begun) * 1000)
    return statistics.median(times)


def probe(folder: Path) -> float:
    """One small file made durable, name included: what the disk asks for a put."""

    def once(n: int) -> None:
        fd = os.open(folder / f"probe-{n}", os.O_WRONLY | os.O_CREAT)
        os.write(fd, b"probe")
        os.fdatasync(fd)
        os.close(fd)
        parent = os.open(folder, os.O_RDONLY)
        os.fsync(parent)
        os.close(parent)
        os.unlink(folder / f"probe-{n}")

    return timed(50, once)


def open_in_new_process(root: Path) -> float:
    """Opening and one read in a fresh interpreter, beyond starting that interpreter."""
    script = (
        "import time; b = time.perf_counter()\n"
        "from pathlib import Path; from veneer.config import Config; from veneer.store.store import Store\n"
        f"s = Store.open(Config(root=Path({str(root)!r}))); s.catalog.setting('driver'); s.close()\n"
        "print(time.perf_counter() - b)"
    )
    runs = [subprocess.run([sys.executable, "-c", script], check=True, capture_output=True) for _ in range(9)]
    return statistics.median(float(run.stdout) for run in runs) * 1000


def measure(folder: Path) -> list[tuple[str, float]]:
    """(operation, milliseconds)"""
    config = Config(root=folder / "root", unpack_workers=2)
    rows = [("probe: fdatasync + directory fsync", probe(folder))]
    with Store.open(config) as store:
        with store.lease("bench") as lease:
            store.blobs.put(lease, b"first")
            begun = time.perf_counter()
            for n in range(PUTS):
                store.blobs.put(lease, b"document %d" % n)
            rows.append((f"put of a new document (mean of {PUTS})", (time.perf_counter() - begun) * 1000 / PUTS))
            digest = store.blobs.put(lease, b"first")
            rows.append(("put of one that is here", timed(100, lambda n: store.blobs.put(lease, b"first"))))
            rows.append(("acquire", timed(100, lambda n: store.blobs.acquire(lease, digest))))
        rows.append(("read, verified", timed(100, lambda n: store.blobs.read(digest))))

        def lease_only(n: int) -> None:
            with store.lease("empty"):
                pass

        rows.append(("lease, unused", timed(50, lease_only)))

        def durable(n: int) -> None:
            with store.catalog.transaction() as transaction:
                transaction.execute("INSERT OR REPLACE INTO setting VALUES ('bench', ?)", (str(n),))

        rows.append(("durable transaction", timed(50, durable)))
        layers = [SampleLayer(layer_tar({f"d{n}": directory(), f"d{n}/f": bytes(1000)})) for n in range(10)]
        sample = image(*layers)

        def take_in(n: int) -> None:
            with store.lease("bench") as lease:
                with store.layers.intake(lease, sample.parsed.diff_ids) as intake:
                    for position in intake.missing:
                        each = layers[position]
                        intake.feed(position, store.blobs.put(lease, each.blob), each.descriptor().media_type)
                    intake.commit()
                manifest = sample.manifest
                added = store.images.add(lease, sample.config, manifest=manifest.raw, manifest_type=manifest.media_type)
            store.images.tag(added.id, Reference.parse("bench/image:1"))

        rows.append(("image of 10 tiny layers, workers started", timed(1, take_in)))
        rows.append(("the same again, all here", timed(20, take_in)))
        top = sample.parsed.top
        assert top is not None
        rows.append(("stack of 10 layers", timed(50, lambda n: store.layers.stack(top))))
        rows.append(("index opened", timed(50, lambda n: store.layers.index(layers[0].diff_id).close())))
        rows.append((f"collect, {PUTS} blobs to go", timed(1, lambda n: store.collect())))
        rows.append(("collect, nothing to go", timed(5, lambda n: store.collect())))
        rows.append(("check, quick", timed(3, lambda n: store.check())))
    rows.append(("import and open in a new process", open_in_new_process(config.root)))
    return rows


def main() -> None:
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as folder:
        for operation, milliseconds in measure(Path(folder)):
            print(f"{operation:<45} {milliseconds:9.3f} ms")


if __name__ == "__main__":
    main()
