"""Squashing: the same files from fewer layers, nothing hidden left, everything below and above as it was."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.finished import files, loaded, members, row
from tests.support.peers import skopeo
from tests.support.programs import needs, run
from veneer.config import Config
from veneer.engine.engine import Engine
from veneer.engine.rework.rows import NoSuchStep
from veneer.engine.rework.squashing import NothingToSquash
from veneer.engine.rework.stacking import FileLost
from veneer.store.images import BadTag, Image
from veneer.testing.images import Tree, device, directory, fifo, file, hardlink, symlink
from veneer.testing.trees import CAPABILITY

BASE: Tree = {
    "etc": directory(), "etc/motd": b"base\n", "etc/old": b"old\n", "opt": directory(0o1777), "opt/kept": b"kept",
    "usr": directory(), "usr/a": file(b"linked"), "usr/b": hardlink("usr/a"), "lib": directory(), "lib/x": b"x",
}  # fmt: skip
FAT: Tree = {
    "var/big": b"0" * 5000, "etc/motd": b"second\n", "opt/made": b"1", "srv": directory(0o700).owned(33, 33),
    "srv/page": file(b"<p>", xattrs={b"user.kind": b"page"}).owned(33, 33), "bin": symlink("usr/bin"),
    "lib/.wh..wh..opq": b"", "lib/y": b"y", "usr/c": hardlink("usr/a"), "tool": file(b"!", 0o4755),
    "cap": file(b"c", 0o755, xattrs={b"security.capability": CAPABILITY}), "null": device(1, 3), "pipe": fifo(),
}  # fmt: skip
THIN: Tree = {
    "var/.wh.big": b"", "etc/.wh.old": b"", "etc/motd": b"third\n", "opt/.wh.made": b"", "srv/page": b"<h1>",
    "two": b"2", "three": hardlink("two"),
}  # fmt: skip
LAST: Tree = {"etc/motd": b"last\n", "opt/.wh.kept": b"", "new/dir/file": b"."}


def made(engine: Engine, name: str = "app:1") -> Image:
    history = [row("ADD base"), row("COPY fat /"), row("ENV A=1", empty=True), row("RUN thin"), row("RUN last"),
               row('CMD ["sh"]', empty=True)]  # fmt: skip
    return loaded(engine, name, BASE, FAT, THIN, LAST, history=history, config={"Env": ["A=1"], "Cmd": ["sh"]})


def test_the_whole_image_becomes_one_layer_with_the_same_files(engine: Engine) -> None:
    image = made(engine)
    squashed = engine.images.squash(image, first=1, tag="app:flat")
    assert len(squashed.image.config.diff_ids) == 1
    assert files(engine, squashed.image) == files(engine, image)
    assert squashed.image.tags[0].familiar == "app:flat"
    assert squashed.image.config.run == image.config.run
    names = members(engine, squashed.image, 0)
    assert not any(b".wh." in name or name.endswith(b"=") for name in names), "nothing is below that could be hidden"
    assert names == sorted(names, key=lambda name: name.rstrip(b"/").split(b"/"))
    assert squashed.saved == squashed.before - squashed.after > 5000
    assert squashed.image.size == squashed.after


def test_a_range_leaves_what_is_below_and_above_untouched(engine: Engine) -> None:
    image = made(engine)
    squashed = engine.images.squash("app:1", first=2, last=3).image
    old, new = image.config.diff_ids, squashed.config.diff_ids
    assert (new[0], new[2], len(new)) == (old[0], old[3], 3)
    for layers, same in ((1, 1), (2, 3), (3, 4)):
        assert files(engine, squashed, layers) == files(engine, image, same)
    blobs = engine.store.layers.blobs(old[3])
    assert engine.store.layers.blobs(new[2]) == blobs, "a layer above goes out as the blob it came as"
    assert members(engine, squashed, 1) == [
        b"bin", b"cap", b"etc/", b"etc/motd", b"etc/.wh.old", b"lib/=", b"lib/y", b"null", b"pipe", b"srv/",
        b"srv/page", b"three", b"tool", b"two", b"usr/", b"usr/c", b"var/",
    ]  # fmt: skip


def test_rows_of_the_range_stay_without_layers_and_a_row_has_the_new_one(engine: Engine) -> None:
    made(engine)
    squashed = engine.images.squash("app:1", first=2, last=3, created="2025-01-01T00:00:00Z").image
    told = [(entry.created_by or entry.comment, entry.empty_layer) for entry in squashed.config.history]
    source = engine.images.get("app:1").id
    assert told == [
        ("ADD base", False), ("COPY fat /", True), ("ENV A=1", True), ("RUN thin", True),
        (f"merge layers 2 to 3 of {source}", False), ("RUN last", False), ('CMD ["sh"]', True),
    ]  # fmt: skip
    assert squashed.config.created == "2025-01-01T00:00:00Z"
    again = engine.images.squash("app:1", first=2, last=3, created="2025-01-01T00:00:00Z").image
    assert again.id == squashed.id, "the same squash is the same image"
    assert [entry.size > 0 for entry in engine.images.history(str(squashed.id))] == [
        False, True, True, False, False, False, True,
    ]  # fmt: skip


def test_by_default_all_above_the_image_it_was_built_on_is_squashed(engine: Engine, tmp_path: Path) -> None:
    base = made(engine, "base:1")
    for number in range(3):
        (tmp_path / "files").mkdir(exist_ok=True)
        (tmp_path / "files" / "same").write_text("x" * 100 * (number + 1))
        engine.images.derive(
            "base:1" if not number else "app:1", layer=tmp_path / "files", created_by="RUN it", tag="app:1"
        )
    squashed = engine.images.squash("app:1")
    assert (squashed.first, squashed.last) == (5, 7)
    assert squashed.image.config.diff_ids[:4] == base.config.diff_ids
    assert squashed.image.config.history[-1].comment == f"merge {squashed.source.id} to {base.id}"
    assert squashed.saved == 300
    assert files(engine, squashed.image) == files(engine, squashed.source)


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        ("2", "3", (2, 3)), ("row:2", "row:4", (2, 3)), ("row:3", "row:6", (3, 4)), ("{2}", "{3}", (3, 4)),
        ("base:1", "", (2, 4)), ("1", "base2:1", (1, 2)),
    ],
)  # fmt: skip
def test_a_range_is_named_by_layer_row_digest_or_image(
    engine: Engine, first: str, last: str, expected: tuple[int, int]
) -> None:
    loaded(engine, "base:1", BASE)
    loaded(engine, "base2:1", BASE, FAT)
    image = made(engine)
    ids = [each.hex[:10] for each in image.config.diff_ids]
    squashed = engine.images.squash(image, first=first.format(*ids), last=last.format(*ids))
    assert (squashed.first, squashed.last) == expected


@pytest.mark.parametrize(
    ("first", "last", "error", "says"),
    [
        ("3", "2", NoSuchStep, "from 3 to 2 is no layer"), ("5", "", NoSuchStep, "has no layer 5"),
        ("0", "", NoSuchStep, "has no layer 0"), ("row:9", "", NoSuchStep, "no history row 9"),
        ("row:6", "", NoSuchStep, "no history row from 6 makes a layer"), ("beefbeef", "", NoSuchStep, "no layer beef"),
        ("nosuch:1", "", NoSuchStep, "no layer nosuch:1"), ("2", "2", NothingToSquash, "layer 2 of image"),
        ("row:x", "", NoSuchStep, "no history row x"), ("", "app:1", NoSuchStep, ""),
    ],
)  # fmt: skip
def test_what_is_no_range_is_refused_in_words(
    engine: Engine, first: str, last: str, error: type[Exception], says: str
) -> None:
    made(engine)
    if not says:
        assert engine.images.squash("app:1", first=first, last=last).last == 4
        return
    with pytest.raises(error, match=says):
        engine.images.squash("app:1", first=first, last=last)
    assert len(engine.images.list(all=True)) == 1


def test_an_image_without_layers_or_with_a_bad_new_name_is_refused(engine: Engine) -> None:
    engine.images.derive(None, created_by="ENV A=1", run={"Env": ["A=1"]}, tag="empty:1")
    with pytest.raises(NoSuchStep, match="has no layers"):
        engine.images.squash("empty:1")
    made(engine)
    with pytest.raises(BadTag, match="cannot be named by a digest"):
        engine.images.squash("app:1", tag="app@sha256:" + "0" * 64)


def test_layers_that_undo_each_other_leave_no_layer(engine: Engine) -> None:
    image = loaded(engine, "app:1", BASE, {"tmp/x": b"1"}, {".wh.tmp": b""}, {"z": b"z"})
    squashed = engine.images.squash(image, first=2, last=3)
    assert squashed.diff_id is None and squashed.after == 0 and squashed.saved == 1
    assert squashed.image.config.diff_ids == (image.config.diff_ids[0], image.config.diff_ids[3])
    assert [entry.empty_layer for entry in squashed.image.config.history] == [False, True, True, True, False]
    assert files(engine, squashed.image) == files(engine, image)


def test_rows_that_are_fewer_than_the_layers_are_given_none_and_an_image_without_history_keeps_none(
    engine: Engine,
) -> None:
    told = loaded(engine, "few:1", BASE, FAT, THIN, LAST, history=[row("COPY thin"), row("USER me", empty=True)])
    made = engine.images.squash(told, first=2, last=3, message="two to three").image.config
    assert [(entry.created_by or entry.comment, entry.empty_layer) for entry in made.history] == [
        ("COPY thin", True), ("USER me", True), ("", False), ("two to three", False), ("", False),
    ]  # fmt: skip
    assert made.tells_layers and made.history[2].created == told.config.created
    whole = engine.images.squash(told, first=1, message="all").image.config
    assert [(entry.created_by or entry.comment, entry.empty_layer) for entry in whole.history] == [
        ("COPY thin", True), ("USER me", True), ("all", False),
    ]  # fmt: skip
    silent = loaded(engine, "none:1", BASE, FAT, history=())
    assert engine.images.squash(silent, first=1).image.config.history == ()


def test_files_of_equal_size_and_time_but_other_content_are_told_apart(engine: Engine) -> None:
    """Reproducible builds give all files one time: a comparison by size and time would lose the change."""
    image = loaded(engine, "app:1", {"f": b"one"}, {"f": b"two"}, {"g": b"x"})
    assert members(engine, engine.images.squash(image, first=2).image, 1) == [b"f", b"g"]
    back = loaded(engine, "back:1", {"f": b"one"}, {"f": b"two"}, {"f": b"one", "g": b"x"})
    assert members(engine, engine.images.squash(back, first=2).image, 1) == [b"g"], "what ends as it began is no change"


def test_a_file_changed_behind_the_stores_back_is_not_squashed(engine: Engine) -> None:
    image = made(engine)
    layer = engine.store.layers.stack(image.config.chain_ids[-1])[3]
    victim = engine.store.layers.directory(layer) / "new" / "dir" / "file"
    victim.write_bytes(b"#")
    with pytest.raises(FileLost, match=r"/new/dir/file of layer \w+: its content was changed"):
        engine.images.squash(image, first=1)
    victim.write_bytes(b"longer")
    with pytest.raises(FileLost, match="6 bytes where there should be 1"):
        engine.images.squash(image, first=1)
    victim.unlink()
    with pytest.raises(FileLost, match="No such file"):
        engine.images.squash(image, first=1)
    assert len(engine.images.list(all=True)) == 1
    assert not os.listdir(engine.store.root / "ingest")


def test_other_tools_unpack_the_squashed_image_to_the_same_files(engine: Engine, tmp_path: Path) -> None:
    needs("skopeo", "umoci")
    made(engine)
    engine.images.squash("app:1", first=2, last=3, tag="app:flat")
    trees = []
    for tag in ("1", "flat"):
        skopeo("copy", f"oci:{engine.store.root}:app:{tag}", f"oci:{tmp_path}/layout:{tag}")
        run("umoci", "unpack", "--image", f"{tmp_path}/layout:{tag}", tmp_path / tag)
        # umoci gives directories without an entry the present time.
        listed = run("find", tmp_path / tag / "rootfs", "-printf", "%P %y %m %U %G %s %T@ %l\n").out
        trees.append(sorted(line for line in listed.splitlines() if not line.startswith((" ", "new", "var"))))
    assert trees[0] == trees[1]


def test_without_a_union_mount_the_files_are_the_same_too(config: Config, engine: Engine, tmp_path: Path) -> None:
    with Engine(Config(root=tmp_path / "vfs", docker_config=config.docker_config, storage_driver="vfs")) as other:
        image = made(other)
        squashed = other.images.squash(image, first=2, last=3)
        # A hard link into a lower layer is a copy on a union mount, and in what is composed for one.
        assert files(other, squashed.image).without(b"usr/c") == files(other, image).without(b"usr/c")
        assert squashed.diff_id == engine.images.squash(made(engine), first=2, last=3).diff_id
