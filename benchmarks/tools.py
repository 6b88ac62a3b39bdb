"""The tools measured, each as the command lines of its operations on a store in one folder."""

from __future__ import annotations

import resource
import shlex
import shutil
import sys
from abc import ABC, abstractmethod
from pathlib import Path

from benchmarks.corpus import Corpus
from benchmarks.measure import Measure, measured
from tests.support.peers import ContainersTool, Docker
from tests.support.programs import VENEER, run


class Tool(ABC):
    """One engine with its store in `folder`."""

    name: str
    most_images = 1_000_000_000
    """How many images its store can be filled with in bearable time."""
    operations: tuple[str, ...] = ("pull", "push", "save", "load", "images", "history", "inspect")
    has_bridge = True
    """Whether its containers can have a bridge network here."""

    @classmethod
    def missing(cls) -> str:
        """Why it cannot be measured here; "" if it can."""
        return ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def command(self, *words: str | Path) -> tuple[list[str], dict[str, str] | None]:
        """The command line and environment of one call."""

    def pids(self) -> list[int]:
        """Processes beside the command whose memory belongs to the operation."""
        return []

    def do(self, *words: str | Path, memory: bool = True) -> Measure:
        line, env = self.command(*words)
        return measured(line, env, also=self.pids(), memory=memory)

    def pull(self, name: str) -> Measure:
        return self.do("pull", "--quiet", name)

    def push(self, name: str, target: str) -> Measure:
        self.do("tag", name, target)
        return self.do("push", "--quiet", target)

    def save(self, name: str, out: Path) -> Measure:
        return self.do("save", "--output", out, name)

    def load(self, archive: Path) -> Measure:
        return self.do("load", "--quiet", "--input", archive)

    def fill(self, archive: Path) -> None:
        """Load many images, unmeasured."""
        self.load(archive)

    def close(self) -> None:
        return None


class Veneer(Tool):
    name = "veneer"

    def fill(self, archive: Path) -> None:
        self.do("--durability", "none", "load", "--quiet", "--input", archive)

    def command(self, *words: str | Path) -> tuple[list[str], dict[str, str] | None]:
        return [str(VENEER), "--root", str(self.folder / "veneer"), *map(str, words)], None

    def close(self) -> None:
        """End the containers of a measurement that broke off."""
        line, _ = self.command("ps", "--all", "--quiet")
        if left := run(*line).out.split():
            self.do("rm", "--force", *left, memory=False)


class Dockerd(Tool):
    name = "docker"
    network = False
    """Whether it makes its bridge and its rules, on the network of whoever begins it."""

    @classmethod
    def missing(cls) -> str:
        return "" if shutil.which("dockerd") else "dockerd is not installed"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._docker = Docker(folder, network=self.network)

    def command(self, *words: str | Path) -> tuple[list[str], dict[str, str] | None]:
        return self._docker.command(*words)

    def pids(self) -> list[int]:
        return [self._docker.pid]

    def close(self) -> None:
        line, env = self.command("ps", "--all", "--quiet")
        if left := run(*line, env=env).out.split():
            self.do("rm", "--force", *left, memory=False)
        self._docker.stop()


class BridgedDockerd(Dockerd):
    network = True


PODMAN_PLAIN = ("--tls-verify=false",)
PODMAN_RUN = (f"--ulimit=nofile={resource.getrlimit(resource.RLIMIT_NOFILE)[1]}", "--ulimit=nproc=4096")
"""Podman raises these limits by default, which not every root may."""


class Podman(Tool):
    name = "podman"
    has_bridge = False  # Debian's needs CNI plugins that are in no package it asks for
    most_images = 200  # each image loaded takes longer than the one before: a thousand take over ten minutes

    @classmethod
    def missing(cls) -> str:
        return "" if shutil.which("podman") else "podman is not installed"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._podman = ContainersTool("podman", folder)

    def command(self, *words: str | Path) -> tuple[list[str], dict[str, str] | None]:
        more = {"pull": PODMAN_PLAIN, "push": PODMAN_PLAIN, "run": PODMAN_RUN}.get(str(words[0]), ())
        # crun, its default, may refuse the machine's control groups; runc is what docker and veneer use then.
        runtime = ["--runtime", "runc"] if words[0] in ("run", "exec") else []
        return self._podman.command(*runtime, words[0], *more, *words[1:])

    def close(self) -> None:
        self._podman("rm", "--all", "--force")
        self._podman.stop()


class Floor(Tool):
    """What no engine can go below: curl, igzip and GNU tar, two layers at a time; nothing checked, nothing kept."""

    name = "floor"
    operations = ("pull",)
    corpus: Corpus

    @classmethod
    def missing(cls) -> str:
        return "" if shutil.which("curl") else "curl is not installed"

    def command(self, *words: str | Path) -> tuple[list[str], dict[str, str] | None]:
        gunzip = "igzip -dc" if shutil.which("igzip") else f"{shlex.quote(sys.executable)} -m isal.igzip -dc"
        folder = shlex.quote(f"{self.folder}/floor")
        one = f"mkdir -p {folder}/$0 && curl -sSf $1 | {gunzip} | tar -x --numeric-owner -C {folder}/$0"
        host, _, repository = str(words[-1]).rpartition(":")[0].partition("/")
        layers = [layer.digest for layer in self.corpus.manifest.layers]
        lines = [shlex.quote(f"{digest.hex} http://{host}/v2/{repository}/blobs/{digest}") for digest in layers]
        each = f"xargs -P 2 -L 1 bash -o pipefail -c {shlex.quote(one)}"
        script = f"printf '%s\\n' {' '.join(lines)} | {each}"
        return ["bash", "-o", "pipefail", "-c", script], None


TOOLS: tuple[type[Tool], ...] = (Veneer, Dockerd, Podman, Floor)
