"""Builds killed at random moments: a cache entry is whole or absent, nothing is left, and the next build is right."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from tests.support.leaks import children, mounts_below
from veneer.config import Config
from veneer.engine.engine import Engine
from veneer.store.store import Store

pytestmark = pytest.mark.crash

DOCKERFILE = """FROM busybox:1 AS tool
WORKDIR /tool/deep
RUN for n in 1 2 3 4 5 6 7 8; do echo $n > /tool/$n; done
FROM busybox:1
ENV A=1
COPY . /app/
ADD a.tar /unpacked/
RUN cat /app/* > /all && rm -r /tmp
COPY --from=tool /tool /tool
LABEL done=yes
"""


def start(root: Path, context: Path, *options: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "veneer", "--root", str(root), "build", "-q", *options, str(context)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip


def tree(engine: Engine, name: str) -> list[tuple[object, ...]]:
    """What the image holds, without times: those are each build's own."""
    from tests.support.finished import files

    found = files(engine, engine.images.get(name))
    return [(path, node.kind, node.mode, node.uid, node.content, node.link) for path, node in found.items()]


def test_builds_killed_at_any_moment_leave_a_whole_cache_and_nothing_else(
    config: Config, busybox: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    kills = max(request.config.getoption("--kills") // 2, 3)
    context = tmp_path / "context"
    context.mkdir()
    for number in range(40):
        (context / f"file-{number}").write_bytes(bytes([number]) * 20_000)
    with tarfile.open(context / "a.tar", "w") as archive:
        archive.add(context, "a", filter=lambda member: None if member.name.endswith(".tar") else member)
    (context / "Dockerfile").write_text(DOCKERFILE)
    with Engine(config) as engine, busybox.open("rb") as tar:
        engine.images.import_(tar, reference="busybox:1")
    before = children()
    began = time.monotonic()
    with start(config.root, context, "-t", "whole:1") as process:
        said, _ = process.communicate()
    assert process.returncode == 0, said
    takes = time.monotonic() - began
    chance = random.Random(52)
    killed = 0
    for _ in range(kills * 20):
        if killed == kills:
            break
        process = start(config.root, context, "--no-cache", "-t", "victim:1")
        try:
            process.wait(chance.uniform(0.1, max(takes, 0.3)))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            killed += 1
        process.communicate()
        with Store.open(config) as store:
            assert [finding for finding in store.check(deep=False) if finding.damage] == []
    assert killed == kills
    # With the cache the killed ones left, whatever it is, the image is what it should be.
    with start(config.root, context, "-t", "after:1") as process:
        said, _ = process.communicate()
    assert process.returncode == 0, said
    with Engine(config) as engine:
        assert tree(engine, "after:1") == tree(engine, "whole:1")
        engine.store.collect()
        assert engine.system.check(deep=True) == []
        left = {path.name for folder in ("ingest", "partial", "trash") for path in (config.root / folder).iterdir()}
    assert left == set()
    assert mounts_below(config.root) == set()
    assert children() == before
