"""Containers: how long a short one takes, a command in a long one, a hundred of one image, what a thousand leave."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.journeys import Results, fresh
from benchmarks.measure import Series, measured, memory_of, tree_of
from benchmarks.tools import BridgedDockerd, Dockerd, Podman, Tool, Veneer
from tests.support.private_host import private_host
from tests.support.programs import run
from veneer.testing.images import SampleLayer, directory, docker_archive, image, layer_tar

NAME = "bench/six:1"
LAYERS = 6
MANY = 100
TOOLS: tuple[type[Tool], ...] = (Veneer, Dockerd, Podman)
COMMANDS = {
    "run --rm true, no network": ("run", "--rm", "--network", "none", NAME, "true"),
    "run --rm true, bridge": ("run", "--rm", NAME, "true"),
}


@dataclass
class Crowd:
    """A hundred containers of one image: seconds to start all; of each the bytes of disk, and of memory beside it."""

    seconds: float
    disk: float
    memory: float


@dataclass
class Growth:
    """What is there after `runs` short containers and was not before."""

    runs: int
    mounts: int
    processes: int
    cgroups: int
    disk: int
    events: int
    """Bytes of the log of events, part of `disk`: what is told of each container, cut at 4 MiB."""


@dataclass
class Containers:
    """Everything measured here."""

    results: Results = field(default_factory=dict)
    crowds: dict[str, Crowd] = field(default_factory=dict)
    growth: Growth | None = None


def archive(target: Path, busybox: Path) -> Path:
    """A docker archive of the image: busybox, and five layers that each add a file to it."""
    base = SampleLayer(busybox.read_bytes())
    above = [SampleLayer(layer_tar({"srv": directory(), f"srv/{n}": os.urandom(4096)})) for n in range(1, LAYERS)]
    made = image(base, *above, style="docker", config={"Cmd": ["sh"], "Env": ["PATH=/bin:/sbin:/usr/bin:/usr/sbin"]})
    target.write_bytes(docker_archive((made, [NAME])))
    return target


def containers(work: Path, tools: Sequence[type[Tool]], rounds: int, runs: int) -> Containers:
    """Measure; the tools take turns in each round, every one with its own warm store on one fresh ext4.

    They share a host's network of their own, where dockerd has its bridge and its rules as it does elsewhere.
    """
    made = Containers()
    busybox = work / "busybox.tar"
    run(Path(__file__).parents[1] / "scripts" / "rootfs.sh", "busybox", busybox)
    with fresh(work) as folder, private_host():
        image_file = archive(work / "six.tar", busybox)
        engines = []
        try:
            for tool in tools:
                engine = BridgedDockerd(folder) if tool is Dockerd else tool(folder)
                engines.append(engine)
                engine.fill(image_file)
            _turns(engines, rounds, made)
            for engine in engines:
                made.crowds[engine.name] = _crowd(engine, folder)
            for engine in engines:
                if isinstance(engine, Veneer):
                    made.growth = _grown(engine, folder, runs)
        finally:
            for engine in engines:
                engine.close()
    return made


def _note(made: Containers, operation: str, engine: Tool, *words: str) -> None:
    line, env = engine.command(*words)
    made.results.setdefault((operation, engine.name), Series()).taken.append(measured(line, env, memory=False))


def _turns(engines: Sequence[Tool], rounds: int, made: Containers) -> None:
    for engine in engines:
        engine.do("run", "--detach", "--name", "long", "--network", "none", NAME, "sleep", "100000", memory=False)
    for number in range(rounds):
        turn = number % len(engines)
        for operation, words in COMMANDS.items():
            for engine in (*engines[turn:], *engines[:turn]):
                if operation.endswith("bridge") and not engine.has_bridge:
                    continue
                _note(made, operation, engine, *words)
        for engine in (*engines[turn:], *engines[:turn]):
            _note(made, "exec true", engine, "exec", "long", "true")
    for engine in engines:
        engine.do("rm", "--force", "long", memory=False)
    for (operation, tool), series in made.results.items():
        print(f"  {operation:28}{tool:10}{series.median * 1e3:8.0f} ms", file=sys.stderr, flush=True)


def _crowd(engine: Tool, folder: Path) -> Crowd:
    """Start a hundred, look at them, remove them."""
    os.sync()
    disk, processes = _used(folder), _processes()
    names = [f"many-{number}" for number in range(MANY)]
    began = time.perf_counter()
    for name in names:
        engine.do("run", "--detach", "--name", name, "--network", "none", NAME, "sleep", "100000", memory=False)
    seconds = time.perf_counter() - began
    os.sync()
    grown = _used(folder) - disk
    beside = [pid for pid in _processes() - processes if _command(pid)[:2] != ["sleep", "100000"]]
    memory = sum(memory_of(pid) for pid in beside)
    engine.do("rm", "--force", *names, memory=False)
    print(f"  {MANY} containers of {engine.name}: {seconds:.1f} s", file=sys.stderr, flush=True)
    return Crowd(seconds, grown / MANY, memory / MANY)


def _grown(engine: Tool, folder: Path, runs: int) -> Growth:
    """Run many short ones, after a first one that makes what every store has."""
    words = COMMANDS["run --rm true, no network"]
    engine.do(*words, memory=False)
    os.sync()
    before = (_mounts(), len(_processes()), _cgroups(), _used(folder), _events(engine.folder))
    for number in range(runs):
        engine.do(*words, memory=False)
        if number % 100 == 99:
            print(f"  {number + 1} of {runs} short containers", file=sys.stderr, flush=True)
    os.sync()
    after = (_mounts(), len(_processes()), _cgroups(), _used(folder), _events(engine.folder))
    return Growth(runs, *(late - early for early, late in zip(before, after, strict=True)))


def _events(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.glob("veneer/events.jsonl*"))


def _used(folder: Path) -> int:
    """Bytes in use on the file system `folder` is on."""
    found = os.statvfs(folder)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def _processes() -> set[int]:
    """Every process there is, but for ours that look and the kernel's own threads."""
    mine = set(tree_of(os.getpid()))
    return {
        int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) not in mine and _command(int(name))
    }


def _command(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def _mounts() -> int:
    return len(Path("/proc/self/mountinfo").read_text().splitlines())


def _cgroups() -> int:
    return sum(len(folders) for _, folders, _ in os.walk("/sys/fs/cgroup"))
