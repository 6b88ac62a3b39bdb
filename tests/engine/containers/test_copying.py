"""Files in and out of a container: docker's rules for names, and nobody led out of the root."""

from __future__ import annotations

import contextlib
import io
import os
import tarfile
import threading
from pathlib import Path

import pytest

from tests.support.built import make_image, make_layer
from veneer.engine.containers import copying
from veneer.engine.containers.copying import CannotCopy, NoSuchDirectory, NoSuchPath
from veneer.engine.containers.creating import ContainerRequest
from veneer.engine.engine import Engine
from veneer.store.containers import Container

pytestmark = pytest.mark.usefixtures("root_only")


@pytest.fixture
def container(engine: Engine) -> Container:
    """One with /f, /d/x, /l -> /d, /out -> /etc, a full volume at /v, a read-only one at /r."""

    def fill(root: Path) -> None:
        (root / "d").mkdir()
        (root / "d/x").write_text("x")
        (root / "f").write_text("f")
        (root / "l").symlink_to("/d")
        (root / "out").symlink_to("/etc")
        (root / "deep/er").mkdir(parents=True)
        (root / "deep/er/up").symlink_to("../../../..")
        os.chown(root / "f", 12, 34)

    with engine.store.lease("test") as lease:
        make_image(engine.store, lease, [make_layer(engine.store, lease, fill)], tag="base:1", config={"Cmd": ["sh"]})
    return engine.containers.create(ContainerRequest("base:1", host_config={"Binds": ["vol:/v", "vol:/r:ro"]}))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a, dir/b, a link to a, and an empty out/."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").write_text("a")
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir/b").write_text("b")
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "out").mkdir()
    return tmp_path


def put(engine: Engine, container: Container, source: str, path: str, *, follow: bool = False) -> None:
    with copying.container_side(engine, container, "c", path) as (inside, inner), copying.host_side() as host:
        copying.copy(host, source, inside, inner, follow=follow, own=None)


def get(engine: Engine, container: Container, path: str, target: str, *, archive: bool = False) -> None:
    with copying.container_side(engine, container, "c", path) as (inside, inner), copying.host_side() as host:
        copying.copy(inside, inner, host, target, own=None if archive else (os.geteuid(), os.getegid()))


def tree(engine: Engine, container: Container, path: str) -> dict[str, str]:
    """Names below a path, with a link's target or a file's content."""
    out = io.BytesIO()
    with copying.container_side(engine, container, "c", path) as (inside, inner):
        copying.tar_out(inside, inner, out)
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as tar:
        found = {}
        for member in tar:
            file = tar.extractfile(member) if member.isfile() else None
            found[member.name] = file.read().decode() if file else member.linkname
        return found


@pytest.mark.parametrize(
    ("source", "path", "found"),
    [
        ("a", "/d", {"d": "", "d/a": "a", "d/x": "x"}),
        ("a", "/d/new", {"d": "", "d/new": "a", "d/x": "x"}),
        ("a", "/l/new", {"d": "", "d/new": "a", "d/x": "x"}),
        ("a", "/d/x", {"d": "", "d/x": "a"}),
        ("dir", "/d", {"d": "", "d/dir": "", "d/dir/b": "b", "d/x": "x"}),
        ("dir/.", "/d", {"d": "", "d/b": "b", "d/x": "x"}),
        ("dir", "/d/new", {"d": "", "d/new": "", "d/new/b": "b", "d/x": "x"}),
        ("link", "/d", {"d": "", "d/link": "a", "d/x": "x"}),
    ],
)
def test_where_things_go(
    engine: Engine, container: Container, here: Path, source: str, path: str, found: dict[str, str]
) -> None:
    put(engine, container, source, path)
    assert tree(engine, container, "/d") == found


def test_links_are_copied_as_links_unless_followed(engine: Engine, container: Container, here: Path) -> None:
    put(engine, container, "link", "/d/one")
    put(engine, container, "link", "/d/two", follow=True)
    get(engine, container, "/d/one", "out/")
    get(engine, container, "/d/two", "out/")
    assert (here / "out/one").is_symlink() and (here / "out/two").read_text() == "a"
    assert not (here / "out/two").is_symlink()


def test_what_comes_out_belongs_to_who_asked_unless_archived(engine: Engine, container: Container, here: Path) -> None:
    get(engine, container, "/f", "out/f")
    get(engine, container, "/f", "out/g", archive=True)
    assert ((here / "out/f").stat().st_uid, (here / "out/g").stat().st_uid) == (os.geteuid(), 12)


def test_a_volume_is_copied_to_and_from_and_a_read_only_one_is_not_written(
    engine: Engine, container: Container, here: Path
) -> None:
    put(engine, container, "a", "/v/sub")
    assert (engine.store.volumes.directory("vol") / "sub").read_text() == "a"
    get(engine, container, "/r/sub", "out")
    assert (here / "out/sub").read_text() == "a"
    assert refusal(engine, container, "/r/x") == "mounted volume is marked read-only"
    assert refusal(engine, container, "/v/x") == refusal(engine, container, "/d/x") == ""


def refusal(engine: Engine, container: Container, path: str) -> str:
    with copying.container_side(engine, container, "c", path) as (inside, _):
        try:
            copying.check_writable(inside)
        except CannotCopy as error:
            return error.message
    return ""


def test_links_lead_into_what_is_mounted(engine: Engine, container: Container, here: Path) -> None:
    """/l is a link to /d: the volumes are at /d/v and /d/r, and one in the other."""
    binds = ["one:/l/v", "two:/d/r:ro", "three:/l/v/in"]
    made = engine.containers.create(ContainerRequest("base:1", host_config={"Binds": binds}))
    put(engine, made, "a", "/d/v/x")
    put(engine, made, "a", "/l/v/y")
    put(engine, made, "a", "/deep/er/up/l/v/in/z")
    one, three = (engine.store.volumes.directory(name) for name in ("one", "three"))
    assert {path.name for path in one.iterdir()} == {"x", "y"} and [path.name for path in three.iterdir()] == ["z"]
    get(engine, made, "/l/v/in/z", "out")
    assert (here / "out/z").read_text() == "a"
    with pytest.raises(NoSuchPath, match="No such container:path: c:/l/v/none"):
        get(engine, made, "/d/v/none", "out")
    assert refusal(engine, made, "/l/r/x") == "mounted volume is marked read-only"
    assert refusal(engine, made, "/l/x") == ""
    assert tree(engine, made, "/d") == {"d": "", "d/x": "x", "d/v": "", "d/v/x": "a", "d/v/y": "a", "d/r": ""}
    layer = engine.store.containers.driver(made).directory(made.rw)
    assert os.listdir(layer / "d/v") == [], "nothing has gone under a mount"


def test_a_link_to_what_is_mounted_is_one_itself(engine: Engine, container: Container, here: Path) -> None:
    made = engine.containers.create(ContainerRequest("base:1", host_config={"Binds": ["vol:/d"]}))
    for follow in (True, False):
        with (
            copying.container_side(engine, made, "c", "/l", follow=follow) as (inside, inner),
            copying.host_side() as host,
        ):
            copying.copy(inside, inner, host, f"out/{follow}", follow=follow, own=None)
    assert (here / "out/True").is_dir() and os.readlink(here / "out/False") == "/d"


def test_of_a_part_of_a_volume_it_is_that_part(engine: Engine, container: Container, here: Path) -> None:
    volume = engine.store.volumes.directory("vol")
    (volume / "part").mkdir()
    (volume / "part/inner").write_text("inner")
    (volume / "out").symlink_to("/etc")

    def holding(part: str) -> Container:
        mount = {"Type": "volume", "Source": "vol", "Target": "/p", "VolumeOptions": {"Subpath": part}}
        return engine.containers.create(ContainerRequest("base:1", host_config={"Mounts": [mount]}))

    one = holding("part")
    get(engine, one, "/p/inner", "out")
    put(engine, one, "a", "/p/new")
    assert (here / "out/inner").read_text() == "inner" and (volume / "part/new").read_text() == "a"
    with pytest.raises(NoSuchPath, match="cannot open out of the volume at /p"):
        get(engine, holding("out"), "/p/passwd", "out")


@pytest.mark.parametrize(
    ("source", "path", "error", "said"),
    [
        ("none", "/d", NoSuchPath, "lstat none: no such file or directory"),
        ("a", "/none/x", NoSuchPath, "No such container:path: c:/none"),
        ("a", "/none/", NoSuchDirectory, "no such directory"),
        ("dir", "/f", CannotCopy, "cannot copy directory"),
    ],
)
def test_what_cannot_be_is_said(
    engine: Engine, container: Container, here: Path, source: str, path: str, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        put(engine, container, source, path)


def test_a_directory_is_not_put_over_a_file_of_its_name(engine: Engine, container: Container, here: Path) -> None:
    (here / "d").mkdir()
    (here / "d/x").mkdir()
    with pytest.raises(CannotCopy, match='cannot overwrite non-directory "x" with directory'):
        put(engine, container, "d/.", "/d")
    assert tree(engine, container, "/d") == {"d": "", "d/x": "x"}, "nothing half done is left"


def test_an_archive_goes_into_a_directory_alone(engine: Engine, container: Container) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        member = tarfile.TarInfo("new/file")
        member.size = 3
        tar.addfile(member, io.BytesIO(b"abc"))
    with copying.container_side(engine, container, "c", "/d") as (inside, inner):
        copying.tar_in(inside, inner, io.BytesIO(made.getvalue()))
    assert tree(engine, container, "/d")["d/new/file"] == "abc"
    with (
        copying.container_side(engine, container, "c", "/f") as (inside, inner),
        pytest.raises(CannotCopy, match="must be a directory"),
    ):
        copying.tar_in(inside, inner, io.BytesIO(made.getvalue()))


def test_links_lead_nowhere_but_into_the_container(engine: Engine, container: Container, here: Path) -> None:
    put(engine, container, "a", "/out/planted")
    assert not Path("/etc/planted").exists()
    assert "etc/planted" in tree(engine, container, "/etc")


def test_a_link_that_leads_upwards_ends_at_the_root(engine: Engine, container: Container, here: Path) -> None:
    get(engine, container, "/deep/er/up/f", "out")
    assert (here / "out/f").read_text() == "f"
    put(engine, container, "a", "/deep/er/up/new")
    assert tree(engine, container, "/new") == {"new": "a"}


def test_whoever_flips_links_meanwhile_leads_nobody_out(engine: Engine, container: Container, here: Path) -> None:
    """A volume whose directory is by turns a directory and a link to the host's canary."""
    canary = here / "canary"
    canary.mkdir()
    (canary / "secret").write_text("the host's")
    volume = engine.store.volumes.directory("vol")
    (volume / "real").mkdir()
    (volume / "real/secret").write_text("the volume's")
    stop = threading.Event()

    def flip() -> None:
        while not stop.is_set():
            (volume / "way").symlink_to("real")
            (volume / "way").unlink()
            (volume / "way").symlink_to(canary)
            (volume / "way").unlink()

    thread = threading.Thread(target=flip)
    thread.start()
    try:
        for number in range(150):
            with contextlib.suppress(NoSuchPath, NoSuchDirectory, CannotCopy):
                put(engine, container, "a", f"/v/way/n{number}")
            with contextlib.suppress(NoSuchPath, NoSuchDirectory, CannotCopy):
                get(engine, container, "/v/way/secret", "out/")
                assert (here / "out/secret").read_text() == "the volume's"
    finally:
        stop.set()
        thread.join()
    assert sorted(os.listdir(canary)) == ["secret"]


def test_what_is_above_a_volume_is_copied_with_it_and_into_it(engine: Engine, here: Path) -> None:
    """At /d is a volume, in it a directory of the host; and at /ro, which hides what the image has there, a volume."""

    def fill(root: Path) -> None:
        (root / "d").mkdir()
        (root / "ro").mkdir()
        (root / "ro/hidden").touch()

    with engine.store.lease("test") as lease:
        make_image(engine.store, lease, [make_layer(engine.store, lease, fill)], tag="above:1", config={"Cmd": ["sh"]})
    bound = here / "bound"
    bound.mkdir()
    (bound / "of-host").write_text("h")
    vol = engine.store.volumes.directory(engine.store.volumes.create("vol").name)
    (vol / "in").mkdir()
    (vol / "v").write_text("v")
    other = engine.store.volumes.directory(engine.store.volumes.create("other").name)
    (other / "o").write_text("o")
    binds = ["vol:/d", f"{bound}:/d/in", "other:/ro:ro", "late:/place/made"]
    container = engine.containers.create(ContainerRequest("above:1", host_config={"Binds": binds}))
    found = tree(engine, container, "/.")
    assert found["./d/v"] == "v" and found["./d/in/of-host"] == "h" and found["./ro/o"] == "o"
    assert "./ro/hidden" not in found
    assert tree(engine, container, "/d")["d/in/of-host"] == "h"
    get(engine, container, "/d", "out")
    assert (here / "out/d/in/of-host").read_text() == "h"
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(here / "a", "d/in/new")
        tar.add(here / "a", "place/made/new")
    archive.seek(0)
    with copying.container_side(engine, container, "c", "/") as (inside, inner):
        copying.tar_in(inside, inner, archive)
    assert (bound / "new").read_text() == "a" and not (vol / "in/new").exists()
    assert os.listdir(engine.store.volumes.directory("late")) == ["new"], "though the image has no place for it"
    assert tree(engine, container, "/place") == {"place": "", "place/made": "", "place/made/new": "a"}
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(here / "a", "ro/new")
    archive.seek(0)
    with (
        copying.container_side(engine, container, "c", "/") as (inside, inner),
        pytest.raises(CannotCopy, match=r"^cannot write new: read-only"),
    ):
        copying.tar_in(inside, inner, archive)
    assert os.listdir(other) == ["o"]
    folder = engine.store.containers.folder(container.id)
    assert not list(folder.glob("view*")) and str(folder) not in Path("/proc/self/mountinfo").read_text()
