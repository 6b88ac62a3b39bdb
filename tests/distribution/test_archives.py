"""save, load, import and export: images come in from every layout and go out with every digest unchanged."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.programs import needs
from tests.support.registries import RealRegistry
from veneer.config import Config
from veneer.distribution.archive_load import Loaded, NotAParent
from veneer.distribution.archive_source import NoSuchArchive
from veneer.engine.engine import Engine
from veneer.errors import VeneerError
from veneer.oci import manifest as manifests
from veneer.oci.digest import Digest
from veneer.oci.image import HistoryEntry
from veneer.oci.reference import Reference
from veneer.testing import images

if TYPE_CHECKING:
    from typing_extensions import Buffer

TREE: images.Tree = {
    "etc": images.directory(),
    "etc/motd": b"hello\n",
    "etc/link": images.symlink("motd"),
    "big": b"x" * 200_000,
}
TOP: images.Tree = {"etc/.wh.link": b"", "new": b"new\n"}
IMAGE = images.image(TREE, TOP)


def load(engine: Engine, tmp_path: Path, data: bytes) -> list[Loaded]:
    archive = tmp_path / "in.tar"
    archive.write_bytes(data)
    return engine.images.load(archive)


def names(data: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return archive.getnames()


def member(data: bytes, name: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        found = archive.extractfile(name)
        assert found is not None
        return found.read()


def saved(engine: Engine, *wanted: str, format: str = "docker") -> bytes:
    out = io.BytesIO()
    engine.images.save(wanted, out, format=format)
    return out.getvalue()


WRAPPINGS: list[Callable[[], bytes]] = [
    lambda: images.docker_archive((IMAGE, ["app:1"])),
    lambda: images.docker_archive((IMAGE, ["app:1"]), compression="gzip"),
    lambda: images.docker_archive((IMAGE, ["app:1"]), compression="zstd"),
    lambda: images.docker_archive((IMAGE, ["app:1"]), compression="bzip2"),
    lambda: images.docker_archive((IMAGE, ["app:1"]), compression="xz"),
    lambda: images.oci_archive(("docker.io/library/app:1", IMAGE)),
    lambda: images.oci_archive(("docker.io/library/app:1", IMAGE), compression="gzip"),
]


@pytest.mark.parametrize("wrapping", range(len(WRAPPINGS)))
def test_every_layout_and_wrapping_loads(engine: Engine, tmp_path: Path, wrapping: int) -> None:
    [loaded] = load(engine, tmp_path, WRAPPINGS[wrapping]())
    assert loaded.image_id == IMAGE.image_id
    assert loaded.reference is not None
    assert loaded.reference.familiar == "app:1"
    assert engine.images.inspect("app:1")["RootFS"]["Layers"] == [str(layer.diff_id) for layer in IMAGE.layers]
    assert not engine.system.check(deep=True)


@pytest.mark.parametrize("wrapping", range(len(WRAPPINGS)))
def test_every_layout_loads_through_a_pipe(engine: Engine, wrapping: int) -> None:
    read, write = os.pipe()
    if pid := os.fork():
        os.close(write)
        with open(read, "rb", buffering=0) as stream:
            [loaded] = engine.images.load(stream)
        os.waitpid(pid, 0)
    else:
        os.close(read)
        with open(write, "wb") as out:
            out.write(WRAPPINGS[wrapping]())
        os._exit(0)
    assert loaded.image_id == IMAGE.image_id


def test_an_open_file_is_read_in_place_from_where_it_stands(engine: Engine, tmp_path: Path) -> None:
    archive = tmp_path / "in.tar"
    archive.write_bytes(b"a line before it\n" + images.docker_archive((IMAGE, ["app:1"])))
    with open(archive, "rb") as stream:
        assert stream.readline() == b"a line before it\n"
        [loaded] = engine.images.load(stream)
        assert stream.read() == b""
    assert loaded.image_id == IMAGE.image_id
    assert not engine.system.collect().items  # nothing was copied that the image does not need
    assert not engine.system.check(deep=True)


def test_a_stream_that_only_has_a_file_below_it_is_read_as_a_stream(engine: Engine, tmp_path: Path) -> None:
    class Shifted(io.BufferedReader):
        """Bytes other than the file's, as a decrypting stream gives."""

        def readinto(self, buffer: Buffer, /) -> int:
            count = super().readinto(buffer)
            view = memoryview(buffer).cast("B")
            view[:count] = bytes(byte ^ 1 for byte in view[:count])
            return count

    archive = tmp_path / "in"
    archive.write_bytes(bytes(byte ^ 1 for byte in images.docker_archive((IMAGE, ["app:1"]))))
    with Shifted(io.FileIO(archive)) as stream:
        [loaded] = engine.images.load(stream)
    assert loaded.image_id == IMAGE.image_id


def test_a_layout_directory_loads_with_its_manifest_byte_for_byte(engine: Engine, tmp_path: Path) -> None:
    [loaded] = engine.images.load(images.oci_layout(tmp_path / "layout", ("docker.io/library/app:1", IMAGE)))
    assert engine.images.get(str(loaded.image_id)).manifest == IMAGE.digest


@pytest.mark.parametrize("compression", ["", "gzip", "zstd", "bzip2", "xz"])
def test_layers_inside_an_archive_may_be_compressed(engine: Engine, tmp_path: Path, compression: str) -> None:
    inner = images.SampleLayer(images.layer_tar(TREE), compression)
    sample = images.image(inner)
    wrapped: images.Tree = {"c.json": sample.config, "l.tar": inner.blob}
    entry = [{"Config": "c.json", "RepoTags": None, "Layers": ["l.tar"]}]
    [loaded] = load(engine, tmp_path, images.layer_tar({**wrapped, "manifest.json": json.dumps(entry).encode()}))
    assert loaded == Loaded(sample.image_id, None)
    assert not engine.system.check(deep=True)


def test_links_between_layers_of_an_archive_are_followed_inside_it(engine: Engine, tmp_path: Path) -> None:
    sample = images.image(TREE, TREE)
    entry = [{"Config": "c.json", "RepoTags": ["app:1"], "Layers": ["a/layer.tar", "./b/layer.tar"]}]
    members: images.Tree = {
        "a/layer.tar": sample.layers[0].tar,
        "b/layer.tar": images.symlink("../a/layer.tar"),
        "c.json": sample.config,
        "manifest.json": json.dumps(entry).encode(),
    }
    [loaded] = load(engine, tmp_path, images.layer_tar(members))
    assert loaded.image_id == sample.image_id


def test_saving_a_loaded_layout_gives_every_blob_back(engine: Engine, tmp_path: Path) -> None:
    load(engine, tmp_path, images.oci_archive(("docker.io/library/app:1", IMAGE)))
    archive = saved(engine, "app:1")
    for digest, data in {**IMAGE.blobs(), IMAGE.digest: IMAGE.manifest.raw}.items():
        assert member(archive, f"blobs/sha256/{digest.hex}") == data
    assert saved(engine, "app:1") == archive


@pytest.mark.parametrize("format", ["docker", "docker-legacy", "oci"])
def test_what_is_saved_loads_elsewhere_with_the_same_id(
    engine: Engine, config: Config, tmp_path: Path, format: str
) -> None:
    load(engine, tmp_path, images.docker_archive((IMAGE, ["app:1", "app:2"])))
    archive = saved(engine, "app:1", "app:2", format=format)
    with Engine(Config(root=tmp_path / "second", docker_config=config.docker_config)) as second:
        loaded = load(second, tmp_path, archive)
        assert {each.image_id for each in loaded} == {IMAGE.image_id}
        assert {each.reference.familiar for each in loaded if each.reference} == {"app:1", "app:2"}
        assert second.images.inspect("app:2")["RootFS"] == engine.images.inspect("app:1")["RootFS"]


def test_a_layer_of_two_images_is_in_the_archive_once(engine: Engine, tmp_path: Path) -> None:
    first, second = images.image(TREE), images.image(TREE, TOP)
    load(engine, tmp_path, images.docker_archive((first, ["a:1"]), (second, ["b:1"])))
    for format in ("docker", "docker-legacy"):
        found = names(saved(engine, "a:1", "b:1", format=format))
        assert len(found) == len(set(found))
    layers = [name for name in names(saved(engine, "a:1", "b:1", format="docker-legacy")) if name.endswith("layer.tar")]
    assert len(layers) == 3  # one of them a link: the two images' base has another folder in each


def test_a_bare_repository_saves_all_its_tags_and_an_id_saves_none(engine: Engine, tmp_path: Path) -> None:
    load(engine, tmp_path, images.docker_archive((IMAGE, ["app:1", "app:2"]), (images.image(TREE), ["other:1"])))
    [entry] = json.loads(member(saved(engine, "app"), "manifest.json"))
    assert entry["RepoTags"] == ["app:1", "app:2"]
    [entry] = json.loads(member(saved(engine, IMAGE.image_id.short), "manifest.json"))
    assert entry["RepoTags"] is None
    with pytest.raises(VeneerError, match=r"No such image: nowhere$"):
        saved(engine, "nowhere")


def test_parents_in_one_archive_come_back_and_false_ones_are_refused(engine: Engine, tmp_path: Path) -> None:
    base = images.image(TREE)
    rows = [*base.parsed.history, HistoryEntry(created_by="CMD", empty_layer=True)]
    child = images.image(TREE, history=rows)
    parents = {child.image_id: base.image_id}
    load(engine, tmp_path, images.docker_archive((child, ["app:1"]), (base, []), parents=parents))
    assert [row.id for row in engine.images.history("app:1")] == [child.image_id, base.image_id]
    [entry, _] = json.loads(member(saved(engine, "app:1", base.image_id), "manifest.json"))
    assert entry["Parent"] == base.image_id
    stranger = images.image({"x": b"y"})
    with pytest.raises(NotAParent, match="is not a valid parent for"):
        load(
            engine,
            tmp_path,
            images.docker_archive((stranger, []), (base, []), parents={stranger.image_id: base.image_id}),
        )


def test_loading_moves_a_tag_and_tells_who_had_it(engine: Engine, tmp_path: Path) -> None:
    load(engine, tmp_path, images.docker_archive((images.image(TREE), ["app:1"])))
    [loaded] = load(engine, tmp_path, images.docker_archive((IMAGE, ["app:1"])))
    assert loaded.replaced == images.image(TREE).image_id


def test_an_index_comes_in_and_goes_out_whole(engine: Engine, tmp_path: Path) -> None:
    other = images.image(TREE, platform="linux/arm64")
    listed = images.index(IMAGE, other)
    load(engine, tmp_path, images.oci_archive(("docker.io/library/app:1", (IMAGE, other))))
    for format in ("docker", "oci"):
        assert member(saved(engine, "app:1", format=format), f"blobs/sha256/{listed.digest.hex}") == listed.raw
    assert not engine.system.check(deep=True)


def test_a_wrong_layer_is_named_with_both_digests_and_leaves_nothing(engine: Engine, tmp_path: Path) -> None:
    wrong = images.layer_tar({"evil": b"1"})
    entry = [{"Config": "c.json", "RepoTags": ["app:1"], "Layers": ["l.tar"]}]
    members = {"c.json": images.image(TREE).config, "l.tar": wrong, "manifest.json": json.dumps(entry).encode()}
    with pytest.raises(VeneerError, match=f"invalid diffID for layer 0: expected .*, got {Digest.of(wrong)}"):
        load(engine, tmp_path, images.layer_tar(members))
    assert engine.images.list(all=True) == []
    engine.system.collect()
    assert engine.layers.list() == []
    assert not engine.system.check(deep=True)


@pytest.mark.parametrize("cut", [0, 100, 3000, 60_000])
def test_a_truncated_archive_is_an_error_and_leaves_nothing(engine: Engine, tmp_path: Path, cut: int) -> None:
    whole = images.docker_archive((IMAGE, ["app:1"]))
    with pytest.raises(VeneerError):
        load(engine, tmp_path, whole[:cut])
    assert engine.images.list(all=True) == []


def test_what_is_no_archive_is_told_so(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(VeneerError, match="not a tar archive"):
        load(engine, tmp_path, os.urandom(4096))
    with pytest.raises(VeneerError, match=r"neither manifest.json nor index.json") as caught:
        load(engine, tmp_path, images.layer_tar(TREE))
    assert "veneer import" in caught.value.hint
    with pytest.raises(NoSuchArchive, match="no such file"):
        engine.images.load(tmp_path / "nowhere.tar")


@pytest.mark.parametrize("name", ["index.json", "blobs"])
def test_links_in_a_layout_directory_are_never_followed(engine: Engine, tmp_path: Path, name: str) -> None:
    layout = images.oci_layout(tmp_path / "layout", ("docker.io/library/app:1", IMAGE))
    (layout / name).rename(tmp_path / "outside")
    (layout / name).symlink_to(tmp_path / "outside")
    with pytest.raises(VeneerError):
        engine.images.load(layout)
    assert engine.images.list(all=True) == []


def test_a_fifo_in_a_layout_does_not_make_us_wait(engine: Engine, tmp_path: Path) -> None:
    layout = images.oci_layout(tmp_path / "layout", ("docker.io/library/app:1", IMAGE))
    (layout / "index.json").unlink()
    os.mkfifo(layout / "index.json")
    with pytest.raises(VeneerError, match="not a regular file"):
        engine.images.load(layout)


def test_save_writes_the_file_whole_or_not_at_all(engine: Engine, tmp_path: Path) -> None:
    load(engine, tmp_path, images.docker_archive((IMAGE, ["app:1"])))
    target = tmp_path / "out.tar"
    target.write_bytes(b"before")
    with pytest.raises(VeneerError):
        engine.images.save(["app:1", "nowhere:1"], target)
    assert target.read_bytes() == b"before"
    engine.images.save(["app:1"], target)
    assert "manifest.json" in names(target.read_bytes())
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []
    with pytest.raises(VeneerError, match="no such directory"):
        engine.images.save(["app:1"], tmp_path / "missing" / "out.tar")


def test_save_to_a_full_disk_says_so(engine: Engine, tmp_path: Path) -> None:
    load(engine, tmp_path, images.docker_archive((IMAGE, ["app:1"])))
    with pytest.raises(VeneerError, match="/dev/full"):
        engine.images.save(["app:1"], Path("/dev/full"))


def test_saving_to_a_directory_makes_a_layout_other_tools_read(engine: Engine, tmp_path: Path) -> None:
    needs("skopeo")
    load(engine, tmp_path, images.oci_archive(("docker.io/library/app:1", IMAGE)))
    engine.images.save(["app:1"], tmp_path / "layout", format="oci-dir")
    shown = subprocess.run(
        ["skopeo", "inspect", "--raw", f"oci:{tmp_path}/layout:app:1"], check=True, capture_output=True
    ).stdout
    assert shown == IMAGE.manifest.raw
    with pytest.raises(VeneerError, match="not empty"):
        engine.images.save(["app:1"], tmp_path / "layout", format="oci-dir")


def test_imported_trees_become_one_layer_with_dockers_history(engine: Engine) -> None:
    tar = images.layer_tar(TREE)
    image = engine.images.import_(
        io.BytesIO(tar), reference="rootfs", changes=['CMD ["sh"]', "ENV A=1"], message="from tests"
    )
    assert [layer["RootFS"]["Layers"] for layer in [engine.images.inspect("rootfs")]] == [[str(Digest.of(tar))]]
    assert image.config.run == {"Cmd": ["sh"], "Env": ["A=1"]}
    [row] = engine.images.history("rootfs:latest")
    assert (row.comment, row.created_by) == ("from tests", "")


@pytest.mark.parametrize("compression", ["gzip", "zstd", "bzip2", "xz"])
def test_a_compressed_tree_imports_as_its_plain_self(engine: Engine, compression: str) -> None:
    layer = images.SampleLayer(images.layer_tar(TREE), compression)
    image = engine.images.import_(io.BytesIO(layer.blob))
    assert image.config.diff_ids == (layer.diff_id,)
    assert image.config.history[-1].comment == "Imported from -"
    assert not engine.system.check(deep=True)


def test_export_writes_the_merged_tree(engine: Engine, tmp_path: Path) -> None:
    load(engine, tmp_path, images.docker_archive((IMAGE, ["app:1"])))
    out = io.BytesIO()
    engine.images.export("app:1", out)
    assert sorted(names(out.getvalue())) == ["big", "etc", "etc/motd", "new"]
    again = io.BytesIO()
    engine.images.export("app:1", again)
    assert again.getvalue() == out.getvalue()


def test_an_image_from_scratch_exports_as_the_empty_tar(engine: Engine) -> None:
    image = engine.images.derive(None, created_by="CMD", run={"Cmd": ["x"]})
    out = io.BytesIO()
    engine.images.export(str(image.id), out)
    assert out.getvalue() == bytes(1024)
    assert names(saved(engine, str(image.id))) != []


def test_an_image_in_dockers_words_is_read_in_place_and_saved_in_ocis(
    engine: Engine, config: Config, registry: RealRegistry, tmp_path: Path
) -> None:
    needs("skopeo")
    sample = images.image(TREE, TOP, style="docker")
    name = registry.put("words/docker:1", sample)
    engine.images.pull(name)
    engine.system.collect()
    engine.images.save([name], tmp_path / "layout", format="oci-dir")
    for layout in (config.root, tmp_path / "layout"):
        raw = subprocess.run(
            ["skopeo", "inspect", "--raw", f"oci:{layout}:{name}"], check=True, capture_output=True
        ).stdout
        read = manifests.parse(raw)
        assert isinstance(read, manifests.Manifest)
        assert read.media_type == manifests.OCI_MANIFEST
        assert [layer.digest for layer in read.layers] == [layer.digest for layer in sample.layers]
        assert str(read.config.digest) == sample.image_id
    # What goes back to a registry, or to a docker, is what came.
    assert engine.images.get(name).manifest == sample.digest
    assert member(saved(engine, name), f"blobs/sha256/{sample.digest.hex}") == sample.manifest.raw
    engine.images.remove(name)
    assert not engine.system.check(deep=True)
    assert sorted((config.root / "blobs/sha256").iterdir()) == []


def test_indexes_that_name_each_other_many_times_are_saved_once(engine: Engine, tmp_path: Path) -> None:
    layout = images.oci_layout(tmp_path / "layout", ("", IMAGE))
    child = IMAGE.manifest.descriptor
    for _ in range(4):  # 30 to the power of 4 ways lead to the one image
        outer = manifests.Index.build(manifests.OCI_INDEX, (child,) * 30)
        (layout / "blobs/sha256" / outer.digest.hex).write_bytes(outer.raw)
        child = outer.descriptor
    with engine.store.lease("test") as lease:
        engine.images.load(layout)
        for blob in sorted((layout / "blobs/sha256").iterdir()):
            engine.store.blobs.put(lease, blob.read_bytes(), manifests.OCI_INDEX if blob.stat().st_size > 3000 else "")
        engine.store.images.tag(IMAGE.image_id, Reference.parse("many:1"), index=child.digest)
        out = io.BytesIO()
        engine.images.save(["many:1"], out, format="oci")
    assert len(names(out.getvalue())) == len(set(names(out.getvalue())))
