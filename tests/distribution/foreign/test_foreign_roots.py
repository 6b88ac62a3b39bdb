"""Data roots of docker and containers/storage, made here by their layouts: listed, explained, imported, not touched."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import shutil
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Veneer
from tests.support.plain_user import UID, plain_user
from veneer.distribution.foreign.root import NoSuchForeignImage, NotAForeignRoot, detect, require
from veneer.drivers.mount import Mount, mounted
from veneer.engine.engine import open_engine
from veneer.oci.digest import chain_ids
from veneer.testing.images import SampleImage, directory, file, image, symlink

pytestmark = pytest.mark.usefixtures("root_only")


@pytest.fixture
def veneer(tmp_path: Path) -> Veneer:
    return Veneer(tmp_path / "root")


def sample() -> SampleImage:
    return image({"etc": directory(), "etc/name": file(b"one"), "old": file(b"x"), "keep": directory(),
                  "keep/below": file(b"hidden")},
                 {"etc": directory(), "etc/name": file(b"two"), ".wh.old": file(), "keep": directory(0o700),
                  "keep/.wh..wh..opq": file(), "link": symlink("/etc/name")})  # fmt: skip


def split(tar: bytes) -> bytes:
    """The tar-split record of a layer."""
    lines, at = [], 0
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        for member in archive:
            lines.append({"type": 2, "payload": base64.b64encode(tar[at : member.offset_data]).decode()})
            lines.append({"type": 1, "name": member.name, "size": member.size, "payload": ""})
            at = member.offset_data + member.size
    lines.append({"type": 2, "payload": base64.b64encode(tar[at:]).decode()})
    return gzip.compress("".join(json.dumps({**line, "position": n}) + "\n" for n, line in enumerate(lines)).encode())


def unpack(tar: bytes, folder: Path, *, aufs: bool) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        for member in archive:
            path = folder / member.name
            if not aufs and path.name == ".wh..wh..opq":
                os.setxattr(path.parent, "trusted.overlay.opaque", b"y")
            elif not aufs and path.name.startswith(".wh."):
                os.mknod(path.with_name(path.name[4:]), stat.S_IFCHR, 0)
            else:
                archive.extract(member, folder)


def docker_root(root: Path, one: SampleImage, driver: str) -> Path:
    """As docker lays it out; aufs without tar-split."""
    folder = root / "image" / driver
    chains = chain_ids(list(one.parsed.diff_ids))
    for number, (layer, chain) in enumerate(zip(one.layers, chains, strict=True)):
        row = folder / "layerdb/sha256" / chain.hex
        row.mkdir(parents=True)
        cache = f"{number + 1:064x}"
        facts = {"diff": layer.diff_id, "cache-id": cache, "size": str(6 - number)}
        for name, text in facts.items():
            (row / name).write_text(text)
        if number:
            (row / "parent").write_text(chains[number - 1])
        (row / "tar-split.json.gz").write_bytes(split(layer.tar))
        place = root / "aufs/diff" / cache if driver == "aufs" else root / driver / cache / "diff"
        unpack(layer.tar, place, aufs=driver == "aufs")
        if driver == "aufs":
            (root / "aufs/layers").mkdir(exist_ok=True)
            (root / "aufs/layers" / cache).write_text("".join(f"{n + 1:064x}\n" for n in reversed(range(number))))
    (folder / "imagedb/content/sha256").mkdir(parents=True)
    (folder / "imagedb/content/sha256" / one.image_id.hex).write_bytes(one.config)
    (folder / "repositories.json").write_text(json.dumps({"Repositories": {"old/app": {"old/app:1": one.image_id}}}))
    return root


def podman_root(root: Path, one: SampleImage) -> Path:
    """As containers/storage lays it out; a container's layer, which has no diff ID, on top."""
    chains = chain_ids(list(one.parsed.diff_ids))
    rows = []
    for number, (layer, chain) in enumerate(zip(one.layers, chains, strict=True)):
        rows.append({"id": chain.hex, "diff-digest": layer.diff_id, "diff-size": 6 - number}
                    | ({"parent": chains[number - 1].hex} if number else {}))  # fmt: skip
        unpack(layer.tar, root / "overlay" / chain.hex / "diff", aufs=False)
    rows.append({"id": "f" * 64, "parent": chains[-1].hex})
    layers, images = root / "overlay-layers", root / "overlay-images"
    layers.mkdir()
    (layers / "layers.json").write_text(json.dumps(rows))
    for layer, chain in zip(one.layers, chains, strict=True):
        (layers / f"{chain.hex}.tar-split.gz").write_bytes(split(layer.tar))
    (images / one.image_id.hex).mkdir(parents=True)
    names = [one.image_id, "manifest"]
    told = {"id": one.image_id.hex, "names": ["docker.io/old/app:1"], "layer": chains[-1].hex, "big-data-names": names}
    (images / "images.json").write_text(json.dumps([told]))
    (images / one.image_id.hex / ("=" + base64.b64encode(one.image_id.encode()).decode())).write_bytes(one.config)
    return root


ROOTS: dict[str, Callable[[Path, SampleImage], Path]] = {
    "overlay2": lambda root, one: docker_root(root, one, "overlay2"),
    "aufs": lambda root, one: docker_root(root, one, "aufs"),
    "overlay": podman_root,
}


def paths(root: Path) -> list[str]:
    return [os.path.join(folder, name) for folder, folders, files in os.walk(root) for name in (*folders, *files, ".")]


def state(names: list[str]) -> dict[str, object]:
    """Everything about files and directories, when they were last read included; it reads none of them."""
    stamps = ("st_atime_ns", "st_mtime_ns", "st_ctime_ns", "st_ino", "st_mode", "st_nlink", "st_uid", "st_size")
    return {name: [getattr(os.lstat(name), stamp) for stamp in stamps] for name in names}


def contents(root: Path) -> dict[str, bytes]:
    return {name: Path(name).read_bytes() for name in paths(root) if stat.S_ISREG(os.lstat(name).st_mode)}


@pytest.mark.parametrize("kind", ROOTS)
def test_a_root_is_listed_explained_and_imported_and_not_touched(tmp_path: Path, veneer: Veneer, kind: str) -> None:
    one = sample()
    (tmp_path / "theirs").mkdir()
    theirs = ROOTS[kind](tmp_path / "theirs", one)
    held, everything = contents(theirs), paths(theirs)
    for name in everything:  # as long ago as it takes for the kernel to note that it is read
        os.utime(name, ns=(0, os.lstat(name).st_mtime_ns), follow_symlinks=False)
    before = state(everything)
    looking = Veneer(theirs)
    assert looking("images", "--no-trunc", "-q").text.split() == [one.image_id]
    rows = [json.loads(line) for line in looking("layer", "ls", "--no-trunc", "--format", "json").text.splitlines()]
    assert [row["DiffID"] for row in rows] == list(one.parsed.diff_ids)
    assert {row["Driver"] for row in rows} == {kind}
    listed = looking("history", "--layers", "--no-trunc", "old/app:1")
    assert (listed.code, listed.err) == (0, "")
    assert str(theirs / ("aufs/diff" if kind == "aufs" else kind)) in listed.text
    assert one.image_id in listed.text
    told = json.loads(looking("layer", "inspect", one.parsed.diff_ids[1]).text)[0]
    assert (told["ChainID"], told["Images"]) == (
        rows[1]["ChainID"], [{"Id": one.image_id, "RepoTags": ["old/app:1"]}]
    )  # fmt: skip
    asked = looking("layer", "which", "--no-trunc", f"{told['Directory']}/etc/name")
    assert asked.text.splitlines()[1].split() == [rows[1]["ChainID"], rows[1]["DiffID"], "5B", "old/app:1"]

    done = veneer("import-store", str(theirs))
    assert (done.text, done.err) == ("Imported image: old/app:1\n", "")
    assert veneer("images", "-q", "--no-trunc").text.split() == [one.image_id]
    assert veneer("system", "check", "--deep").code == 0
    (tmp_path / "m").mkdir()
    assert veneer("mount", "old/app:1", str(tmp_path / "m")).code == 0
    assert sorted(os.listdir(tmp_path / "m")) == ["etc", "keep", "link"]
    assert ((tmp_path / "m/etc/name").read_text(), os.listdir(tmp_path / "m/keep")) == ("two", [])
    assert veneer("unmount", str(tmp_path / "m")).code == 0
    assert state(everything) == before
    assert contents(theirs) == held


def test_a_plain_user_reads_his_own_root_and_does_not_touch_it(tmp_path: Path) -> None:
    one = sample()
    (tmp_path / "home/theirs").mkdir(parents=True)
    theirs = docker_root(tmp_path / "home/theirs", one, "overlay2")
    everything = paths(theirs)
    for name in everything:
        os.chown(name, UID, UID, follow_symlinks=False)
        os.utime(name, ns=(0, os.lstat(name).st_mtime_ns), follow_symlinks=False)
    before = state(everything)
    with plain_user(tmp_path / "home", further_ids=True) as user:
        assert user.veneer("--root", "theirs", "layer", "ls", "--no-trunc", "--format", "{{.DiffID}}").out.split() == (
            list(one.parsed.diff_ids)
        )
        assert user.veneer("import-store", "theirs").out == "Imported image: old/app:1\n"
        os.chown(theirs / "image", 0, 0)
        (theirs / "image").chmod(0o700)
        denied = user.veneer("--root", "theirs", "layer", "ls", check=False)
        assert (denied.code, f"may not be read by uid {UID}" in denied.err) == (1, True)
        os.chown(theirs / "image", UID, UID)
        (theirs / "image").chmod(0o755)
    after = state(everything)
    image = str(theirs / "image")
    changed = {name for name in everything if after[name] != before[name]}
    assert changed <= {image, f"{image}/."}  # by this test itself


def test_an_aufs_root_without_records_is_packed_as_it_lies(tmp_path: Path, veneer: Veneer) -> None:
    """Docker's layout around branches as aufs has them, with what the kernel's aufs leaves in a branch's root."""
    for path in ("one/etc", "one/keep", "two/etc"):
        (tmp_path / path).mkdir(parents=True)
    for path in ("one/etc/name", "one/gone", "one/keep/x"):
        (tmp_path / path).write_text(path)
    (tmp_path / "two/etc/name").write_text("two")
    with open_engine(tmp_path / "maker", storage_driver="aufs") as maker:
        base = maker.images.derive(layer=tmp_path / "one")
        made = maker.images.derive(base, layer=tmp_path / "two")
        root = tmp_path / "theirs"
        rows = root / "image/aufs/layerdb/sha256"
        assert made.top is not None
        for number, layer in enumerate(maker.store.layers.stack(made.top)):
            row, branch = rows / layer.chain_id.hex, root / "aufs/diff" / f"{number:064x}"
            row.mkdir(parents=True)
            facts = {"diff": layer.diff_id, "cache-id": branch.name, "size": "3"}
            for name, text in (facts | ({"parent": layer.parent} if layer.parent else {})).items():
                (row / name).write_text(text)
            shutil.copytree(maker.store.layers.directory(layer), branch, symlinks=True)
            for folder, _, files in os.walk(maker.store.layers.directory(layer)):
                for name in (*files, "."):
                    source = Path(folder, name)
                    at = source.lstat().st_mtime_ns
                    os.utime(branch / source.relative_to(maker.store.layers.directory(layer)), ns=(at, at))
            stamp = branch.stat()
            for name in (".wh..wh.plnk", ".wh..wh.orph"):
                (branch / name).mkdir(mode=0o700)
            (branch / ".wh..wh.aufs").touch(0o444)
            (branch / ".wh..wh.plnk/77.88").write_text("a pseudo-link")
            os.utime(branch, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
        (root / "image/aufs/imagedb/content/sha256").mkdir(parents=True)
        (root / "image/aufs/imagedb/content/sha256" / made.id.hex).write_bytes(made.config.raw)
    assert veneer("import-store", str(root), made.id).text == f"Imported image ID: {made.id}\n"
    assert veneer("system", "check", "--deep").code == 0


@pytest.mark.parametrize("kind", ROOTS)
def test_a_root_on_a_read_only_mount_is_read(tmp_path: Path, veneer: Veneer, kind: str) -> None:
    one = sample()
    for name in ("theirs", "seen"):
        (tmp_path / name).mkdir()
    with mounted([Mount.bind(ROOTS[kind](tmp_path / "theirs", one), readonly=True)], tmp_path / "seen") as seen:
        assert len(Veneer(seen)("layer", "ls", "-q").text.split()) == 2
        assert one.image_id in Veneer(seen)("history", "--no-trunc", "old/app:1").text
        assert veneer("import-store", str(seen)).text == "Imported image: old/app:1\n"


@pytest.mark.parametrize("driver", ["zfs", "devicemapper"])
def test_layers_in_no_directories_are_listed_and_not_imported(tmp_path: Path, veneer: Veneer, driver: str) -> None:
    one = sample()
    (tmp_path / "theirs").mkdir()
    theirs = docker_root(tmp_path / "theirs", one, driver)
    shutil.rmtree(theirs / driver)
    listed = Veneer(theirs)("layer", "ls", "--no-trunc", "--format", "{{.DiffID}} {{.Driver}}")
    assert listed.text.split() == [word for layer in one.layers for word in (layer.diff_id, driver)]
    assert Veneer(theirs)("history", "--layers", "old/app:1").code == 0
    assert "belongs to no layer" in Veneer(theirs)("layer", "which", str(theirs / "image")).err
    refused = veneer("import-store", str(theirs))
    assert (refused.code, f"is in no directory: {driver} has its files" in refused.err) == (1, True)
    assert "docker save" in refused.err


def test_a_layer_whose_files_were_changed_is_not_taken_in(tmp_path: Path, veneer: Veneer) -> None:
    one = sample()
    (tmp_path / "theirs").mkdir()
    theirs = docker_root(tmp_path / "theirs", one, "overlay2")
    (theirs / f"overlay2/{2:064x}/diff/etc/name").write_text("six")
    done = veneer("import-store", str(theirs), "old/app:1")
    assert done.code == 1
    assert "invalid diffID for layer 1" in done.err
    (theirs / f"overlay2/{2:064x}/diff/etc/name").write_text("")
    assert "3 bytes too short" in veneer("import-store", str(theirs)).err
    assert veneer("images", "-q").text == ""
    # Whatever else is there and whole is taken in.
    base = image({"etc": directory(), "etc/name": file(b"one"), "old": file(b"x"), "keep": directory(),
                  "keep/below": file(b"hidden")})  # fmt: skip
    assert base.layers[0].diff_id == one.layers[0].diff_id
    folder = theirs / "image/overlay2"
    (folder / "imagedb/content/sha256" / base.image_id.hex).write_bytes(base.config)
    named = {"old/app": {"old/app:1": one.image_id}, "old/base": {"old/base:1": base.image_id}}
    (folder / "repositories.json").write_text(json.dumps({"Repositories": named}))
    done = veneer("import-store", str(theirs))
    assert (done.code, done.text) == (1, "Imported image: old/base:1\n")
    assert done.err.startswith("Error: old/app:1: ")


@pytest.mark.parametrize("kind", ROOTS)
def test_what_is_gone_is_named_where_it_is_only_looked_at(tmp_path: Path, kind: str) -> None:
    one = sample()
    (tmp_path / "theirs").mkdir()
    theirs = ROOTS[kind](tmp_path / "theirs", one)
    looking = Veneer(theirs)
    assert looking("layer", "ls").err == ""
    layer = json.loads(looking("layer", "inspect", one.parsed.diff_ids[1]).text)[0]
    shutil.rmtree(layer["Directory"])
    for words in (
        ("images",),
        ("layer", "ls"),
        ("history", "--layers", "old/app:1"),
        ("layer", "inspect", layer["DiffID"]),
    ):
        told = looking(*words)
        fact = f"Warning: layer {layer['ChainID']} is damaged: {layer['Directory']} is missing\n"
        assert (told.code, told.err, told.text != "") == (0, fact, True)

    if kind == "overlay":
        folder = theirs / "overlay-images"
        config = next((folder / one.image_id.hex).iterdir())
    else:
        config = theirs / f"image/{kind}/imagedb/content/sha256" / one.image_id.hex
        shutil.rmtree(theirs / f"image/{kind}/layerdb/sha256" / layer["ChainID"][7:])
        lost = f"Warning: image old/app:1 is damaged: its layer {layer['ChainID']} is not there\n"
        assert looking("images").err == lost
    config.unlink()
    told = looking("images", "-q")
    assert (told.code, told.text) == (0, "")
    assert told.err.startswith("Warning: left out: image ") and "old/app:1: its config, " in told.err


def test_a_path_is_told_whose_it_is_though_it_is_no_layer_s(tmp_path: Path, veneer: Veneer) -> None:
    """The one above all layers is of none; and in a root that was not asked after it says which one that is."""
    (tmp_path / "theirs").mkdir()
    theirs = docker_root(tmp_path / "theirs", sample(), "overlay2")
    place = theirs / f"overlay2/{2:064x}"
    (place / "merged/etc").mkdir(parents=True)
    asked = Veneer(theirs)("layer", "which", str(place / "merged/etc"))
    assert (asked.code, "belongs to no single layer" in asked.err, f"in {place}/diff, or" in asked.err) == (
        1,
        True,
        True,
    )
    assert veneer("images").code == 0
    for root, path in ((theirs, place / "diff/etc/name"), (veneer.root, veneer.root / "blobs")):
        asked = Veneer(tmp_path / "other")("layer", "which", str(path))
        assert asked.err.endswith(f"hint: the data root there is {root}: give it with --root\n")
    assert "hint" not in veneer("layer", "which", "/etc/passwd").err


def test_a_link_in_a_layer_leads_nowhere_outside_of_it(tmp_path: Path, veneer: Veneer) -> None:
    (tmp_path / "theirs").mkdir()
    theirs = docker_root(tmp_path / "theirs", sample(), "overlay2")
    (tmp_path / "name").write_text("two")
    folder = theirs / f"overlay2/{2:064x}/diff/etc"
    (folder / "name").unlink()
    folder.rmdir()
    folder.symlink_to(tmp_path)
    assert "cannot be read" in veneer("import-store", str(theirs)).err


def test_what_is_no_root_or_has_no_such_image_is_said(tmp_path: Path) -> None:
    assert detect(tmp_path) is None
    with pytest.raises(NotAForeignRoot, match="is no data root of docker"):
        require(tmp_path)
    with pytest.raises(NotAForeignRoot, match="nowhere is not there"):
        require(tmp_path / "nowhere")
    Veneer(tmp_path / "ours")("images")
    with pytest.raises(NotAForeignRoot, match="is veneer's own data root"):
        require(tmp_path / "ours")
    root = docker_root(tmp_path / "theirs", sample(), "overlay2")
    with pytest.raises(NoSuchForeignImage, match="No such image: other"):
        require(root).image("other")


def test_what_is_another_engine_s_is_not_worked_on(tmp_path: Path) -> None:
    root = docker_root(tmp_path / "theirs", sample(), "overlay2")
    everything = paths(root)
    before = state(everything)
    for words in (["ps"], ["run", "old/app:1"], ["rmi", "old/app:1"], ["system", "prune", "-f"], ["volume", "ls"]):
        done = Veneer(root)(*words)
        assert done.code != 0
        assert "is no veneer store and not empty" in done.err
        assert "other engines' are only looked at, by images, history, layer; import-store takes" in done.err
    assert (state(everything), paths(root)) == (before, everything)
