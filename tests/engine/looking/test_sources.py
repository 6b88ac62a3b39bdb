"""One image looked at in the store, in every kind of archive, and in a registry: it is the same image."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import pytest

from tests.support.finished import row
from veneer.analysis.events import history_of
from veneer.analysis.view import View
from veneer.changeset import reading
from veneer.changeset.entry import Kind
from veneer.changeset.tar import BadArchive
from veneer.changeset.unread import UnreadIndex
from veneer.distribution.archive_plan import InvalidArchive
from veneer.distribution.client import WrongDigest
from veneer.engine.engine import Engine
from veneer.engine.looking.extracting import write
from veneer.engine.looking.judging import Status, judge
from veneer.engine.looking.rules import Rules
from veneer.engine.looking.sources import NotInThisArchive, NotThatPlatform, OtherLayer, WhichImage
from veneer.engine.looking.subject import Subject
from veneer.errors import NotFound
from veneer.oci.digest import DiffID, Digest
from veneer.testing.images import (
    SampleImage,
    SampleLayer,
    Tree,
    directory,
    docker_archive,
    file,
    hardlink,
    image,
    layer_tar,
    oci_archive,
    oci_layout,
)
from veneer.testing.images import index as index_of
from veneer.testing.registry import Registry

BASE: Tree = {"etc": directory(), "etc/motd": b"x" * 1000, "etc/os": b"y" * 10}
TOP: Tree = {"etc/.wh.motd": b"", "app": b"z" * 500}
ROWS = (
    row("/bin/sh -c #(nop) ADD file:" + "a" * 64 + " in / "),
    row('/bin/sh -c #(nop)  CMD ["sh" "-c" "echo"]', empty=True),
    row("RUN |1 A=1 /bin/sh -c rm /etc/motd # buildkit", comment="buildkit.dockerfile.v0"),
    row("EXPOSE map[80/tcp:{}]", empty=True),
)
APP = image(BASE, TOP, history=ROWS)
NAME = "demo/app:1"


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry() as running:
        yield running


def facts(subject: Subject) -> tuple[object, ...]:
    """What must be the same wherever an image is."""
    account = subject.account
    return (
        subject.config.image_id, account.stored, account.visible, account.losses,
        [(origin.shown, origin.diff_id, origin.chain_id) for origin in subject.origins],
        [each.shown for each in subject.origins[1].before], [each.shown for each in subject.after],
    )  # fmt: skip


EXPECTED_ROWS = ["ADD … /", "RUN rm /etc/motd"]


def test_the_store_tells_what_was_loaded(engine: Engine) -> None:
    engine.images.load(io.BytesIO(docker_archive((APP, [NAME]))))
    with engine.looking.open(NAME) as subject:
        assert (subject.documents.where, subject.account.stored, subject.account.wasted) == ("store", 1510, 1000)
        assert [origin.shown for origin in subject.origins] == EXPECTED_ROWS
        assert [each.shown for each in subject.origins[1].before] == ['CMD ["sh", "-c", "echo"]']
        assert [each.shown for each in subject.after] == ["EXPOSE 80/tcp"]
        assert [origin.blob is not None for origin in subject.origins] == [True, True]
        index = subject.indexes[0]
    with pytest.raises(ValueError, match="released"):
        index.sizes[0]


def archives(folder: Path) -> dict[str, Path | BinaryIO]:
    docker, gzipped, layout_tar = folder / "docker.tar", folder / "docker.tar.gz", folder / "oci.tar"
    docker.write_bytes(docker_archive((APP, [NAME])))
    gzipped.write_bytes(docker_archive((APP, [NAME]), compression="gzip"))
    layout_tar.write_bytes(oci_archive((NAME, APP)))
    return {
        "docker": docker,
        "gzipped": gzipped,
        "oci": layout_tar,
        "directory": oci_layout(folder / "layout", (NAME, APP)),
        "stream": io.BytesIO(docker_archive((APP, [NAME]))),
    }


def test_an_archive_and_a_registry_tell_the_same_and_leave_no_store(
    engine: Engine, registry: Registry, tmp_path: Path
) -> None:
    registry.add(NAME, APP)
    seen = {}
    for kind, source in archives(tmp_path).items():
        with engine.looking.open(archive=source) as subject:
            assert (subject.documents.where, subject.name) == ("archive", NAME)
            seen[kind] = facts(subject)
    with engine.looking.open(f"{registry.host}/{NAME}", remote=True) as subject:
        assert subject.documents.where == "registry"
        seen["registry"] = facts(subject)
    assert not engine.config.root.exists()
    engine.images.load(io.BytesIO(docker_archive((APP, [NAME]))))
    with engine.looking.open(NAME) as subject:
        seen["store"] = facts(subject)
    assert len({repr(each) for each in seen.values()}) == 1, seen


def test_layers_of_a_layout_are_in_its_manifests_order(engine: Engine, tmp_path: Path) -> None:
    """There is no manifest.json in it, and the order of its files is another one: dive's is by chance."""
    many = image(*({f"layer-{number}": b"%d" % number} for number in range(12)))
    assert [each.digest for each in many.layers] != sorted(each.digest for each in many.layers)
    layout = oci_layout(tmp_path / "layout", ("many:1", many))
    assert not (layout / "manifest.json").exists()
    with engine.looking.open(archive=layout) as subject:
        assert [index.path(0) for index in subject.indexes] == [b"layer-%d" % number for number in range(12)]


def test_documents_alone_are_two_small_requests(engine: Engine, registry: Registry) -> None:
    registry.add(NAME, APP)
    with engine.looking.open(f"{registry.host}/{NAME}", remote=True) as subject:
        assert [origin.shown for origin in subject.origins] == EXPECTED_ROWS
        assert [origin.blob.size if origin.blob else 0 for origin in subject.origins] == [
            len(each.blob) for each in APP.layers
        ]
    layers = {str(each.digest) for each in APP.layers}
    assert not [each for each in registry.requests("/blobs/") if each.path.rpartition("/")[2] in layers]


def test_layers_that_the_store_has_are_not_downloaded(engine: Engine, registry: Registry) -> None:
    registry.add(NAME, APP)
    engine.images.load(io.BytesIO(docker_archive((image(BASE), ["base:1"]))))
    with engine.looking.open(f"{registry.host}/{NAME}", remote=True) as subject:
        assert subject.account.wasted == 1000
    asked = [each.path for each in registry.requests("/blobs/", "GET")]
    assert not any(str(APP.layers[0].digest) in path for path in asked)
    assert any(str(APP.layers[1].digest) in path for path in asked)
    assert [str(each.id) for each in engine.images.list(all=True)] == [str(image(BASE).image_id)]


def test_a_download_that_breaks_off_is_taken_up_again(engine: Engine, registry: Registry) -> None:
    big = image({"data": bytes(range(256)) * 4000}, compression="")
    registry.add("demo/big:1", big)
    registry.fault(path=str(big.layers[0].digest), cut=200_000)
    with engine.looking.open(f"{registry.host}/demo/big:1", remote=True) as subject:
        assert subject.account.stored == 1_024_000
    ranges = [each.headers.get("Range") for each in registry.requests(str(big.layers[0].digest), "GET")]
    assert ranges[0] is None and len(ranges) == 2 and str(ranges[1]).startswith("bytes=")


def test_a_bad_layer_is_refused_though_its_download_stands_still(engine: Engine, registry: Registry) -> None:
    bad = image({"a/.wh.b/c": b"", "data": bytes(3 << 20)}, compression="")
    registry.add("demo/bad:1", bad)
    registry.fault(path=str(bad.layers[0].digest), cut=(2 << 20) + 5000, hang=True)
    name = f"{registry.host}/demo/bad:1"
    with engine.looking.open(name, remote=True) as subject, pytest.raises(BadArchive, match="below a whiteout"):
        _ = subject.account


def test_changed_bytes_are_found_out(engine: Engine, registry: Registry) -> None:
    plain = image({"data": b"d" * 5000}, compression="")
    registry.add("demo/plain:1", plain)
    registry.fault(path=str(plain.layers[0].digest), flip=600, times=-1)
    name = f"{registry.host}/demo/plain:1"
    with engine.looking.open(name, remote=True) as subject, pytest.raises(WrongDigest, match="wrong bytes"):
        _ = subject.account


def test_of_several_platforms_one_is_looked_at(engine: Engine, registry: Registry, tmp_path: Path) -> None:
    arm = image({"arm": b"1"}, platform="linux/arm64")
    both = index_of(APP, arm)
    registry.add("demo/multi:amd64", APP)
    registry.add("demo/multi:arm64", arm)
    registry.add_manifest("demo/multi:1", both.media_type, both.raw)
    with engine.looking.open(f"{registry.host}/demo/multi:1", remote=True, platform="linux/arm64") as subject:
        assert subject.config.image_id == arm.image_id
        assert subject.documents.index is not None
    archive = tmp_path / "multi.tar"
    archive.write_bytes(oci_archive(("demo/multi:1", (APP, arm))))
    with engine.looking.open(archive=archive, platform="linux/arm64") as subject:
        assert subject.config.image_id == arm.image_id
    name = f"{registry.host}/demo/multi:1"
    engine.images.pull(name, all_platforms=True)
    for platform, expected in (("linux/amd64", APP), ("linux/arm64", arm)):
        with engine.looking.open(name, platform=platform) as subject:
            assert subject.config.image_id == expected.image_id
    with pytest.raises(NotThatPlatform, match="does not have it for linux/s390x, but for linux/"):
        engine.looking.open(name, platform="linux/s390x").__enter__()


@pytest.mark.parametrize("compression", ["", "gzip"])
def test_layers_of_an_archive_without_a_manifest_are_pulled_as_tars_at_most(
    engine: Engine, tmp_path: Path, compression: str
) -> None:
    path = tmp_path / "plain.tar"
    path.write_bytes(docker_archive((APP, [NAME]), compression=compression))
    with engine.looking.open(archive=path) as subject:
        assert subject.documents.manifest is None and subject.documents.pull_at_most
        told = [(str(origin.blob and origin.blob.digest), origin.at_most) for origin in subject.origins]
        assert told == [(str(diff_id), True) for diff_id in subject.config.diff_ids]
        pull = subject.to_pull()
        verdict = judge(subject, Rules(max_pull=1)).verdicts[0]
        assert (verdict.status, verdict.found) == (Status.FAIL, f"at most {pull}")
    engine.images.load(io.BytesIO(docker_archive((APP, [NAME]))))
    with engine.looking.open(NAME) as subject:
        assert subject.to_pull() == pull


def test_an_archive_of_several_images_wants_a_name(engine: Engine, tmp_path: Path) -> None:
    other = image({"other": b"1"})
    archive = tmp_path / "two.tar"
    archive.write_bytes(docker_archive((APP, [NAME]), (other, ["demo/other:2"])))
    with pytest.raises(WhichImage, match="holds 2 images") as caught, engine.looking.open(archive=archive):
        pass
    assert "demo/other:2" in caught.value.hint
    for name in ("demo/other:2", other.image_id.short, str(other.image_id)):
        with engine.looking.open(name, archive=archive) as subject:
            assert subject.config.image_id == other.image_id
    with pytest.raises(NotInThisArchive), engine.looking.open("demo/third", archive=archive):
        pass
    with pytest.raises(NotFound, match="no such file"), engine.looking.open(archive=tmp_path / "none.tar"):
        pass


def test_a_layer_that_is_another_one_is_refused(engine: Engine, tmp_path: Path) -> None:
    lying = replace(image(BASE), layers=(SampleLayer(image(TOP).layers[0].tar),))
    archive = tmp_path / "lying.tar"
    archive.write_bytes(_archive_with(lying, image(BASE)))
    complaint = f"{re.escape(str(archive))}: layer 1: expected"
    with (
        engine.looking.open(archive=archive) as subject,
        pytest.raises(OtherLayer, match=complaint),
    ):
        _ = subject.account


def _archive_with(lying: SampleImage, honest: SampleImage) -> bytes:
    """An archive with the config of `honest` and the layers of `lying`."""
    return docker_archive((replace(lying, config=honest.config), ["x:1"]))


def test_what_no_disk_could_hold_is_still_looked_at(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = "/".join(["x"] * 2100)
    archive = tmp_path / "deep.tar"
    archive.write_bytes(
        docker_archive((image({f"{deep}/f": b"12345"}, {f"{deep}/.wh.f": b"", f"{deep}/g": b"1"}), ["x:1"]))
    )
    with engine.looking.open(archive=archive) as subject:
        assert (subject.account.stored, subject.account.wasted) == (6, 5)
        out = io.BytesIO()
        assert write(subject, b"x/x", 2, out) > 0
    with pytest.raises(BadArchive, match="the limit is"):
        engine.images.load(archive)
    monkeypatch.setattr(reading, "MOST_IMPLIED", 1 << 20)
    with engine.looking.open(archive=archive) as subject, pytest.raises(BadArchive, match="names of more than 1048576"):
        _ = subject.account


def test_a_stream_without_end_that_is_no_archive_is_not_kept(engine: Engine) -> None:
    for endless in ("/dev/zero", "/dev/urandom"):
        with open(endless, "rb") as stream, pytest.raises(BadArchive, match=f"{endless}: this is not a tar archive"):
            engine.looking.open(archive=stream).__enter__()
    with pytest.raises(BadArchive, match="this is not a tar"), engine.looking.open(archive=io.BytesIO()):
        pass


def test_layers_without_rows_and_images_without_history(engine: Engine, tmp_path: Path) -> None:
    told = row('/bin/sh -c #(nop)  CMD ["sh"]', empty=True)
    for history in ((), (row("ADD one"), told)):
        archive = tmp_path / f"{len(history)}.tar"
        archive.write_bytes(docker_archive((image(BASE, TOP, history=history), ["x:1"])))
        with engine.looking.open(archive=archive) as subject:
            # Which of the two layers the one row made is not guessed, and no row is lost.
            assert [each.shown for each in subject.origins] == ["(no row of the history tells of this layer)"] * 2
            assert [each.raw for each in subject.unplaced] == [each.created_by for each in history]
            assert subject.after == () and all(each.before == () for each in subject.origins)
            assert subject.origins[1].diff_id == DiffID(Digest.of(APP.layers[1].tar))


def test_names_that_lead_out_are_shown_within_and_told(engine: Engine) -> None:
    names: Tree = {
        "a": b"1" * 10,
        "../evil": b"2" * 20,
        "d/../b": b"3" * 30,
        "l": hardlink("x/../../a"),
        "e/../.wh.gone": b"",
    }
    archive = docker_archive((image(BASE, SampleLayer(layer_tar(names), "")), ["x:1"]))
    with engine.looking.open(archive=io.BytesIO(archive)) as subject:
        found = {entry.path: entry.kind for entry in subject.indexes[1]}
        assert found == {b"a": Kind.REGULAR, b"b": Kind.REGULAR, b"evil": Kind.REGULAR, b"gone": Kind.WHITEOUT,
                         b"l": Kind.HARDLINK}  # fmt: skip
        assert [doubt.partition(": ")[2] for doubt in subject.doubts] == [
            f"layer 2: {name!r} is shown as /{shown}; load refuses such a name"
            for name, shown in (("../evil", "evil"), ("d/../b", "b"), ("x/../../a", "a"), ("e/../.wh.gone", ".wh.gone"))
        ]
    with pytest.raises(BadArchive, match="which could leave the root"):
        engine.images.load(io.BytesIO(archive))


def test_what_a_layout_lacks_and_the_store_has_is_told(engine: Engine, tmp_path: Path) -> None:
    sample = image(BASE, TOP)
    layout = oci_layout(tmp_path / "layout", ("x:1", sample))
    engine.images.load(layout)
    with engine.looking.open(archive=layout) as subject:
        assert len(subject.indexes) == 2 and not subject.doubts
    low, high = (layout / "blobs/sha256" / hashlib.sha256(layer.blob).hexdigest() for layer in sample.layers)
    size = low.stat().st_size
    low.write_bytes(low.read_bytes()[:-3])
    high.unlink()
    with engine.looking.open(archive=layout) as subject:
        assert len(subject.indexes) == 2 and list(subject.doubts) == [
            f"{layout}: layer 1 is damaged ({size - 3} bytes, not {size}); it is shown as the store has it",
            f"{layout}: layer 2 is not in it; it is shown as the store has it",
        ]


@pytest.mark.parametrize(("name", "content", "hint"), [
    ("passwd", b"root:x:0:0:root:/root:/bin/sh\n" * 40, "docker save"), ("short", b"x", "docker save"),
    ("dir", b'{"schemaVersion": 2}', "skopeo copy dir:... oci:..."),
])  # fmt: skip
def test_what_is_no_archive_comes_with_the_way_to_one(
    engine: Engine, tmp_path: Path, name: str, content: bytes, hint: str
) -> None:
    path = tmp_path / name
    if name == "dir":
        path.mkdir()
        (path / "version").write_text("Directory Transport Version: 1.1\n")
        (path / "manifest.json").write_bytes(content)
    else:
        path.write_bytes(content)
    with pytest.raises((BadArchive, InvalidArchive)) as caught, engine.looking.open(archive=path):
        pass
    assert hint in (caught.value.hint or "")


BIG = bytes(range(256)) * 300
"""More than what is hashed in any case."""
LOW: Tree = {"same": BIG, "other": BIG, "touched": BIG, "alone": BIG + b"a", "gone": BIG + b"g", "small": b"1"}
HIGH: Tree = {
    "touched": file(BIG, 0o600), "other": BIG[:-1] + b"x", "lower": hardlink("alone"), "alone": file(BIG + b"a", 0o600),
    ".wh.gone": b"", "same": BIG[1:], "new": BIG, "small": b"1",
}  # fmt: skip


@pytest.mark.parametrize("compression", ["", "gzip", "zstd"])
def test_contents_that_were_not_hashed_are_compared_all_the_same(
    engine: Engine, tmp_path: Path, compression: str
) -> None:
    archive = tmp_path / "big.tar"
    archive.write_bytes(docker_archive((image(LOW, HIGH, LOW, compression=compression), ["x:1"])))
    with (
        engine.looking.open(archive=archive) as told,
        engine.looking.open(archive=archive, contents=False) as asked,
        engine.looking.open(archive=archive, contents=False) as once_more,
    ):
        assert all(isinstance(index, UnreadIndex) for index in asked.indexes[:1])
        assert (asked.account.layers, asked.account.losses) == (told.account.layers, told.account.losses)
        for path in {**LOW, **HIGH}:
            name = path.replace(".wh.", "").encode()
            assert history_of(once_more.table, name) == history_of(told.table, name)
        assert [list(index) for index in asked.indexes] == [list(index) for index in told.indexes]
        assert {hash(entry) for entry in once_more.indexes[0]} == {hash(entry) for entry in told.indexes[0]}


def test_a_content_is_asked_for_only_where_it_matters(engine: Engine, tmp_path: Path) -> None:
    archive = tmp_path / "big.tar"
    archive.write_bytes(docker_archive((image({"a": BIG, "b": BIG}, {".wh.a": b"", "b": BIG[1:]}), ["x:1"])))
    with engine.looking.open(archive=archive, contents=False) as subject:
        index = subject.indexes[0]
        archive.write_bytes(b"")  # nobody can read it again
        assert subject.account.wasted == 2 * len(BIG)
        assert [line.entry.size for line in View(subject.table, since=1).level()] == [len(BIG), len(BIG) - 1]
        with pytest.raises(BadArchive, match="layer 1: it has fewer members"):
            index.digest(0)
        with pytest.raises(BadArchive, match="layer 1: it has fewer members"):
            _ = index.entry(1).digest
