"""`veneer build`: what it prints, the files it writes, its exit codes; a real process where signals matter."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Veneer
from tests.support.leaks import children
from veneer.testing.images import directory, docker_archive, image

FILE = b"FROM base:1\nARG V=1\nWORKDIR /w\nLABEL v=$V\n"


@pytest.fixture
def based(veneer: Veneer, tmp_path: Path) -> Veneer:
    """A store with base:1, which has no programs in it."""
    archive = tmp_path / "base.tar"
    archive.write_bytes(docker_archive((image({"etc": directory(), "etc/x": b"x"}), ["base:1"])))
    assert veneer("load", "-i", str(archive)).code == 0
    return veneer


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "Dockerfile").write_bytes(FILE)
    return folder


def test_the_ids_and_the_metadata_are_written_where_asked(based: Veneer, context: Path, tmp_path: Path) -> None:
    iid, meta = tmp_path / "iid", tmp_path / "meta.json"
    answer = based("build", "-q", "-t", "x:1", "--iidfile", str(iid), "--metadata-file", str(meta), str(context))
    assert (answer.code, answer.err) == (0, "")
    shown = json.loads(based("inspect", "x:1").text)[0]
    assert iid.read_text() == answer.text.strip() == shown["Id"]
    found = json.loads(meta.read_text())
    assert found["containerimage.config.digest"] == shown["Id"]
    assert found["image.name"] == "x:1"


def test_the_lines_are_the_classic_builders(based: Veneer, context: Path) -> None:
    first = based("build", "--progress", "plain", "-t", "x:1", str(context)).text
    assert first.splitlines()[0] == "Step 1/4 : FROM base:1"
    assert first.splitlines()[-1] == "Successfully tagged x:1"
    assert based("build", "--progress", "plain", str(context)).text.count(" ---> Using cache") == 3


def test_arguments_that_nobody_consumed_are_told_in_dockers_words(based: Veneer, context: Path) -> None:
    text = based("build", "--progress", "plain", "--build-arg", "NOPE=1", "--build-arg", "V=2", str(context)).text
    assert "[Warning] One or more build-args [NOPE] were not consumed\n" in text


def test_a_cache_that_is_not_there_is_told_and_of_a_quiet_build_on_standard_error(
    based: Veneer, context: Path, tmp_path: Path
) -> None:
    cache, warning = f"type=local,src={tmp_path}/none", f"[Warning] cache {tmp_path}/none cannot be used: "
    assert warning in based("build", "--progress", "plain", "--cache-from", cache, str(context)).text
    quiet = based("build", "-q", "--cache-from", cache, str(context))
    assert (quiet.code, quiet.text.count("\n"), quiet.err.startswith(warning)) == (0, 1, True)


def test_a_tar_goes_to_standard_output_and_the_progress_does_not(based: Veneer, context: Path) -> None:
    answer = based("build", "-o", "-", str(context))
    assert answer.code == 0
    listed = subprocess.run(["tar", "-t"], input=answer.out, capture_output=True, check=True).stdout.decode()
    assert listed.splitlines() == ["etc/", "etc/x", "w/"]
    assert "Step 1/4" in answer.err


def test_a_verified_build_says_so_and_another_fails_with_the_difference(based: Veneer, context: Path) -> None:
    answer = based("build", "--progress", "plain", "--verify", "-t", "x:1", str(context))
    assert answer.code == 0
    assert "Building a second time, to compare\n" in answer.text
    assert "\nVerified: the second build is the same image, " in answer.text


def test_a_dry_run_tells_how_much_is_cached(based: Veneer, context: Path) -> None:
    based("build", str(context))
    (context / "Dockerfile").write_bytes(FILE + b"LABEL more=1\n")
    answer = based("build", "--dry-run", "--progress", "plain", str(context))
    assert answer.text.endswith("3 of 4 steps are in the cache; nothing was built\n")
    assert "Would run" in answer.text


def test_a_wrong_option_is_refused_with_a_way_out(based: Veneer, context: Path) -> None:
    answer = based("build", "--platform", "linux/amd64,linux/arm64", "-o", "type=tar,dest=x.tar", str(context))
    assert answer.code == 1
    assert answer.err == (
        "Error: type=tar holds one platform, and 2 are built\n"
        "hint: use type=oci, type=local or type=registry\n"
    )  # fmt: skip


@pytest.mark.parametrize(("stages", "told", "code"), [(1, signal.SIGINT, 130), (2, signal.SIGINT, 130),
                                                      (1, signal.SIGTERM, 143)])  # fmt: skip
def test_an_interrupted_build_says_so_and_leaves_nothing_running(
    veneer: Veneer, busybox: Path, tmp_path: Path, stages: int, told: signal.Signals, code: int
) -> None:
    assert veneer("import", str(busybox), "busybox:1").code == 0
    sleeping = b"FROM busybox:1 AS %d\nRUN echo asleep; sleep 600\n"
    text = b"".join(sleeping.replace(b"%d", b"s%d" % n) for n in range(stages))
    text += b"FROM scratch\n" + b"".join(b"COPY --from=s%d / /\n" % n for n in range(stages))
    before = children()
    command = [sys.executable, "-m", "veneer", "--root", str(veneer.root), "build", "--progress", "plain", "-"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    process.stdin.write(text)
    process.stdin.close()
    asleep = 0
    while asleep < stages:
        line = process.stdout.readline()
        assert line, process.stderr.read().decode()
        asleep += line.strip().endswith(b"asleep") and b"RUN" not in line
    os.kill(process.pid, told)
    said = process.stderr.read().decode()
    process.stdout.close()
    process.stderr.close()
    assert (process.wait(), said) == (
        code,
        "Error: the build was cancelled; the steps that were done are in the cache\n",
    )
    assert children() == before
    assert list((veneer.root / "ingest").iterdir()) == []
