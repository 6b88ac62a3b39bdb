"""Purging: a path is in no layer and no blob afterwards, and everything else is as it was."""

from __future__ import annotations

import io

import pytest

from tests.support.finished import files, loaded, members, row
from tests.support.peers import skopeo
from tests.support.registries import RealRegistry
from veneer.changeset.compression import decompressed
from veneer.changeset.growing import GrowingSource
from veneer.engine.engine import Engine
from veneer.engine.rework.doom import NoSuchPath, NotPurgeable
from veneer.store.images import Image
from veneer.testing.images import SampleLayer, Tree, directory, file, hardlink, layer_tar, oci_archive, symlink
from veneer.testing.images import image as image_of

SECRET = b"correct horse battery staple\n"
BASE: Tree = {"etc": directory(), "etc/motd": b"base\n", "usr": directory(), "usr/lib": directory(),
              "lib": symlink("usr/lib")}  # fmt: skip
WITH: Tree = {"root": directory(0o700), "root/.key": file(SECRET, 0o600), "root/note": b"n", "usr/lib/x": b"x"}
GONE: Tree = {"root/.wh..key": b"", "etc/motd": b"new\n"}
TOP: Tree = {"srv/page": b"<p>"}


def made(engine: Engine, name: str = "app:1") -> Image:
    history = [row("ADD base"), row("|1 TOKEN=x /bin/sh -c fetch > /root/.key"), row("RUN rm /root/.key"),
               row("ENV KEY=/root/.key", empty=True), row("COPY page /srv")]  # fmt: skip
    return loaded(
        engine, name, BASE, WITH, GONE, TOP, history=history, config={"Env": ["KEY=/root/.key"], "Cmd": ["/root/.key"]}
    )


def bytes_of(engine: Engine, image: Image) -> bytes:
    """Every byte of every layer blob that a manifest of the image may name, plain."""
    out = bytearray()
    for diff_id in image.config.diff_ids:
        for blob in engine.store.layers.blobs(diff_id):
            with engine.store.blobs.open(blob.digest) as stream:
                source = decompressed(GrowingSource(stream.fileno(), None))
                buffer = memoryview(bytearray(1 << 16))
                while count := source.readinto(buffer):
                    out += buffer[:count]
    return bytes(out)


def test_a_secret_deleted_later_is_in_no_blob_of_the_new_image(engine: Engine) -> None:
    image = made(engine)
    assert SECRET in bytes_of(engine, image)
    purged = engine.images.purge(image, ["/root/.key"], tag="app:clean")
    assert SECRET not in bytes_of(engine, purged.image)
    assert b".key" not in bytes_of(engine, purged.image)
    assert files(engine, purged.image) == files(engine, image), "it was deleted in the end anyhow"
    old, new = image.config.diff_ids, purged.image.config.diff_ids
    assert (old[0], old[3]) == (new[0], new[3])
    assert engine.store.layers.blobs(old[3]) == engine.store.layers.blobs(new[3])
    assert [(layer.number, layer.members) for layer in purged.layers] == [(2, 1), (3, 1)]
    assert purged.size == len(SECRET)
    assert [image.tags[0].familiar for image in purged.holders] == ["app:1"]


def test_what_stays_in_a_layer_stays_to_the_byte(engine: Engine) -> None:
    """Headers that veneer itself would write otherwise, odd order and all."""
    odd: Tree = {"z": b"z", "secret": SECRET, "a" * 120: file(b"long", mtime_ns=5), "s/.wh..wh..opq": b"", "b": b"b"}
    image = loaded(engine, "odd:1", odd)
    purged = engine.images.purge(image, ["secret"])
    wanted = layer_tar({name: member for name, member in odd.items() if name != "secret"})
    assert purged.image.config.diff_ids == (SampleLayer(wanted).diff_id,)


def test_texts_that_name_it_are_told_and_left_alone(engine: Engine) -> None:
    image = made(engine)
    purged = engine.images.purge(image, ["/root/.key"], created="2025-01-01T00:00:00Z")
    assert purged.mentions == (
        "history row 2: |1 TOKEN=x /bin/sh -c fetch > /root/.key", "history row 3: RUN rm /root/.key",
        "history row 4: ENV KEY=/root/.key", "environment variable KEY", "Cmd",
    )  # fmt: skip
    assert purged.image.config.run == image.config.run
    *rows, last = purged.image.config.history
    assert tuple(rows) == image.config.history
    assert (last.comment, last.empty_layer) == ("purged: 2 layers were written anew", True)
    again = engine.images.purge(image, ["/root/.key"], created="2025-01-01T00:00:00Z")
    assert again.image.id == purged.image.id


def test_a_directory_goes_with_all_in_it_and_a_layer_of_nothing_else_goes_too(engine: Engine) -> None:
    image = loaded(engine, "app:1", BASE, {"opt": directory(), "opt/a": b"a", "opt/b/c": b"c"},
                   {"opt/.wh.a": b"", "opt/b/.wh..wh..opq": b"", "opt/d": b"d"}, TOP)  # fmt: skip
    purged = engine.images.purge(image, ["opt/"])
    assert purged.image.config.diff_ids == (image.config.diff_ids[0], image.config.diff_ids[3])
    assert [entry.empty_layer for entry in purged.image.config.history] == [False, True, True, False, True]
    assert files(engine, purged.image) == files(engine, image).without(b"opt")
    few = loaded(engine, "few:1", BASE, {"opt/a": b"a"}, TOP, history=[row("COPY top")])
    rows = engine.images.purge(few, ["opt"], message="gone").image.config.history
    assert [(each.created_by or each.comment, each.empty_layer) for each in rows] == [
        ("COPY top", True), ("", False), ("", True), ("", False), ("gone", True),
    ], "nobody knows which layer the one row made"  # fmt: skip


def test_all_names_of_a_file_go_also_those_that_link_to_it_from_higher_layers(engine: Engine) -> None:
    image = loaded(
        engine, "app:1", {"copy": b"another file", "keep": b"k"},
        {"secret": SECRET, "copy": hardlink("secret"), "other": hardlink("secret")}, {"late": hardlink("other")},
    )  # fmt: skip
    purged = engine.images.purge(image, ["/other"])
    assert purged.paths == (b"other",)
    assert purged.names == (b"copy", b"late", b"secret")
    assert SECRET not in bytes_of(engine, purged.image)
    assert list(files(engine, purged.image)) == [b"keep"], "what a purged name had hidden must not come to light"
    assert members(engine, purged.image, 1) == [b".wh.copy"]


def test_a_path_is_followed_through_symbolic_links_but_for_its_last_part(engine: Engine) -> None:
    image = made(engine)
    purged = engine.images.purge(image, ["/lib/x"])
    assert purged.paths == (b"usr/lib/x",)
    link = engine.images.purge(image, ["/lib"])
    assert link.paths == (b"lib",)
    assert b"usr/lib/x" in files(engine, link.image)


def test_a_member_below_a_link_of_its_own_layer_is_found_where_it_goes(engine: Engine) -> None:
    image = loaded(engine, "app:1", {"real": directory(), "way": symlink("real"), "way/secret": SECRET, "z": b"z"})
    purged = engine.images.purge(image, ["real/secret"])
    assert SECRET not in bytes_of(engine, purged.image)
    assert list(files(engine, purged.image)) == [b"real", b"way", b"z"]


def test_what_an_archive_holds_and_then_replaces_goes_too(engine: Engine) -> None:
    """The last entry of a path wins on disk, but the blob has them all."""
    twice = layer_tar({"d": directory(), "d/secret": SECRET})[:-1024] + layer_tar({"d": b"a file now", "z": b"z"})
    image = loaded(engine, "app:1", SampleLayer(twice), {"d": directory(), "d/secret": b"later"})
    purged = engine.images.purge(image, ["/d/secret"])
    assert SECRET not in bytes_of(engine, purged.image)
    assert [layer.number for layer in purged.layers] == [1, 2]


def test_copies_with_the_same_content_are_pointed_out(engine: Engine) -> None:
    image = loaded(engine, "app:1", {"secret": SECRET, "empty": b""}, {"opt/copy": SECRET, "also-empty": b""})
    purged = engine.images.purge(image, ["secret", "empty"])
    assert purged.copies == ((1, b"opt/copy"),), "layers of the new image, which has one less"


@pytest.mark.parametrize(
    ("paths", "error", "says", "hint"),
    [
        (["/root/.kez"], NoSuchPath, r"/root/\.kez is in no layer", "there is /root/.key"),
        (["/nowhere/at/all"], NoSuchPath, "/nowhere/at/all is in no layer", "veneer export"),
        (["/"], NotPurgeable, "is the root", "name a file"), ([""], NotPurgeable, "the path is empty", "name a file"),
        (["/root/.key", "/a/../.."], NotPurgeable, "is the root", ""),
    ],
)  # fmt: skip
def test_what_is_not_there_is_refused_in_words(
    engine: Engine, paths: list[str], error: type[NoSuchPath], says: str, hint: str
) -> None:
    image = made(engine)
    with pytest.raises(error, match=says) as caught:
        engine.images.purge(image, paths)
    assert hint in caught.value.hint
    assert len(engine.images.list(all=True)) == 1


@pytest.mark.parametrize(("kind", "media_type"), [("", "tar"), ("gzip", "tar+gzip"), ("zstd", "tar+zstd")])
def test_a_layer_stays_compressed_as_it_came_and_can_be_pushed(
    engine: Engine, registry: RealRegistry, kind: str, media_type: str
) -> None:
    name = f"{registry.host}/purge/{kind or 'plain'}:1"
    sample = image_of({"secret": SECRET, "z": b"z"}, TOP, compression=kind)
    engine.images.load(io.BytesIO(oci_archive((name, sample))))
    purged = engine.images.purge(name, ["secret"], tag=name)
    [blob] = engine.store.layers.blobs(purged.image.config.diff_ids[0])
    assert blob.media_type == f"application/vnd.oci.image.layer.v1.{media_type}"
    engine.images.push(name)
    first, second = skopeo("inspect", "--tls-verify=false", "--format", "{{.Layers}}", f"docker://{name}").out.split()
    if kind:  # plain tars are compressed on their way out
        assert (first, second) == (f"[{blob.digest}", f"{sample.layers[1].digest}]")
