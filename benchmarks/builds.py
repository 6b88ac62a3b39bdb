"""A build with a large context: done anew, done again, pushed, saved; and what a RUN costs beside its command."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tarfile
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.corpus import choose
from benchmarks.journeys import Results, at, fresh, note
from benchmarks.measure import Measure, measured
from benchmarks.tools import Dockerd, Tool, Veneer
from tests.support.peers import ContainersTool
from tests.support.programs import run
from tests.support.registries import RealRegistry
from tests.support.rootfs import busybox_tar
from veneer.oci.digest import Digest

FILES = 36_000
BYTES = 900_000_000
SHARES = (0.55, 0.25, 0.15, 0.05)
"""How much of the context each COPY takes: the largest first, as dependencies come before what changes often."""
RUNS = 20
BASE = "localhost/bench/base:1"
IMAGE = "localhost/bench/built:1"


@dataclass(frozen=True)
class Context:
    """Directories to build, each with its Dockerfile: `large` (COPYs and a RUN), `runs` (RUNs alone), `none` (no RUN).

    `base` is the archive of the image all of them begin with, `rootfs` its files.
    """

    large: Path
    runs: Path
    none: Path
    base: Path
    rootfs: Path
    files: int
    bytes: int


def _copy_part(target: Path, paths: Sequence[str]) -> None:
    target.mkdir(parents=True)
    names = target.with_suffix(".list")
    names.write_bytes(b"\0".join(os.fsencode(path[1:]) for path in paths))
    run("bash", "-o", "pipefail", "-c", 'tar --create --hard-dereference --directory / --null --files-from "$0" '
        '| tar --extract --directory "$1"', names, target)  # fmt: skip
    names.unlink()


def _write_base(work: Path) -> None:
    """base.tar, a docker archive of busybox, and rootfs/, its files."""
    tar = busybox_tar(work / "busybox.tar")
    layer = tar.read_bytes()
    (work / "config.json").write_text(json.dumps({
        "architecture": "amd64", "os": "linux", "created": "2023-11-14T22:13:20Z",
        "config": {"Cmd": ["sh"], "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]},
        "history": [{"created": "2023-11-14T22:13:20Z", "created_by": "ADD busybox.tar /"}],
        "rootfs": {"type": "layers", "diff_ids": [str(Digest.of(layer))]},
    }))  # fmt: skip
    entry = {"Config": "config.json", "RepoTags": [BASE], "Layers": ["busybox.tar"]}
    (work / "manifest.json").write_text(json.dumps([entry]))
    with tarfile.open(work / "base.tar", "w") as archive:
        for name in ("config.json", "busybox.tar", "manifest.json"):
            archive.add(work / name, name)
    run("tar", "--extract", "--file", tar, "--one-top-level=rootfs", "--directory", work)


def context(work: Path, files: int = FILES, size: int = BYTES) -> Context:
    """Make the contexts in `work`, or take those made there before."""
    facts = work / "context.json"
    if not facts.exists():
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        _write_base(work)
        chosen = choose(files, size)
        total = sum(length for _, length in chosen)
        parts: list[list[str]] = [[] for _ in SHARES]
        taken, number, limit = 0, 0, SHARES[0] * total
        for path, length in chosen:
            if taken >= limit and number + 1 < len(SHARES):
                number += 1
                limit += SHARES[number] * total
            parts[number].append(path)
            taken += length
        for number, part in enumerate(parts):
            _copy_part(work / "large" / f"part-{number}", part)
        copies = "".join(f"COPY part-{number} /opt/part-{number}/\n" for number in range(len(SHARES)))
        (work / "large" / "Dockerfile").write_text(f"FROM {BASE}\n{copies}RUN find /opt -type f | wc -l > /count\n")
        for name, count in (("runs", RUNS), ("none", 0)):
            (work / name).mkdir()
            steps = "".join(f"RUN : step {number}\n" for number in range(count))
            (work / name / "Dockerfile").write_text(f"FROM {BASE}\nLABEL of={name}\n{steps}")
        facts.write_text(json.dumps({"files": len(chosen), "bytes": total}))
    known = json.loads(facts.read_text())
    return Context(work / "large", work / "runs", work / "none", work / "base.tar", work / "rootfs",
                   known["files"], known["bytes"])  # fmt: skip


class BuildTool(Tool):
    """An engine that builds Dockerfiles."""

    zstd: tuple[str, ...] | None = None
    """The words that make a push compress with zstd; None where it cannot."""

    @abstractmethod
    def build(self, folder: Path) -> Measure:
        """Build what is in `folder` as IMAGE, with its cache, without a network."""

    def push_as(self, target: str, *words: str) -> Measure:
        self.do("tag", IMAGE, target)
        return self.do("push", *words, target)


class VeneerBuild(Veneer, BuildTool):
    zstd = ("--compression", "zstd")

    def build(self, folder: Path) -> Measure:
        return self.do("build", "--quiet", "--network", "none", "--tag", IMAGE, folder)


class ClassicBuild(Dockerd, BuildTool):
    name = "docker classic"
    buildkit = "0"

    def command(self, *words: str | Path) -> tuple[list[str], dict[str, str] | None]:
        line, env = super().command(*words)
        return line, {**(env or {}), "DOCKER_BUILDKIT": self.buildkit}

    def build(self, folder: Path) -> Measure:
        return self.do("build", "--quiet", "--network", "none", "--tag", IMAGE, folder)


class BuildKitBuild(ClassicBuild):
    name = "docker BuildKit"
    buildkit = "1"


class BuildahBuild(BuildTool):
    name = "buildah"
    zstd = ("--compression-format", "zstd")

    @classmethod
    def missing(cls) -> str:
        return "" if shutil.which("buildah") else "buildah is not installed"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._buildah = ContainersTool("buildah", folder)

    def command(self, *words: str | Path) -> tuple[list[str], dict[str, str] | None]:
        return self._buildah.command(*words)

    def load(self, archive: Path) -> Measure:
        return self.do("pull", "--quiet", f"docker-archive:{archive}")

    def build(self, folder: Path) -> Measure:
        return self.do("build", "--quiet", "--layers", "--network", "none", "--runtime", "runc", "--tag", IMAGE, folder)

    def push_as(self, target: str, *words: str) -> Measure:
        return self.do("push", "--quiet", "--tls-verify=false", *words, IMAGE, f"docker://{target}")

    def save(self, name: str, out: Path) -> Measure:
        return self.do("push", "--quiet", name, f"docker-archive:{out}:{name}")

    def close(self) -> None:
        self._buildah.stop()


TOOLS: tuple[type[BuildTool], ...] = (VeneerBuild, ClassicBuild, BuildKitBuild, BuildahBuild)
OPERATIONS = ("build", "build again", "push gzip", "push zstd", "save", "20 RUNs", "no RUN")
_AGAIN = 3


@dataclass
class Builds:
    """What was measured; `sizes` are the bytes of the blobs each push left in an empty registry."""

    results: Results
    sizes: dict[tuple[str, str], int]


def builds(work: Path, made: Context, tools: Sequence[type[BuildTool]], rounds: int) -> Builds:
    """Measure every operation of every tool `rounds` times; the tools alternate and each starts a round in turn."""
    taken = Builds({}, {})
    for number in range(rounds):
        print(f"builds, round {number + 1} of {rounds}", file=sys.stderr, flush=True)
        _read(made.large)
        turn = number % len(tools)
        for tool in (*tools[turn:], *tools[:turn]):
            _round(work, made, tool, taken)
        note(taken.results, "runc alone", "runc", _bare(work, made))
    return taken


def _read(folder: Path) -> None:
    """Have the context in memory, so that whoever builds it first does not pay for the disk alone."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.read_bytes()


def _round(work: Path, made: Context, tool: type[BuildTool], taken: Builds) -> None:
    with fresh(work) as folder, at(tool, folder) as engine:
        engine.load(made.base)
        os.sync()
        note(taken.results, "build", tool.name, engine.build(made.large))
        for _ in range(_AGAIN):
            note(taken.results, "build again", tool.name, engine.build(made.large))
        for operation, words in (("push gzip", ()), ("push zstd", engine.zstd)):
            if words is None:
                continue
            target = RealRegistry.start(work / "target")
            try:
                os.sync()
                note(taken.results, operation, tool.name, engine.push_as(f"{target.host}/bench/built:1", *words))
                taken.sizes[operation, tool.name] = _blobs(work / "target")
            finally:
                target.stop()
                shutil.rmtree(work / "target")
        os.sync()
        note(taken.results, "save", tool.name, engine.save(IMAGE, folder / "saved.tar"))
        for operation, which in (("no RUN", made.none), ("20 RUNs", made.runs)):
            note(taken.results, operation, tool.name, engine.build(which))


def _blobs(folder: Path) -> int:
    """The bytes of a registry's blobs."""
    return sum(path.stat().st_size for path in folder.rglob("data") if "blobs" in path.parts)


def _bare(work: Path, made: Context) -> Measure:
    """The same commands by runc alone, one after the other, in a root file system that is simply there."""
    bundle = work / "bundle"
    bundle.mkdir(exist_ok=True)
    run("runc", "spec", "--bundle", bundle)
    settings = json.loads((bundle / "config.json").read_text())
    settings["root"] = {"path": str(made.rootfs), "readonly": False}
    settings["process"] |= {"terminal": False, "args": ["/bin/sh", "-c", ": step"]}
    (bundle / "config.json").write_text(json.dumps(settings))
    each = f"runc --root {work}/runc run --bundle {bundle} bench-$n </dev/null || exit 1"
    try:
        return measured(["bash", "-c", f"for n in $(seq {RUNS}); do {each}; done"])
    finally:
        shutil.rmtree(bundle)
        shutil.rmtree(work / "runc", ignore_errors=True)


def overheads(results: Results) -> Mapping[str, float]:
    """Milliseconds a RUN costs each tool beyond its command, by medians: what 20 of them took longer than none."""
    bare = results["runc alone", "runc"].median / RUNS
    found = {}
    for (operation, tool), series in results.items():
        if operation == "20 RUNs":
            each = (series.median - results["no RUN", tool].median) / RUNS
            found[tool] = (each - bare) * 1e3
    return found
