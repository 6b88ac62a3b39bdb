"""Two builds are compared to the byte; an image comes out as a tree, a tar, an archive or a push."""

from __future__ import annotations

import io
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.finished import loaded, row
from tests.support.programs import needs
from tests.support.registries import RealRegistry
from veneer.build import outputs
from veneer.build.events import Event, OutputProgress, unheard
from veneer.build.request import OutputSpec
from veneer.build.verify import compare
from veneer.engine.engine import Engine
from veneer.store.image import Image


def made(engine: Engine, folder: Path, *, created: str = "2024-01-01T00:00:00Z", by: str = "COPY . /") -> Image:
    return engine.images.derive(layer=folder, created_by=by, created=created)


def tree(folder: Path, *, text: str = "hello world\n", mode: int = 0o644, second: int = 1_700_000_000) -> Path:
    folder.mkdir()
    (folder / "sub").mkdir()
    file = folder / "sub" / "file"
    file.write_text(text)
    file.chmod(mode)
    for path in (file, folder / "sub"):
        os.utime(path, (second, second))
    return folder


# ---- verify


def test_equal_builds_are_the_same_image(engine: Engine, tmp_path: Path) -> None:
    one, two = made(engine, tree(tmp_path / "a")), made(engine, tree(tmp_path / "b"))
    assert one.id == two.id
    assert compare(engine.store, one, two) is None


@pytest.mark.parametrize(
    ("changed", "what", "values", "offset"),
    [
        ({"text": "hello World\n"}, "content", ("77 6f 72 6c 64 0a |world.|", "57 6f 72 6c 64 0a |World.|"), 6),
        ({"mode": 0o600}, "mode", ("0644", "0600"), None),
        ({"second": 1_700_000_001}, "mtime", ("1700000000.000000000", "1700000001.000000000"), None),
        ({"text": "longer than it was\n"}, "size", ("12", "19"), None),
    ],
)
def test_the_first_difference_is_named_to_the_byte(
    engine: Engine, tmp_path: Path, changed: dict[str, object], what: str, values: tuple[str, str], offset: int | None
) -> None:
    one = made(engine, tree(tmp_path / "a"))
    two = made(engine, tree(tmp_path / "b", **changed))  # type: ignore[arg-type]
    found = compare(engine.store, one, two)
    assert found is not None
    assert found.where == "layer 1 of 1, made by COPY . /"
    assert found.path == ("/sub" if what == "mtime" else "/sub/file")
    assert (found.what, found.offset) == (what, offset)
    assert (found.first, found.second) == values


def test_a_file_only_one_build_has_is_named(engine: Engine, tmp_path: Path) -> None:
    one = made(engine, tree(tmp_path / "a"))
    more = tree(tmp_path / "b")
    (more / "added").write_text("")
    found = compare(engine.store, one, made(engine, more))
    assert found is not None
    assert (found.path, found.what, found.first, found.second) == ("/added", "presence", "not there", "there")


def test_on_a_base_that_does_not_tell_its_layers_the_step_is_still_the_right_one(
    engine: Engine, tmp_path: Path
) -> None:
    loaded(engine, "few:1", {"a": b"a"}, {"b": b"b"}, history=[row("COPY b")])
    steps = []
    for text in ("one", "two"):
        below = engine.images.derive("few:1", layer=tree(tmp_path / text, text=text), created_by=f"RUN {text}")
        steps.append(engine.images.derive(below, created_by="USER me", run={"User": "me"}))
    found = compare(engine.store, *steps)
    assert found is not None and found.where == "layer 3 of 3, made by RUN one"
    others = loaded(engine, "few:2", {"a": b"a"}, {"b": b"c"}, history=[row("COPY b")])
    found = compare(engine.store, engine.images.get("few:1"), others)
    assert found is not None and found.where == "layer 2 of 2"


def test_where_only_the_dates_differ_the_way_out_is_told(engine: Engine, tmp_path: Path) -> None:
    folder = tree(tmp_path / "a")
    found = compare(engine.store, made(engine, folder), made(engine, folder, created="2025-01-01T00:00:00Z"))
    assert found is not None
    assert (found.where, found.path, found.hint) == ("config", "created", "--source-date-epoch")


# ---- outputs


def write(engine: Engine, spec: OutputSpec, image: Image, *tags: str, stdout: io.BytesIO | None = None) -> None:
    for tag in tags:
        engine.images.tag(str(image.id), tag)
    outputs.write(engine.store, spec, {"linux/amd64": image}, tags, unheard, stdout)


def test_a_local_output_is_the_merged_tree_and_the_callers(engine: Engine, tmp_path: Path) -> None:
    source = tree(tmp_path / "a", mode=0o640)
    os.chown(source / "sub" / "file", 1234, 1234)
    os.symlink("/etc/passwd", source / "link")
    target = tmp_path / "out"
    (target / "kept").mkdir(parents=True)
    write(engine, OutputSpec("local", str(target)), made(engine, source))
    status = (target / "sub" / "file").stat()
    assert (target / "sub" / "file").read_text() == "hello world\n"
    assert (status.st_mode & 0o7777, status.st_uid, status.st_mtime) == (0o640, os.geteuid(), 1_700_000_000)
    assert os.readlink(target / "link") == "/etc/passwd"
    assert (target / "kept").is_dir()


def test_a_link_in_the_directory_does_not_lead_an_output_out_of_it(engine: Engine, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    target = tmp_path / "out"
    target.mkdir()
    os.symlink(outside, target / "sub")
    write(engine, OutputSpec("local", str(target)), made(engine, tree(tmp_path / "a")))
    assert not list(outside.iterdir())
    assert (target / "sub" / "file").is_file()


def test_a_tar_output_goes_to_a_file_or_a_stream(engine: Engine, tmp_path: Path) -> None:
    image = made(engine, tree(tmp_path / "a"))
    out = io.BytesIO()
    write(engine, OutputSpec("tar", "-"), image, stdout=out)
    write(engine, OutputSpec("tar", str(tmp_path / "x.tar")), image)
    assert (tmp_path / "x.tar").read_bytes() == out.getvalue()
    listed = subprocess.run(["tar", "-t"], input=out.getvalue(), capture_output=True, check=True).stdout.decode()
    assert listed.splitlines() == ["sub/", "sub/file"]


def test_archives_are_what_skopeo_and_docker_read(engine: Engine, tmp_path: Path) -> None:
    needs("skopeo")
    image = made(engine, tree(tmp_path / "a"))
    write(engine, OutputSpec("oci", str(tmp_path / "x.oci")), image, "built:1")
    write(engine, OutputSpec("docker", str(tmp_path / "x.tar")), image, "built:1")
    write(engine, OutputSpec("oci", str(tmp_path / "dir"), (("tar", "false"),)), image, "built:1")
    for source in (f"oci-archive:{tmp_path}/x.oci", f"docker-archive:{tmp_path}/x.tar", f"oci:{tmp_path}/dir"):
        got = subprocess.run(["skopeo", "inspect", "--config", "--raw", source], capture_output=True, check=True).stdout
        assert got.decode() == image.config.raw.decode(), source


def test_a_registry_output_pushes_every_tag_and_tells(engine: Engine, tmp_path: Path, registry: RealRegistry) -> None:
    image = made(engine, tree(tmp_path / "a"))
    told: list[Event] = []
    names = [f"{registry.host}/outputs/built:{number}" for number in (1, 2)]
    for name in names:
        engine.images.tag(str(image.id), name)
    outputs.write(engine.store, OutputSpec("registry"), {"linux/amd64": image}, names, told.append)
    assert any(isinstance(event, OutputProgress) and "digest:" in event.report.status for event in told)
    for name in names:
        engine.images.remove(name)
    assert engine.images.pull(names[1]).image.id == image.id


def test_what_could_not_be_written_is_refused_before_the_build() -> None:
    with pytest.raises(outputs.BadOutput, match="needs a name"):
        outputs.check([OutputSpec("registry")], (), 1)
    with pytest.raises(outputs.BadOutput, match="holds one platform"):
        outputs.check([OutputSpec("tar", "x.tar")], ("a",), 2)
    outputs.check([OutputSpec("registry", "", (("name", "a/b"),))], (), 1)
