"""Images composed in Python: values in, values out, and the builder's cache and history behind them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.builds import base, with_programs
from tests.support.finished import files, loaded
from veneer.build.context.failures import SourceNotFound
from veneer.build.failure import StepFailed
from veneer.engine.composition import NothingThere
from veneer.engine.engine import Engine
from veneer.errors import VeneerError


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    (folder / "css").mkdir(parents=True)
    (folder / "index.html").write_text("<p>")
    (folder / "css" / "all.css").write_text("p{}")
    (folder / "notes[1].md").write_text("n")
    return folder


def test_a_directory_becomes_a_layer_where_it_is_wanted(engine: Engine, site: Path) -> None:
    start = engine.image_from("scratch")
    made = start.append(site, "/srv/www", owner="7:8", exclude=["*.md"])
    tree = files(engine, made.image)
    assert sorted(tree) == [b"srv", b"srv/www", b"srv/www/css", b"srv/www/css/all.css", b"srv/www/index.html"]
    assert (tree[b"srv/www/index.html"].uid, tree[b"srv/www/index.html"].gid) == (7, 8)
    assert start == engine.image_from("scratch"), "the value it was made of is what it was"


def test_a_single_file_is_taken_by_its_very_name(engine: Engine, site: Path) -> None:
    made = engine.image_from("scratch").append(site / "notes[1].md", "/docs/", mode="600")
    tree = files(engine, made.image)
    assert sorted(tree) == [b"docs", b"docs/notes[1].md"]
    assert tree[b"docs/notes[1].md"].mode & 0o7777 == 0o600


def test_what_is_not_there_is_not_looked_for_elsewhere(engine: Engine) -> None:
    with pytest.raises(SourceNotFound, match="append failed: /nowhere: no such file or directory"):
        engine.image_from("scratch").append("/nowhere", "/x")


def test_a_configuration_is_taken_to_the_letter(engine: Engine) -> None:
    base(engine)
    made = engine.image_from("base:1").with_config(
        env={"A": 'x "y" $Z \\n\nend'}, labels={"l.b": "${v}"}, cmd=["run", "$me"], entrypoint="exec it", user="7",
        workdir="/w/$x", ports=[80, "53/udp"], volumes=["/a b"], stop_signal="SIGINT", shell=["/bin/ash", "-c"],
    )  # fmt: skip
    run = made.image.config.run
    assert 'A=x "y" $Z \\n\nend' in run["Env"]
    assert run["Labels"] == {"l.b": "${v}"}
    assert (run["Entrypoint"], run["Cmd"]) == (["/bin/ash", "-c", "exec it"], ["run", "$me"])
    assert (run["User"], run["WorkingDir"], run["StopSignal"]) == ("7", "/w/$x", "SIGINT")
    assert (set(run["ExposedPorts"]), set(run["Volumes"])) == ({"80/tcp", "53/udp"}, {"/a b"})
    assert made.with_config() == made


def test_the_same_steps_give_the_same_image_and_parents(engine: Engine, site: Path) -> None:
    base(engine)

    def compose() -> str:
        return str(engine.image_from("base:1").append(site, "/srv").with_config(env={"A": "1"}).id)

    first = compose()
    known = {image.id for image in engine.images.list(all=True)}
    assert compose() == first
    assert {image.id for image in engine.images.list(all=True)} == known
    assert all(row.id is not None for row in engine.images.history(first)[:2])
    assert engine.images.history(first)[1].created_by.startswith("/bin/sh -c #(nop) COPY dir:")


def test_a_command_is_run_and_files_are_taken_from_other_images(engine: Engine, busybox: Path) -> None:
    with_programs(engine, busybox)
    tool = engine.image_from("busybox:1").run("echo made > /out").run(["mkdir", "/a dir"])
    made = engine.image_from("scratch").copy(tool, "/out", "/in").copy("busybox:1", "/etc/passwd", "/etc/")
    tree = files(engine, made.image)
    assert sorted(tree) == [b"etc", b"etc/passwd", b"in"]
    assert b"a dir" in files(engine, tool.image)
    with pytest.raises(StepFailed, match="non-zero code: 3"):
        tool.run("exit 3")


def test_layers_of_other_images_come_on_top(engine: Engine, site: Path, tmp_path: Path) -> None:
    below = base(engine)
    above = engine.image_from("scratch").append(site, "/srv").with_config(env={"B": "2"})
    made = engine.image_from("base:1").with_layers(above, above.image)
    assert made.image.config.diff_ids == below.config.diff_ids + above.image.config.diff_ids * 2
    assert made.image.config.run == below.config.run
    assert made.image.parent == below.id
    assert b"srv/index.html" in files(engine, made.image)
    loaded(engine, "silent:1", {"a": b"a"}, {"b": b"b"}, history=())
    rows = engine.image_from("silent:1").with_layers(above).image.config.history
    own = [(each.created_by, each.empty_layer) for each in above.image.config.history]
    assert [(each.created_by, each.empty_layer) for each in rows] == [("", False), ("", False), *own]
    assert engine.system.check(deep=True) == []


def test_a_tag_is_given_and_the_value_stays(engine: Engine) -> None:
    base(engine)
    made = engine.image_from("base:1").with_config(labels={"a": "1"})
    assert made.tag("one:1", "two:2") == made
    assert {tag.familiar for tag in made.image.tags} == {"one:1", "two:2"}
    assert engine.image_from("one:1").id == made.id


def test_nothing_has_no_id_and_what_is_not_there_is_told(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(NothingThere):
        _ = engine.image_from("scratch").id
    with pytest.raises(VeneerError, match="No such image"):
        _ = engine.image_from("nowhere:1").id
    with pytest.raises(VeneerError, match="missing"):
        engine.image_from("scratch").append(tmp_path / "missing")
