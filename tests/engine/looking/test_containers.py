"""A container looked at: its image's layers and what it wrote, as a commit makes it, on every kind of driver."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from tests.support.built import make_image, make_layer
from tests.support.finished import loaded, row
from veneer.analysis.copies import Cause
from veneer.analysis.events import Op, history_of
from veneer.analysis.view import View
from veneer.config import Config
from veneer.drivers.mount import mounted
from veneer.engine.containers import layering
from veneer.engine.containers.creating import ContainerRequest
from veneer.engine.engine import Engine
from veneer.engine.looking import differences
from veneer.engine.looking.contents import content
from veneer.engine.looking.subject import Subject
from veneer.store import container_layer
from veneer.store.containers import Container, NoSuchContainer

pytestmark = pytest.mark.usefixtures("root_only")


@pytest.fixture(params=["overlay2", "vfs", "erofs"])
def engine(request: pytest.FixtureRequest, config: Config) -> Iterator[Engine]:
    from veneer.drivers.driver import load

    config.root.parent.mkdir(exist_ok=True)
    support = load(request.param, config.root).probe()
    if not support.usable:
        pytest.skip(support.reason)
    with Engine(config.replaced(storage_driver=request.param)) as opened:
        yield opened


def base(root: Path) -> None:
    for name in ("etc", "gone", "again/sub", "var/log"):
        (root / name).mkdir(parents=True)
    (root / "etc/motd").write_text("m" * 100)
    (root / "etc/mode").write_text("o" * 30)
    (root / "gone/a").write_text("a" * 200)
    (root / "gone/b").write_text("b" * 300)
    (root / "again/sub/old").write_text("x" * 40)
    (root / "var/log/quiet").write_text("q" * 5)


def change(root: Path) -> None:
    (root / "etc/motd").write_text("n" * 70)
    (root / "etc/mode").chmod(0o600)
    (root / "var/log/new").write_text("l" * 11)
    for name in ("gone/a", "gone/b", "again/sub/old"):
        (root / name).unlink()
    for name in ("gone", "again/sub", "again"):
        (root / name).rmdir()
    (root / "again").mkdir()  # opaque, where the driver has such a thing
    (root / "again/fresh").write_text("f" * 4)


@pytest.fixture
def container(engine: Engine, tmp_path: Path) -> Container:
    with engine.store.lease("test") as lease:
        make_image(
            engine.store, lease, [make_layer(engine.store, lease, base)], tag="base:1", config={"Cmd": ["serve"]}
        )
    made = engine.containers.create(
        ContainerRequest("base:1", {"Cmd": ["sleep", "9"], "Labels": {"who": "me"}}, name="web")
    )
    target = tmp_path / "tree"
    target.mkdir()
    with mounted(engine.store.containers.mounts(made), target):
        change(target)
    return made


def test_what_a_container_wrote_is_one_more_layer(engine: Engine, container: Container) -> None:
    before = engine.store.layers.list()
    with engine.looking.open("web", container=True) as subject:
        assert subject.name == "web" and subject.documents.where == "container"
        assert [origin.shown for origin in subject.origins][-1] == "container web"
        assert subject.config.run["Cmd"] == ["sleep", "9"] and subject.config.labels["who"] == "me"
        own = subject.account.layers[-1]
        assert (subject.account.stored, own.stored, own.total) == (675 + 115, 115, 120)
        assert own.made == subject.account.wasted == 100 + 30 + 200 + 300 + 40
        causes = {loss.path: loss.cause for loss in subject.account.losses}
        assert causes == {b"etc/motd": Cause.OVERWRITTEN, b"etc/mode": Cause.REWRITTEN, b"gone": Cause.DELETED,
                          b"again/sub": Cause.DELETED}  # fmt: skip
        view = View(subject.table, 2, 1)
        assert {line.path: line.state for line in view.level(b"") if line.state} == {
            b"again": Op.MODIFIED, b"etc": Op.MODIFIED, b"gone": Op.DELETED, b"var": Op.MODIFIED,
        }  # fmt: skip
        assert [event.op for event in history_of(subject.table, b"gone/a")] == [Op.ADDED, Op.DELETED]
        with subject_content(subject, b"var/log/new") as file:
            assert file.read() == b"l" * 11
    assert engine.store.layers.list() == before, "looking stores nothing"


def subject_content(subject: Subject, path: bytes) -> BinaryIO:
    from veneer.engine.looking.contents import content

    copies, _ = subject.table.find(path)
    return content(subject, copies[-1].layer, copies[-1].number)


def test_it_is_the_image_that_a_commit_makes(engine: Engine, container: Container) -> None:
    with engine.looking.open(container.id[:12], container=True) as subject:
        committed = layering.commit(engine, container, tag="made:1")
        with engine.looking.open("made:1") as image:
            assert image.config.image_id == committed
            assert subject.config.diff_ids == image.config.diff_ids
            assert subject.config.chain_ids == image.config.chain_ids
            assert list(differences.files(subject, image)) == []
            assert (subject.account.layers, subject.account.losses) == (image.account.layers, image.account.losses)
        with engine.looking.open("base:1") as image:
            changed = [os.fsdecode(each.path) for each in differences.files(image, subject)]
            assert "gone" in changed and "etc/mode" in changed


def test_files_are_read_whose_bytes_the_container_never_wrote(
    engine: Engine, container: Container, tmp_path: Path
) -> None:
    with mounted(engine.store.containers.mounts(container), tmp_path / "tree") as root:
        subprocess.run(["mv", root / "var/log", root / "var/kept"], check=True)
    with engine.looking.open("web", container=True) as subject:
        for path, expected in ((b"etc/mode", b"o" * 30), (b"var/kept/quiet", b"q" * 5)):
            copy = subject.table.find(path)[0][-1]
            with content(subject, copy.layer, copy.number) as file:
                assert (copy.layer, file.read()) == (1, expected)


def test_what_it_stands_on_is_its_image(engine: Engine, container: Container) -> None:
    with engine.looking.open("web", container=True) as subject:
        found = engine.looking.stands_on(subject)
        assert found is not None and found.image is not None
        assert (found.name, found.how, found.layers) == ("base:1", "container", 1)
        assert [each.shown for each in engine.looking.shared_with(subject)] == ["base:1", "-"]


def test_a_container_that_wrote_nothing_has_an_empty_layer(engine: Engine, container: Container) -> None:
    with engine.store.lease("reset") as lease:
        from veneer.store import container_layer

        container_layer.reset(engine.store, lease, container)
    with engine.looking.open("web", container=True) as subject:
        assert len(subject.indexes) == 2 and subject.account.layers[-1].stored == 0
        assert subject.account.wasted == 0
    with pytest.raises(NoSuchContainer), engine.looking.open("nosuch", container=True):
        pass


def test_a_container_outlives_its_image(engine: Engine, container: Container) -> None:
    engine.images.remove("base:1", force=True)
    with engine.looking.open("web", container=True) as subject:
        first, own = (each.shown for each in subject.origins)
        assert first == "(no row of the history tells of this layer)" and own == "container web"
        assert len(subject.indexes) == 2
        assert subject.account.stored == 790
        found = engine.looking.stands_on(subject)
        assert found is not None and found.image is None


def test_a_container_is_looked_at_where_there_is_no_place_for_temporary_files(
    engine: Engine, container: Container, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with engine.looking.open("web", container=True) as subject:
        assert subject.account.stored == 790
    assert (container_layer.ADDED, b"/var/log/new") in [
        (each.kind, each.path) for each in container_layer.changes(engine.store, container)
    ]


def test_of_a_short_history_only_the_containers_own_layer_is_told(engine: Engine) -> None:
    loaded(engine, "short:1", {"a": b"1"}, {"b": b"2"}, history=(row("COPY b"),))
    engine.containers.create(ContainerRequest("short:1", {"Cmd": ["x"]}, name="web"))
    unknown = "(no row of the history tells of this layer)"
    with engine.looking.open("web", container=True) as subject:
        assert [each.shown for each in subject.origins] == [unknown, unknown, "container web"]
        assert [each.raw for each in subject.unplaced] == ["COPY b"]
    stack = layering.layers(engine, engine.containers.get("web"))
    assert [each.created_by for each in stack if each.kind == "image"] == ["", ""]
    loaded(engine, "silent:1", {"a": b"1"}, history=())
    engine.containers.create(ContainerRequest("silent:1", {"Cmd": ["x"]}, name="box"))
    with engine.looking.open("box", container=True) as subject:
        told = engine.looking.dockerfile(subject)
    assert (told.base, told.lines[0].comment[0], told.lines[0].layer) == ("silent:1", "container box", 2)
