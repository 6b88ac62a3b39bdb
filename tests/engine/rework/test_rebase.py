"""Rebasing: an image's own layers and settings on another base, and a warning wherever they rely on the old one."""

from __future__ import annotations

import io

import pytest

from tests.support.finished import files, free_of_leaks, loaded, row
from veneer.engine.engine import Engine
from veneer.engine.rework.bases import DIGEST_LABEL, NAME_LABEL, NotTheBase
from veneer.engine.rework.rebasing import NothingToRebase, PlatformDiffers, ReliesOnBase, UnknownBase
from veneer.oci.image import HistoryEntry
from veneer.store.images import Image, NoSuchImage
from veneer.testing.images import Tree, directory, docker_archive, file, hardlink, image, symlink

OLD: Tree = {
    "etc": directory(),
    "etc/os": b"old\n",
    "etc/same": b"same",
    "bin": directory(),
    "bin/sh": file(b"#", 0o755),
}
NEW: Tree = {**OLD, "etc/os": b"new\n"}
OWN: Tree = {"srv/app": file(b"app", 0o755), "srv/link": hardlink("srv/app"), "bin/app": symlink("/srv/app")}
MORE: Tree = {"srv/.wh.link": b"", "srv/conf": b"conf"}
OLD_ROWS = (row("ADD old"), row('CMD ["sh"]', empty=True))
OWN_ROWS = (row("COPY own /"), row("ENV X=1", empty=True), row("RUN more"))


def base(engine: Engine, name: str, *trees: Tree, **run: object) -> Image:
    history = [*(row(f"ADD {name} {number}") for number in range(len(trees))), row('CMD ["sh"]', empty=True)]
    return loaded(engine, name, *trees, history=history, config={"Env": ["PATH=/bin"], "Cmd": ["sh"], **run})


def app(engine: Engine, *own: Tree, below: Tree = OLD, name: str = "app:1", rows: tuple[HistoryEntry, ...] = (),
        **run: object) -> Image:  # fmt: skip
    history = [row("ADD base:1 0"), OLD_ROWS[1], *(rows or [row(f"COPY {number}") for number in range(len(own))])]
    return loaded(engine, name, below, *own, history=history,
                  config={"Env": ["PATH=/bin"], "Cmd": ["sh"], **run})  # fmt: skip


def told(engine: Engine, new: str = "base:2") -> list[tuple[str, str, int]]:
    made = engine.images.rebase("app:1", new, base="base:1", dry_run=True)
    assert made.image is None
    return [(each.kind, each.path.decode(), each.layer) for each in made.hazards]


def test_the_images_own_layers_and_rows_stand_on_the_new_base_as_they_are(engine: Engine) -> None:
    base(engine, "base:1", OLD)
    new = base(engine, "base:2", NEW, {"usr/new": b"n"}, Env=["PATH=/usr/bin:/bin"], Cmd=["bash"])
    source = app(engine, OWN, MORE, rows=OWN_ROWS, Env=["PATH=/bin", "X=1"], User="app")
    made = engine.images.rebase("app:1", "base:2", tag="app:2", created="2025-01-01T00:00:00Z")
    assert made.image is not None and made.hazards == ()
    config = made.image.config
    assert config.diff_ids == (*new.config.diff_ids, *source.config.diff_ids[1:])
    assert [entry.created_by for entry in config.history] == [
        "ADD base:2 0", "ADD base:2 1", 'CMD ["sh"]', "COPY own /", "ENV X=1", "RUN more",
    ]  # fmt: skip
    assert (made.layers, made.rows, made.old.how, made.old.name) == (2, 3, "layers", "base:1")
    assert config.run["Env"] == ["PATH=/usr/bin:/bin", "X=1"]
    assert (config.run["Cmd"], config.run["User"]) == (["bash"], "app")
    loaded(engine, "expected:1", NEW, {"usr/new": b"n"}, OWN, MORE)
    assert files(engine, made.image) == files(engine, engine.images.get("expected:1"))
    for diff_id in source.config.diff_ids[1:]:
        assert len(engine.store.layers.blobs(diff_id)) == 1, "a layer goes out as the blob it came as"
    again = engine.images.rebase("app:1", "base:2", created="2025-01-01T00:00:00Z").image
    assert again is not None and again.id == made.image.id, "the same rebase is the same image"
    assert engine.images.get("app:1").id == source.id
    assert free_of_leaks(engine)


def test_labels_name_the_new_base_so_that_the_next_rebase_finds_it(engine: Engine) -> None:
    base(engine, "base:1", OLD)
    second = base(engine, "base:2", NEW)
    third = base(engine, "base:3", NEW, {"third": b"3"})
    app(engine, OWN, Labels={"mine": "1", NAME_LABEL: "base:1"})
    made = engine.images.rebase("app:1", "base:2", tag="app:2").image
    assert made is not None
    assert made.config.labels == {
        "mine": "1", NAME_LABEL: "docker.io/library/base:2", DIGEST_LABEL: str(second.manifest),
    }  # fmt: skip
    again = engine.images.rebase("app:2", "base:3")
    assert (again.old.how, again.old.image.id, again.new.id) == ("label", second.id, third.id)
    assert again.image is not None and again.image.config.labels[NAME_LABEL] == "docker.io/library/base:3"
    by_id = engine.images.rebase("app:2", str(third.id)).image
    assert by_id is not None and by_id.config.labels[DIGEST_LABEL] == str(third.manifest)


def test_what_the_image_and_the_new_base_both_changed_is_told(engine: Engine) -> None:
    old: Tree = {**OLD, "var/db": b"1", "etc/gone": b"g", "tmp": directory(0o1777), "d": directory(), "d/x": b"x"}
    new: Tree = {**old, "var/db": b"2", "etc/gone": b"h", "tmp": directory(0o700), "d/y": b"y"}
    own: Tree = {
        "var/db": b"1+", "etc/.wh.gone": b"", "tmp": directory(0o1777), "tmp/t": b"", "d/.wh..wh..opq": b"",
        "bin/tool": b"ours", "bin/equal": b"equal", "etc/same": b"changed", "l": symlink("etc/gone"),
    }  # fmt: skip
    base(engine, "base:1", old)
    base(engine, "base:2", {**new, "bin/tool": b"theirs", "bin/equal": b"equal"})
    app(engine, own, below=old)
    assert told(engine) == [
        ("added", "bin/tool", 0), ("hidden", "d", 0), ("deleted", "etc/gone", 0), ("attributes", "tmp", 0),
        ("changed", "var/db", 0),
    ]  # fmt: skip
    assert engine.images.rebase("app:1", "base:2", base="base:1").image is not None, "these are warnings"


def test_a_directory_over_a_link_of_the_new_base_is_refused_unless_forced(engine: Engine) -> None:
    """As where /lib became a symbolic link to /usr/lib between two releases."""
    old: Tree = {"lib": directory(), "lib/libc": b"1"}
    base(engine, "base:1", old)
    base(engine, "base:2", {"usr/lib/libc": b"2", "lib": symlink("usr/lib")})
    app(engine, {"lib/app": b"a"}, below=old)
    assert told(engine) == [("unfolded", "lib", 0)]
    with pytest.raises(ReliesOnBase, match="/lib is a directory of the image, and a link or a file in the new base"):
        engine.images.rebase("app:1", "base:2")
    assert len(engine.images.list(all=True)) == 3
    assert engine.images.rebase("app:1", "base:2", force=True).image is not None


def test_a_hard_link_to_what_the_new_base_lacks_is_refused_and_to_another_file_told(engine: Engine) -> None:
    base(engine, "base:1", {**OLD, "bin/busybox": b"1"})
    base(engine, "base:2", NEW)
    base(engine, "base:3", {**NEW, "bin/busybox": b"2"})
    base(engine, "base:4", {**NEW, "bin/busybox": b"1"})
    app(engine, {"first": hardlink("bin/busybox")}, {"second": hardlink("first")}, below={**OLD, "bin/busybox": b"1"})
    assert told(engine, "base:2") == [("lost", "first", 0), ("lost", "second", 1)]
    with pytest.raises(ReliesOnBase, match=r"/first is a hard link .* \(/bin/busybox\) \(and 1 more\)"):
        engine.images.rebase("app:1", "base:2", force=True)
    assert told(engine, "base:3") == [("linked", "first", 0), ("linked", "second", 1)]
    assert told(engine, "base:4") == []
    assert free_of_leaks(engine)


def test_a_symbolic_link_to_what_the_new_base_lacks_is_told(engine: Engine) -> None:
    base(engine, "base:1", {**OLD, "usr/bin/python3": b"p", "opt": symlink("usr")})
    base(engine, "base:2", NEW)
    app(engine, {"bin/python": symlink("../opt/bin/python3"), "bin/nowhere": symlink("nowhere"), "own": symlink("/srv"),
                 "srv/x": b"x", "root": symlink("/")},
        below={**OLD, "usr/bin/python3": b"p", "opt": symlink("usr")})  # fmt: skip
    assert told(engine) == [("dangling", "bin/python", 0)]


def test_deletions_of_what_is_the_same_or_not_there_are_not_worth_a_word(engine: Engine) -> None:
    base(engine, "base:1", {**OLD, "etc/old": b"o"})
    base(engine, "base:2", NEW)
    app(engine, {"etc/.wh.old": b"", "etc/.wh.same": b"", "x": b"1"}, {".wh.x": b""}, below={**OLD, "etc/old": b"o"})
    assert told(engine) == []


def test_the_base_is_the_nearest_parent_or_the_one_that_is_given(engine: Engine) -> None:
    first = base(engine, "base:1", OLD)
    base(engine, "base:2", NEW)
    step = engine.images.derive("base:1", created_by="ENV A=1", run={"Env": ["PATH=/bin", "A=1"]})
    engine.images.derive(step, created_by="USER me", run={"User": "me"}, tag="app:1")
    made = engine.images.rebase("app:1", "base:2")
    assert made.image is not None and (made.old.how, made.layers, made.rows) == ("parent", 0, 2)
    assert made.image.config.run["Env"] == ["PATH=/bin", "A=1"]
    assert made.image.config.diff_ids == engine.images.get("base:2").config.diff_ids
    with pytest.raises(NotTheBase, match="is not built on base:2"):
        engine.images.rebase("app:1", "base:2", base="base:2")
    assert engine.images.rebase("app:1", "base:2", base=first, dry_run=True).old.how == ""


def test_layers_without_rows_keep_their_places(engine: Engine) -> None:
    loaded(engine, "base:1", OLD, history=())
    loaded(engine, "silent:2", NEW, {"n": b"n"}, history=())
    loaded(engine, "told:2", NEW, {"n": b"n"}, history=[row("ADD a"), row("ADD b")])
    loaded(engine, "app:1", OLD, OWN, MORE, history=[row("COPY own"), row("RUN more")])
    on_silent = engine.images.rebase("app:1", "silent:2", base="base:1").image
    assert on_silent is not None
    assert [entry.created_by for entry in on_silent.config.history] == ["", "", "COPY own", "RUN more"]
    loaded(engine, "none:1", OLD, OWN, history=())
    on_told = engine.images.rebase("none:1", "told:2", base="base:1", message="moved").image
    assert on_told is not None
    assert [(each.created_by, each.comment, each.empty_layer) for each in on_told.config.history] == [
        ("ADD a", "", False), ("ADD b", "", False), ("", "", False), ("", "moved", True),
    ]  # fmt: skip
    neither = engine.images.rebase("none:1", "silent:2", base="base:1").image
    assert neither is not None and neither.config.history == ()


@pytest.mark.parametrize(("old", "new", "own", "expected"), [
    # The own rows are as many as the own layers, whatever the base tells.
    (["ADD a"], ["ADD x"], ["ADD a", "COPY 1", "COPY 2"], ["-ADD x", "+", "+", "+COPY 1", "+COPY 2"]),
    # They are not: of these nobody knows.
    (["ADD a", "ADD b"], ["ADD x", "ADD y"], ["ADD a", "ADD b", "COPY 2"],
     ["+ADD x", "+ADD y", "-COPY 2", "+", "+"]),
    (["ADD a"], [], ["ADD a", "COPY 2"], ["+", "+", "-COPY 2", "+", "+"]),
    # Nor do these tell which of them are the base's.
    (["ADD a", "ADD b"], ["ADD x", "ADD y"], ["COPY 2"], ["+ADD x", "+ADD y", "-COPY 2", "+", "+"]),
    ([], [], ["COPY 2"], ["+", "+", "-COPY 2", "+", "+"]),
])  # fmt: skip
def test_no_row_is_put_on_a_layer_that_it_may_not_have_made(
    engine: Engine, old: list[str], new: list[str], own: list[str], expected: list[str]
) -> None:
    """`+` in front of the texts of rows with a layer, `-` of those without one."""
    loaded(engine, "base:1", OLD, {"b": b"b"}, history=[*map(row, old)])
    loaded(engine, "base:2", NEW, {"n": b"n"}, history=[*map(row, new)])
    loaded(engine, "app:1", OLD, {"b": b"b"}, OWN, MORE, history=[*map(row, own)])
    made = engine.images.rebase("app:1", "base:2", base="base:1").image
    assert made is not None and made.config.tells_layers
    assert ["+-"[each.empty_layer] + each.created_by for each in made.config.history] == expected


def test_triggers_of_the_new_base_are_told_and_not_carried_out(engine: Engine) -> None:
    base(engine, "base:1", OLD)
    base(engine, "base:2", NEW, OnBuild=["RUN make"])
    app(engine, OWN)
    made = engine.images.rebase("app:1", "base:2")
    assert made.image is not None and made.triggers == ("RUN make",)
    assert not made.image.config.run.get("OnBuild")


def test_what_cannot_be_rebased_is_refused_in_words(engine: Engine) -> None:
    first = base(engine, "base:1", OLD)
    app(engine, OWN)
    with pytest.raises(NothingToRebase, match="is built on base:1 already"):
        engine.images.rebase("app:1", "base:1")
    with pytest.raises(NothingToRebase, match=r"app:1 is built on image \w+ itself"):
        engine.images.rebase("app:1", "app:1", base=first)
    with pytest.raises(NoSuchImage):
        engine.images.rebase("app:1", "nosuch:1")
    loaded(engine, "lonely:1", {"own": b"1"}, history=[row("ADD own")])
    with pytest.raises(UnknownBase, match="nothing tells what image") as unknown:
        engine.images.rebase("lonely:1", "base:1")
    assert "--base" in unknown.value.hint
    loaded(engine, "label:1", {"own": b"2"}, history=[row("ADD own")], config={"Labels": {NAME_LABEL: "alpine:3"}})
    with pytest.raises(UnknownBase, match="is built on alpine:3, which is not here") as missing:
        engine.images.rebase("label:1", "base:1")
    assert missing.value.hint == "pull it first: veneer pull alpine:3"


def test_a_base_for_another_machine_is_refused(engine: Engine) -> None:
    base(engine, "base:1", OLD)
    app(engine, OWN)
    other = image({"arm": b"!"}, architecture="arm64")
    engine.images.load(io.BytesIO(docker_archive((other, ["arm:1"]))))
    with pytest.raises(PlatformDiffers, match="is for linux/amd64 and arm:1 for linux/arm64"):
        engine.images.rebase("app:1", "arm:1")
