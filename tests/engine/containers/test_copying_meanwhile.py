"""What else is done to a container while somebody copies from it or to it: nobody waits for ever, nothing is torn."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.containers import IMAGE, Yard, until
from tests.support.private_mounts import private_mounts
from tests.support.programs import run
from veneer.engine.containers import copying, spooling
from veneer.engine.containers.copying import CannotCopy
from veneer.engine.containers.creating import ContainerRequest
from veneer.engine.containers.leftovers import sweep
from veneer.engine.engine import Engine
from veneer.run.monitor import state
from veneer.store.containers import NoSuchContainer

pytestmark = pytest.mark.usefixtures("root_only")


@pytest.fixture
def engine(yard: Yard) -> Iterator[Engine]:
    with yard.engine() as opened:
        yield opened


def archive(name: str, content: bytes) -> bytes:
    """A tar of one file."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return made.getvalue()


def contents(side: copying.Side, path: str) -> dict[str, bytes]:
    """Of the files in what is at `path`."""
    out = io.BytesIO()
    copying.tar_out(side, path, out)
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as tar:
        return {member.name: file.read() for member in tar if member.isfile() and (file := tar.extractfile(member))}


def create(yard: Yard, *options: str | Path) -> str:
    """The id of a container that does not run, in whose /d/f is x; started, it goes on."""
    id = yard("create", "--network", "none", "--name", "box", *options, IMAGE, "sleep", "1000").out.strip()
    yard("cp", "-", "box:/", stdin=archive("d/f", b"x"))
    return id


def test_one_that_is_read_is_written_to_started_and_read_by_others(yard: Yard, engine: Engine) -> None:
    create(yard, "-v", "vol:/d/vol")
    box = engine.containers.get("box")
    for path in ("/d/f", "/d"):  # the second has a volume in its place
        with copying.container_side(engine, box, "box", path, reading=True) as (side, inner):
            assert side.is_at_rest
            yard("cp", "-", "box:/d", stdin=archive("g", b"new"))
            yard("start", "box")
            assert yard("exec", "box", "cat", "/d/g").out == "new"
            yard("stop", "-t", "0", "box")
            assert set(contents(side, inner).values()) >= {b"x"}
        with copying.container_side(engine, box, "box", path) as (side, inner):
            assert side.is_at_rest


def test_one_that_stops_before_an_archive_has_come_gets_it_and_can_be_read_meanwhile(
    yard: Yard, engine: Engine
) -> None:
    create(yard)
    yard("start", "box")
    box = engine.containers.get("box")

    class FromTheContainer(io.RawIOBase):
        """What is sent is of the container, which has stopped when it begins to come."""

        def __init__(self) -> None:
            self.sent: io.BytesIO | None = None

        def readable(self) -> bool:
            return True

        def readinto(self, into: memoryview) -> int:  # type: ignore[override]
            if self.sent is None:
                yard("stop", "-t", "0", "box")
                with copying.container_side(engine, box, "box", "/d", reading=True) as (side, inner):
                    assert side.is_at_rest
                    self.sent = io.BytesIO(archive("copy", contents(side, inner)["d/f"]))
            return self.sent.readinto(into)

    for status in ("running", "exited"):
        assert yard.status("box") == status
        spooling.tar_in(engine, box, "box", "/d", io.BufferedReader(FromTheContainer()))
        with copying.container_side(engine, box, "box", "/d", reading=True) as (side, inner):
            assert contents(side, inner) == {"d/f": b"x", "d/copy": b"x"}
        if status == "running":
            yard("start", "box")
            assert yard("exec", "box", "sh", "-c", "cat /d/copy; rm /d/copy").out == "x"
            yard("stop", "-t", "0", "box")


def test_one_that_is_removed_before_an_archive_has_come_is_said_to_be_none(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at = copying.container_side

    @contextlib.contextmanager
    def then_removed(*given: Any, **how: Any) -> Iterator[tuple[copying.Side, str]]:
        with looked_at(*given, **how) as found:
            yield found
        engine.containers.remove("first")

    class Removing(io.BytesIO):
        def read(self, *_: Any) -> bytes:
            if engine.store.containers.find("second") is not None:
                engine.containers.remove("second")
            return super().read(*_)

    for name in ("first", "second"):
        engine.containers.create(ContainerRequest(IMAGE, {"Cmd": ["x"]}, name=name))
    box = engine.containers.get("second")
    with pytest.raises(NoSuchContainer):
        spooling.tar_in(engine, box, "second", "/", Removing(archive("f", b"x")))
    box = engine.containers.get("first")
    monkeypatch.setattr(copying, "container_side", then_removed)
    with pytest.raises(NoSuchContainer, match=box.id):
        spooling.tar_in(engine, box, "first", "/", io.BytesIO(archive("f", b"x")))


def test_one_that_is_read_is_there_until_that_is_over(yard: Yard, engine: Engine) -> None:
    create(yard)
    for verb, runs in ((["reset"], False), (["rm"], False), (["rm", "-f"], True)):
        box = engine.containers.get("box")
        if runs:
            yard("start", "box")
        with copying.container_side(engine, box, "box", "/d", reading=True) as (side, inner):
            process = subprocess.Popen(yard.command("container", *verb, "box"), stdout=subprocess.DEVNULL)
            try:
                until(lambda: somebody_waits(yard))
                assert contents(side, inner) == {"d/f": b"x"}
            except BaseException:
                process.kill()
                process.wait()
                raise
        assert process.wait(60) == 0
        if verb == ["reset"]:
            assert "d/f" not in yard("export", "box").out
            yard("cp", "-", "box:/", stdin=archive("d/f", b"x"))
        elif not runs:
            create(yard)
    assert engine.containers.list() == []


def somebody_waits(yard: Yard) -> bool:
    """Whether somebody waits for one of the store's locks."""
    mark = f":{os.stat(yard.root / 'locks').st_ino} "
    return any("->" in line and mark in line for line in Path("/proc/locks").read_text().splitlines())


def test_whoever_looks_for_what_was_left_waits_for_no_reader(yard: Yard, engine: Engine) -> None:
    id = yard.run("box", "sleep", "1000", options=["--rm"])
    os.kill(state.read(yard.root / "containers" / id).monitor, signal.SIGKILL)
    until(lambda: yard.status("box") == "exited")
    with copying.container_side(engine, engine.containers.get("box"), "box", "/bin", reading=True):
        assert not sweep(engine)
    assert sweep(engine) and engine.containers.list() == []


def test_between_two_starts_it_is_the_monitors_tree_that_is_written_to(yard: Yard, engine: Engine) -> None:
    """And not that of a second mount, which would take the first one's work directory from it."""
    yard.run("box", "sh", "-c", "test -e /stop && exec sleep 1000; false", options=["--restart", "always"])
    until(lambda: yard.status("box") == "restarting")
    with copying.container_side(engine, engine.containers.get("box"), "box", "/") as (side, inner):
        assert not side.is_at_rest
        copying.tar_in(side, inner, io.BytesIO(archive("stop", b"")))
    until(lambda: yard("exec", "box", "rm", "/bin/true", check=False).code == 0)


def test_what_is_mounted_in_a_read_only_bind_is_not_written_to_from_above(
    yard: Yard, engine: Engine, tmp_path: Path
) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    with private_mounts():
        run("mount", "-t", "tmpfs", "inside", inside)
        (inside / "of-host").write_text("h")
        create(yard, "-v", f"{tmp_path}:/c:ro")
        box = engine.containers.get("box")
        yard("start", "box")
        for status in ("running", "exited"):
            assert yard.status("box") == status
            with copying.container_side(engine, box, "box", "/") as (side, inner):
                assert contents(side, "c")["c/inside/of-host"] == b"h"
                with pytest.raises(CannotCopy, match=r"^cannot write new: read-only"):
                    copying.tar_in(side, inner, io.BytesIO(archive("c/inside/new", b"")))
            yard("stop", "-t", "0", "box")
        assert os.listdir(inside) == ["of-host"]
        yard.clear()
