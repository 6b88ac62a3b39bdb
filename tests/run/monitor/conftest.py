"""A tree with programs, and containers of it with their monitors, without a store."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.programs import needs
from veneer.drivers.mount import Mount
from veneer.run.monitor import client, groups, state
from veneer.run.monitor.launch import Launch
from veneer.run.monitor.mounts import told
from veneer.run.monitor.stream import Ended, Stream, Streams
from veneer.run.runtime import choose

PATIENCE_SECONDS = 60.0


def until(true: Callable[[], Any], what: str = "") -> Any:
    """Look again and again until it is so; what it gave."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := true()):
        assert time.monotonic() < deadline, what or "it has taken too long"
        time.sleep(0.005)
    return found


class Box:
    """One container: its folder, and what to do with it."""

    def __init__(self, root: Path, mounts: list[Mount], runtime: dict[str, str]) -> None:
        self.id = os.urandom(32).hex()
        self.root = root
        self.folder = root / "containers" / self.id
        self.folder.mkdir(parents=True, mode=0o700)
        self.config: dict[str, Any] = {"Env": ["PATH=/bin:/usr/bin:/sbin"], "Hostname": "box", "User": ""}
        self.host_config: dict[str, Any] = {}
        self.job: dict[str, Any] = {
            "id": self.id, "name": "box", "root": str(root), "folder": str(self.folder), "image": "sha256:" + "0" * 64,
            "image_name": "busybox", "labels": {"l": "1"}, "args": [], "mounts": [told(each) for each in mounts],
            "document": {"Config": self.config, "HostConfig": self.host_config}, "runtime": runtime,
        }  # fmt: skip

    def start(self, *words: str, attach: Streams | None = None, **job: Any) -> Stream | None:
        """Start it."""
        with Launch() as launch:
            return launch.start({**self.job, "args": list(words), **job}, attach=attach)

    def attached(self, *words: str, stdin: bool = False, **job: Any) -> Stream:
        """Start it; its streams."""
        stream = self.start(*words, attach=Streams(stdin, True, True), **job)
        assert stream is not None
        return stream

    def run(self, *words: str, stdin: bytes | None = None, **job: Any) -> tuple[int, bytes, bytes]:
        """Run it to its end: exit code, output, errors."""
        if stdin is not None:
            self.config |= {"OpenStdin": True, "StdinOnce": True}
        with self.attached(*words, stdin=stdin is not None, **job) as stream:
            return talk(stream, stdin)

    @property
    def client(self) -> client.Client:
        return client.connect(self.folder)

    @property
    def state(self) -> state.State:
        return state.read(self.folder)

    def exec(self, *words: str, stdin: bytes | None = None, **request: Any) -> tuple[int, bytes, bytes]:
        asked = {"Cmd": list(words), "AttachStdout": True, "AttachStderr": True, "AttachStdin": stdin is not None}
        with self.client.exec(asked | request) as stream:
            return talk(stream, stdin)

    def end(self) -> None:
        """Kill it, if it lives, and wait until its monitor has gone."""
        written = state.last_written(self.folder)
        with contextlib.suppress(ProcessLookupError):
            if written.monitor:
                fd = os.pidfd_open(written.monitor)
                os.kill(written.monitor, 9)
                assert select.select([fd], [], [], PATIENCE_SECONDS)[0]
                os.close(fd)
        if written.cgroup:
            groups.remove(written.cgroup)


def talk(stream: Stream, stdin: bytes | None = None) -> tuple[int, bytes, bytes]:
    """Give it all of `stdin`, and read to the end."""
    said = {1: bytearray(), 2: bytearray()}
    if stdin is not None:
        stream.write(stdin)
        stream.close_input()
    while not isinstance(found := stream.read(), Ended):
        assert found is not None
        said[found[0]] += found[1]
    return found.code, bytes(said[1]), bytes(said[2])


def lines_of(stream: Stream) -> Iterator[bytes]:
    """The lines of standard output, as they come."""
    begun = b""
    while not isinstance(found := stream.read(), Ended):
        assert found is not None
        *whole, begun = (begun + found[1]).split(b"\n")
        yield from whole


@pytest.fixture(scope="session")
def tree(busybox: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Busybox' files in a directory."""
    folder = tmp_path_factory.mktemp("tree") / "tree"
    folder.mkdir()
    subprocess.run(["tar", "--extract", "--file", busybox, "--directory", folder], check=True)
    return folder


@pytest.fixture
def box(root_only: None, tree: Path, tmp_path: Path) -> Iterator[Callable[..., Box]]:
    """Makes containers, each on a layer of its own over the tree; `runtime` is a name."""
    made: list[Box] = []

    def make(runtime: str = "") -> Box:
        chosen = choose(hiding=True)
        given = {"name": chosen.name, "path": chosen.path, "hides": chosen.hides}
        if runtime and runtime != chosen.name:
            needs(runtime)
            given = {"name": runtime, "path": f"/usr/sbin/{runtime}", "hides": ""}
        layer = tmp_path / f"layer-{len(made)}"
        for name in ("upper", "work"):
            (layer / name).mkdir(parents=True)
        (layer / "upper").chmod(0o755)
        mount = Mount.overlay([tree], upper=layer / "upper", work=layer / "work")
        found = Box(tmp_path / "a:root", [mount], given)  # a colon means something to crun, and to mount
        made.append(found)
        return found

    yield make
    for each in made:
        each.end()
