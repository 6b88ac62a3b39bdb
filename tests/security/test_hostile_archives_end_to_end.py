"""Hostile archives as a user meets them: loaded or imported into a store that has an image already.

Whatever is tried, the error names the layer, the member and the fact, nothing outside the root changes, nothing is
left after a collection, and the image that was there before is still whole.  What is tried at which member has its
own tests, in every whiteout style: test_archives.py.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import json
import lzma
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from backports import zstd

from tests.support.hostile import BAD, KEPT, Scene, archive, archive_with_config, config_with, with_layer
from tests.support.layers import (
    BLOCK,
    CHARACTER,
    END,
    FIFO,
    REGULAR,
    Layer,
    header,
    padded,
    pax,
)  # fmt: skip
from tests.support.loop import NoLoopMounts, loop_mounted
from veneer.changeset import bounds
from veneer.changeset.limits import Limits
from veneer.config import Config
from veneer.errors import NotFound, VeneerError
from veneer.oci.digest import Digest
from veneer.oci.manifest import OCI_CONFIG, OCI_MANIFEST
from veneer.testing.images import SampleLayer, docker_archive, image, layer_tar, oci_archive, oci_layout

ZEROS = 64 << 20


@pytest.fixture(params=["overlay2", "vfs"])
def scene(request: pytest.FixtureRequest, tmp_path: Path, config: Config) -> Iterator[Scene]:
    """A store with an image, for each driver: they unpack in different ways."""
    with Scene(tmp_path, config, storage_driver=request.param) as made:
        yield made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One store for all the documents that are refused: each attempt proves that it left nothing."""
    base = tmp_path_factory.mktemp("shared")
    with Scene(base, Config(root=base / "root", docker_config=base / "config.json")) as made:
        yield made


@pytest.fixture
def one(tmp_path: Path, config: Config) -> Iterator[Scene]:
    """The same with the driver that is chosen by itself, where the driver plays no part."""
    with Scene(tmp_path, config) as made:
        yield made


# -- layers ------------------------------------------------------------------------------------------------------


def test_names_that_leave_the_root(scene: Scene) -> None:
    for name in (b"../x", b"a/../../x", b"/../outside/secret", b".."):
        scene.refuses_layer(Layer().file(b"fine").file(name), "'..' component", name.decode())
        scene.refuses_layer(Layer().symlink(name, b"x"), "'..' component", name.decode())
    scene.refuses_layer(Layer().pax({b"path": b"a\0b"}).file(b"x"), "NUL")
    outside = os.fsencode(scene.outside / "secret")
    assert outside[1:] in scene.takes_layer(Layer().pax({b"path": outside}).file(b"x", b"hacked"))


def test_links_on_the_way_and_in_the_place_of_the_root(scene: Scene) -> None:
    outside = os.fsencode(scene.outside)
    for target in (
        outside,
        b"../outside",
        b"../../../../../../../../tmp",
        b"/proc/self/root",
        b"/proc/self/cwd",
        b"/..",
    ):
        layer = Layer().symlink(b"esc", target).file(b"esc/secret", b"hacked").dir(b"esc/folder", 0o777)
        layer.file(b"esc/folder/inner", b"hacked").file(b"esc/.wh.link").file(b"esc/folder/.wh..wh..opq")
        scene.takes_layer(layer.node(b"esc/p", FIFO).hardlink(b"esc/h", b"esc/secret"))
    chain = Layer().dir(b"a").symlink(b"a/up", b"..").symlink(b"b", b"a/up/..").symlink(b"c", b"b/outside")
    scene.takes_layer(chain.file(b"c/secret", b"hacked").symlink(b"l", b"l/l").file(b"l/x"))
    attributes = {b"SCHILY.xattr.user.x": b"1", b"mtime": b"1"}
    meta = Layer().pax(attributes).symlink(b"s", outside + b"/secret", uid=7).pax(attributes).symlink(b"d", outside)
    scene.takes_layer(meta.pax(attributes).dir(b"d", 0o777, uid=8).hardlink(b"h", b"s", mode=0o777, uid=9))
    for name in (b"./", b"/", b"."):
        scene.refuses_layer(Layer().symlink(name, b"/etc"), "the root can only be a directory")


def test_hard_links_to_what_is_not_the_layers_own(scene: Scene) -> None:
    for target in (b"../outside/secret", b"a/../../outside/secret", b""):
        scene.refuses_layer(Layer().hardlink(b"l", target), "'l': hard link to")
    outside = os.fsencode(scene.outside)
    scene.refuses_layer(Layer().hardlink(b"l", outside + b"/secret"), "'l': hard link to", "neither this layer nor one")
    scene.takes_layer(Layer().symlink(b"d", outside).symlink(b"s", b"d/secret").hardlink(b"m", b"s").file(b"m", b"x"))
    scene.refuses_layer(Layer().symlink(b"d", outside).hardlink(b"l", b"d/secret"), "'l': hard link to 'd/secret'")
    scene.refuses_layer(Layer().dir(b"e").hardlink(b"l", b"e"), "'l': hard link to a directory")
    scene.refuses_layer(Layer().dir(b"e").file(b"e/t").hardlink(b"e", b"e/t"), "'e': hard link to what is below itself")
    assert b"etc/copy" in scene.takes_layer(Layer().hardlink(b"etc/copy", b"/etc/motd"))


def test_hard_links_that_wait_for_one_another(scene: Scene) -> None:
    """A round for each of them would make a quarter of a million take days."""
    layer = Layer()
    for number in range(100):
        layer.hardlink(b"l%d" % number, b"l%d" % (number + 1))
    scene.refuses_layer(layer.file(b"l100"), "hard link to a hard link", "'l0'")


def test_whiteouts_of_no_name_and_forged_ones(scene: Scene) -> None:
    for name in (b".wh...", b".wh..", b".wh.", b"a/.wh..."):
        scene.refuses_layer(Layer().file(name), "whiteout of no valid name", name.decode())
    scene.refuses_layer(Layer().file(b".wh.etc/x"), "below a whiteout")
    scene.refuses_layer(Layer().file(b".wh..wh.plnk/../x"), "'..'")
    scene.refuses_layer(Layer().node(b"n", CHARACTER, (0, 0)), "'n': character device 0:0")
    scene.takes_layer(Layer().symlink(b".wh..wh.plnk", b"/etc").file(b".wh..wh.plnk/x").file(b".wh..wh..opq"))
    names = (b"redirect", b"metacopy", b"opaque", b"origin", b"whiteout", b"nlink")
    forged = {b"SCHILY.xattr.%s.overlay.%s" % (space, name): b"y" for space in (b"trusted", b"user") for name in names}
    found = scene.takes_layer(Layer().pax(forged).dir(b"etc").pax(forged).file(b"f"))
    assert b"overlay." not in found and b"etc/motd" in found
    assert b"user.empty" in scene.takes_layer(Layer().pax({b"SCHILY.xattr.user.empty": b""}).file(b"f"))


def test_nodes_are_never_opened(scene: Scene) -> None:
    layer = Layer().node(b"p", FIFO).file(b"p", b"x").node(b"q", FIFO).dir(b"q").node(b"r", FIFO).file(b"r/x")
    scene.takes_layer(layer.node(b"b", BLOCK, (7, 200)).file(b"b/x").node(b"t", FIFO).hardlink(b"u", b"t"))
    scene.refuses_layer(Layer().node(b"n", BLOCK, (1 << 12, 0)), "'n': device number")
    scene.refuses_layer(Layer().file(b"f", uid=(1 << 32) - 1), "owner", "'f'")


def test_names_and_attributes_beyond_every_limit(scene: Scene) -> None:
    scene.refuses_layer(Layer().pax({b"path": b"d/" * 100_000 + b"f"}).file(b"x"), "bytes; the limit is 4096")
    scene.refuses_layer(Layer().pax({b"path": b"d/" * 300 + b"f"}).file(b"x"), "directories deep")
    scene.refuses_layer(Layer().pax({b"path": b"n" * 256}).file(b"x"), "longer than 255")
    scene.refuses_layer(Layer().pax({b"linkpath": b"t" * 5000}).symlink(b"s", b"x"), "'s': symlink with a target of")
    scene.refuses_layer(
        Layer().pax({b"SCHILY.xattr.user.x": bytes(70_000)}).file(b"f"), "extended attributes of", "'f'"
    )
    scene.refuses_layer(Layer().pax({b"SCHILY.xattr.user." + b"n" * 300: b""}).file(b"f"), "one too many")
    scene.refuses_layer(header(b"p", b"x", 1 << 30) + bytes(4096), "extended header of 1073741824 bytes")
    scene.refuses_layer(header(b"x", b"L", 1 << 40) + bytes(1024), "extended header of")
    scene.refuses_layer(header(b"f", REGULAR, 1 << 50) + END, "'f': size", "out of range")
    deep = Layer().pax({b"path": b"d/" * 254 + b"f"}).file(b"x")
    scene.takes_layer(deep)


def test_what_is_no_tar_or_one_that_lies_about_itself(scene: Scene) -> None:
    for data in (b"not a tar" * 1000, b"\xff" * 5000, b"\x7fELF" + bytes(600)):
        scene.refuses_layer(data, "this is not a tar archive")
    scene.refuses_layer(header(b"f", REGULAR, -512) + END, "negative size", "'f'")
    scene.refuses_layer(bytes(Layer().file(b"f", bytes(3000)).data[:2000]), "'f': the archive is cut off")
    scene.refuses_layer(Layer().file(b"f").raw(b"x" * 512), "wrong checksum")
    scene.refuses_layer(header(b"f", b"Q") + END, "'f': members of type")
    huge = {b"GNU.sparse.size": b"%d" % (1 << 60), b"GNU.sparse.map": b"0,0"}
    scene.refuses_layer(Layer().pax(huge).file(b"f"), "holes of a layer", "'f'")
    many = pax({b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.realsize": b"1"})
    scene.refuses_layer(many + header(b"f", REGULAR, 512) + padded(b"1000000000\n"), "'f'", "pieces")
    junk = Layer().file(b"f").tar() + b"\x01" * 3000 + header(b"../hidden")
    assert b"hidden" not in scene.takes_layer(junk)


@pytest.mark.parametrize("compression", ["gzip", "zstd", "bzip2", "xz"])
def test_a_damaged_stream_is_told_with_its_place(one: Scene, compression: str) -> None:
    whole = with_layer(Layer().file(b"f", os.urandom(100_000)), compression)
    [_, layer] = whole.layers
    entry = {"Config": "c.json", "RepoTags": [BAD], "Layers": ["base", "top"]}

    def attempt(blob: bytes) -> Callable[[], None]:
        files = {"c.json": whole.config, "base": whole.layers[0].blob, "top": blob}
        return lambda: one.load(archive([entry], files))

    for blob in (layer.blob[:-50_000], layer.blob + b"junk after the end", layer.blob[:60_000] + layer.blob[60_001:]):
        one.refused(attempt(blob), compression if blob != layer.blob else "")
    one.load(archive([entry], {"c.json": whole.config, "base": whole.layers[0].blob, "top": layer.blob}))


def test_a_bomb_that_is_a_layer(one: Scene) -> None:
    frame = zstd.compress(bytes(ZEROS))
    bomb = zstd.compress(Layer().file(b"f").tar()) + frame * (1 + (1 << 30) // ZEROS)
    entry = {"Config": "c.json", "RepoTags": [BAD], "Layers": ["bomb.tar"]}
    config = config_with(rootfs={"type": "layers", "diff_ids": ["sha256:" + "0" * 64]})
    one.refused(lambda: one.load(archive([entry], {"c.json": config, "bomb.tar": bomb})), "layer 1 of 1", "bomb")


@pytest.mark.parametrize("pack", [bz2.compress, lzma.compress, zstd.compress], ids=["bzip2", "xz", "zstd"])
def test_a_bomb_that_is_an_archive_or_is_stored_unpacked(
    one: Scene, monkeypatch: pytest.MonkeyPatch, pack: Callable[[bytes], bytes]
) -> None:
    """The gigabyte that is let through untold is shortened here, to spare the disk."""
    monkeypatch.setattr(bounds, "Limits", lambda: Limits(ratio_grace=1 << 20))
    tar = layer_tar({"zeros": bytes(20 << 20)})
    error = one.refused(lambda: one.load(pack(tar)), "a decompression bomb", "in.tar")
    assert "compressed bytes became more than" in error.message
    if pack is not zstd.compress:
        one.refused(lambda: one.engine.images.import_(io.BytesIO(pack(tar))), "a decompression bomb")
        entry = {"Config": "c.json", "RepoTags": [BAD], "Layers": ["l.tar"]}
        one.refused(lambda: one.load(archive([entry], {"c.json": KEPT.config, "l.tar": pack(tar)})), "length mismatch")
        files = {"c.json": image({"f": b"fresh"}).config, "l.tar": pack(tar)}
        one.refused(lambda: one.load(archive([entry], files)), "l.tar", "a decompression bomb")


def test_a_nested_bomb_is_only_a_file(one: Scene) -> None:
    one.takes_layer(Layer().file(b"bomb.gz", gzip.compress(bytes(ZEROS))))


def test_pseudo_links_of_aufs_survive_an_opaque_root(scene: Scene) -> None:
    layer = Layer().file(b".wh..wh.plnk/7.1", b"x" * 5000).file(b".wh..wh..opq").hardlink(b"a", b".wh..wh.plnk/7.1")
    found = scene.takes_layer(layer.hardlink(b"b", b".wh..wh.plnk/7.1"))
    assert b"x" * 5000 in found and b".wh." not in found and b"etc" not in found


def test_what_an_unmentioned_opaque_directory_was_like_is_kept(scene: Scene) -> None:
    """The marker hides what is in it, not its permissions: `d` of the layer below is 1777."""
    assert b"d/" + bytes(98) + b"0001777\0" in scene.takes_layer(Layer().file(b"d/.wh..wh..opq").file(b"d/f"))


# -- documents of archives --------------------------------------------------------------------------------------


def layers_of(count: int) -> dict[str, Any]:
    return {"type": "layers", "diff_ids": [str(KEPT.layers[0].diff_id)] * count}


@pytest.mark.parametrize(
    ("raw", "fact"),
    [
        (b'{"rootfs":{},"rootfs":{}}', "duplicate key 'rootfs'"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "nested deeper than 64"),
        (b'{"a":NaN}', "NaN is not JSON"),
        (b'{"a":1e999}', "out of range"),
        (b'{"a":' + b"9" * 5000 + b"}", "not JSON"),
        (b'{"a":[' + b"{}," * 120_000 + b"{}]}", "objects and lists, more than the 100000"),
        (config_with(author="\ud800"), "half a character"),
        (config_with(config={"Labels": {"\udcff": ""}}), "half a character"),
        (config_with().decode().encode("utf-16"), "not JSON"),
        (b"\xef\xbb\xbf" + config_with(), "not JSON"),
        (config_with(author="é").decode("unicode-escape").encode("latin-1"), "not JSON"),
        (b"[]", "want a JSON object"),
        (b"", "not JSON"),
        (config_with(rootfs=[]), "rootfs.diff_ids"),
        (config_with(rootfs={"diff_ids": ["sha256:../../../etc/passwd"]}), "invalid digest"),
        (config_with(rootfs={"diff_ids": ["SHA256:" + "a" * 64]}), "invalid digest"),
        (config_with(rootfs={"diff_ids": [["x"]]}), "invalid digest"),
        (config_with(rootfs=layers_of(1001)), "1001 layers, more than the 1000"),
        (config_with(rootfs=layers_of(2)), "layers length mismatch"),
        (config_with(history=[{}] * 2), "too many non-empty layers"),
        (config_with(history=[{"empty_layer": True}] * 10_001), "10001 history rows"),
        (config_with(history=[1]), "a history entry must be an object"),
        (b" " * (4 << 20) + config_with(), "a document may have 4194304"),
    ],
)  # fmt: skip
def test_configs_that_cannot_be_right(shared: Scene, raw: bytes, fact: str) -> None:
    error = shared.refused(lambda: shared.load(archive_with_config(raw)), fact)
    assert "c.json" in error.message or fact == "layers length mismatch"


@pytest.mark.parametrize(
    "changes",
    [
        {"config": {"Env": {"a": 1}, "Cmd": 5, "Labels": [1], "ExposedPorts": [], "Volumes": "x", "User": 9}},
        {"config": {"Env": [1, None, {}], "Cmd": [[[]]], "Labels": {"a": {}}, "Entrypoint": "sh", "Healthcheck": 7}},
        {"config": [], "container_config": 5, "docker_version": [], "author": {}, "variant": 7, "os.version": []},
        {"created": "99999-99-99T99:99:99Z", "os": "li\0nux", "architecture": "\x1b[2J", "history": [{"created": 5}]},
        {"created": -1, "history": [{"created_by": "\x1b]0;owned\x07\u202e", "comment": {}, "empty_layer": "yes"}]},
        {"os": "x" * 100_000, "x": 10**4000, "created": "0000-00-00T00:00:00Z"},
    ],
)
def test_an_odd_config_breaks_no_command_and_prints_nothing_raw(one: Scene, changes: dict[str, Any]) -> None:
    from veneer.cli.main import run

    one.load(archive_with_config(config_with(**changes)))
    for words in (
        ["history", "--no-trunc", BAD], ["inspect", BAD], ["images"], ["images", "--filter", "label=a"],
        ["system", "df", "-v"], ["history", "--layers", BAD], ["save", "-o", str(one.base / "o.tar"), BAD],
        ["tag", BAD, "other:1"], ["image", "inspect", BAD], ["rmi", "other:1", BAD],
    ):  # fmt: skip
        out, err = io.StringIO(), io.StringIO()
        assert run(["--root", str(one.config.root), *words], out, err, io.StringIO()) == 0, err.getvalue()
        assert err.getvalue() == ""
        assert not {"\x1b", "\0", "\x07"} & set(out.getvalue()), words
    one.unharmed()


FRESH = image({"f": b"fresh"})


def entry_of(**changes: object) -> dict[str, object]:
    return {"Config": "c.json", "RepoTags": [BAD], "Layers": ["l.tar"], **changes}


@pytest.mark.parametrize(
    ("entries", "fact"),
    [
        ([entry_of(Config="../../outside/secret")], "is no member name"),
        ([entry_of(Config="/" + "../" * 20 + "etc/passwd")], "is no member name"),
        ([entry_of(Config="c\0.json")], "is no member name"),
        ([entry_of(Config="\x1b[2J")], r"\x1b[2J is not in the archive"),
        ([entry_of(Config=None)], "is no member name"),
        ([entry_of(Layers=["../outside/secret"])], "is no member name"),
        ([entry_of(Layers=["nowhere.tar"])], "nowhere.tar is not in the archive"),
        ([entry_of(Layers=["ring/a"])], "more than 8 links in a row"),
        ([entry_of(Layers=["out"])], "is not in the archive"),
        ([entry_of(Layers=["manifest.json"])], "invalid diffID for layer 0"),
        ([entry_of(Layers={"a": 1})], "Layers must be a list"),
        ([entry_of(RepoTags=["../../etc:1"])], "invalid reference format"),
        ([entry_of(RepoTags=["UPPER:1"])], "must be lowercase"),
        ([entry_of(RepoTags=["a" * 64])], "hexadecimal"),
        ([entry_of(RepoTags=["a:1\x1b[2J\n"])], "invalid reference format"),
        ([entry_of(RepoTags=[f"a:{n}" for n in range(10_001)])], "more than 10000 names"),
        ([entry_of(RepoTags=[5])], "invalid reference format"),
        ([entry_of(Parent="../../x")], "invalid digest"),
        ([entry_of()] * 10_001, "lists 10001 images"),
        ({"a": 1}, "must be a list of objects"),
        (b'[{"Config":"c.json","Config":"l.tar"}]', "duplicate key"),
        (b'[{"Config":"\\ud800"}]', "half a character"),
        (b"[" * 100, "nested deeper than 64"),
    ],
)  # fmt: skip
def test_manifests_of_archives_that_cannot_be_right(shared: Scene, entries: object, fact: str) -> None:
    raw = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    layer = Layer().file(b"c.json", FRESH.config).file(b"l.tar", FRESH.layers[0].tar)
    layer.symlink(b"ring/a", b"b").symlink(b"ring/b", b"a")
    layer.symlink(b"out", os.fsencode(shared.outside / "secret")).file(b"manifest.json", raw)
    shared.refused(lambda: shared.load(layer.tar()), fact, "in.tar")
    shared.refused(lambda: shared.load(gzip.compress(layer.tar(), 1)), fact, "in.tar")


def test_a_parent_that_is_not_there_is_told(one: Scene) -> None:
    with pytest.raises(NotFound, match="No such image"):
        one.load(
            archive([entry_of(Parent="sha256:" + "1" * 64)], {"c.json": config_with(), "l.tar": KEPT.layers[0].tar})
        )
    one.engine.images.remove(BAD)
    one.unharmed()


def test_of_two_members_of_one_name_the_last_counts(one: Scene) -> None:
    real = json.dumps([entry_of()]).encode()
    twice = Layer().symlink(b"manifest.json", b"elsewhere").file(b"manifest.json", b"[]").file(b"c.json", config_with())
    twice.file(b"manifest.json", real).file(b"l.tar", KEPT.layers[0].tar)
    for data in (twice.tar(), gzip.compress(twice.tar())):
        one.load(data)
        one.engine.images.remove(BAD)
    one.unharmed()


LOAD = """
import sys
from veneer.cli.main import run
code = run(["--root", sys.argv[1], "load"], sys.stdout, sys.stderr, sys.stdin)
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
sys.exit(code)
"""


def peak_of_load(root: Path, data: Callable[[Any], None]) -> tuple[int, str]:
    """A load in a process of its own, fed by `data`: its peak in KiB and what it complained of."""
    command = [sys.executable, "-c", LOAD, str(root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None

        def feed(pipe: Any) -> None:
            with contextlib.suppress(BrokenPipeError), pipe:  # it may have seen enough
                data(pipe)

        feeder = threading.Thread(target=feed, args=(process.stdin,))
        feeder.start()
        said, peak = process.stderr.read().decode(), int(process.stdout.read())
        feeder.join()
    assert process.returncode == 1, said
    return peak, said


def test_an_archive_of_endless_names_takes_little_memory(one: Scene) -> None:
    def data(out: Any) -> None:
        compressor = zstd.ZstdCompressor()
        for number in range(40_000):
            name = b"%08d/" % number + b"n" * 3000
            out.write(compressor.compress(pax({b"path": name}) + header(b"x")))
        out.write(compressor.flush())

    peak, said = peak_of_load(one.config.root, data)
    assert "members so far are more than an image's" in said
    assert peak < 200_000
    one.unharmed()


def test_an_archive_of_endless_small_members_takes_little_memory(one: Scene) -> None:
    def data(out: Any) -> None:
        compressor = zstd.ZstdCompressor()
        body = os.urandom(60_000)
        for number in range(400):
            out.write(compressor.compress(header(b"%d" % (number % 350), REGULAR, len(body)) + padded(body)))
        out.write(compressor.compress(END) + compressor.flush())

    peak, said = peak_of_load(one.config.root, data)
    assert "neither manifest.json nor index.json" in said
    assert peak < 120_000
    one.unharmed()


# -- OCI layouts ----------------------------------------------------------------------------------------------------


def layout_of(index: object, blobs: list[bytes]) -> bytes:
    files = {f"blobs/sha256/{Digest.of(blob).hex}": blob for blob in blobs}
    raw = index if isinstance(index, bytes) else json.dumps(index).encode()
    return layer_tar({**files, "oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": raw})


def index_of(*children: dict[str, object]) -> dict[str, object]:
    return {"schemaVersion": 2, "manifests": list(children)}


def child(raw: bytes, **changes: object) -> dict[str, object]:
    return {"mediaType": OCI_MANIFEST, "digest": str(Digest.of(raw)), "size": len(raw), **changes}


MANIFEST = KEPT.manifest.raw
BLOBS = list(KEPT.blobs().values())


def manifest_with(**changes: object) -> bytes:
    return json.dumps(json.loads(MANIFEST) | changes).encode()


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        ({"digest": "sha256:../../../etc/passwd"}, "invalid digest"),
        ({"digest": "sha256:" + "A" * 64}, "invalid digest"),
        ({"digest": "sha256:abc"}, "invalid digest"),
        ({"digest": "md5:" + "a" * 32}, "invalid digest"),
        ({"digest": None}, "invalid digest"),
        ({"size": -1}, "no byte count"),
        ({"size": True}, "no byte count"),
        ({"size": 1e3}, "no byte count"),
        ({"digest": "sha256:" + "0" * 64}, "is not in the archive"),
        ({"digest": str(KEPT.layers[0].digest)}, "not JSON"),
        ({"mediaType": "application/vnd.oci.image.index.v1+json"}, "but calls itself"),
    ],
)  # fmt: skip
def test_indexes_of_layouts_that_cannot_be_right(shared: Scene, change: dict[str, object], fact: str) -> None:
    shared.refused(lambda: shared.load(layout_of(index_of(child(MANIFEST, **change)), [MANIFEST, *BLOBS])), fact)


@pytest.mark.parametrize(
    ("raw", "fact"),
    [
        (manifest_with(manifests=[]), "both an image"),
        (manifest_with(fsLayers=[]), "schema 1"),
        (manifest_with(schemaVersion=1), "schema 1"),
        (manifest_with(layers=[{"digest": "sha256:" + "a" * 64, "size": 1}] * 1001), "1001 layers"),
        (manifest_with(layers=[]), "layers length mismatch"),
        (manifest_with(config=child(b"x", mediaType=OCI_CONFIG)), "not in the archive"),
        (MANIFEST[:-1] + b',"layers":[]}', "duplicate key 'layers'"),
        (manifest_with(layers=[{**layer, "size": 7} for layer in json.loads(MANIFEST)["layers"]]), "7 bytes, but"),
        (manifest_with(layers=json.loads(MANIFEST)["layers"][::-1]), "invalid diffID"),
    ],
)  # fmt: skip
def test_manifests_of_layouts_that_cannot_be_right(shared: Scene, raw: bytes, fact: str) -> None:
    shared.refused(lambda: shared.load(layout_of(index_of(child(raw)), [raw, *BLOBS])), fact)


def test_a_blob_that_is_not_what_its_name_says(one: Scene) -> None:
    fresh = image({"f": os.urandom(1000)}, compression="gzip")
    whole = {f"blobs/sha256/{digest.hex}": data for digest, data in fresh.blobs().items()}
    whole[f"blobs/sha256/{fresh.digest.hex}"] = fresh.manifest.raw
    index = json.dumps(index_of(child(fresh.manifest.raw))).encode()
    for name, data in whole.items():
        for wrong in (data[:-1], data + b" ", data[:20] + bytes([data[20] ^ 1]) + data[21:], b""):
            one.refused(partial(one.load, layer_tar({**whole, name: wrong, "index.json": index})))


def test_a_blob_that_only_claims_to_be_a_layer_that_is_here(one: Scene) -> None:
    """The layer need not be unpacked again; unread, its false blob would go out with every image that has it."""
    evil = SampleLayer(layer_tar({"etc/evil": b"1"}))
    fitting = SampleLayer(KEPT.layers[0].tar, "zstd")
    for blob, fact in ((evil, "invalid diffID for layer 0"), (fitting, "")):
        config = image(KEPT.layers[0], config={"Labels": {"mine": fact}})
        layers = [{**json.loads(MANIFEST)["layers"][0], "digest": str(blob.digest), "size": len(blob.blob)}]
        raw = manifest_with(config=child(config.config, mediaType=OCI_CONFIG), layers=layers)
        data = layout_of(index_of(child(raw)), [raw, config.config, blob.blob])
        if fact:
            one.refused(partial(one.load, data), fact, str(evil.diff_id))
    one.load(data)
    one.engine.images.remove(str(config.image_id))
    one.unharmed()


def test_indexes_that_name_each_other_a_thousandfold(one: Scene) -> None:
    below, blobs = child(MANIFEST), [MANIFEST, *BLOBS]
    for _ in range(4):
        padded_out = below | {"annotations": {"long": "x" * 3000}}
        raw = json.dumps({"schemaVersion": 2, "manifests": [padded_out] * 1000}).encode()
        blobs.append(raw)
        below = child(raw, mediaType="application/vnd.oci.image.index.v1+json")
    one.refused(lambda: one.load(layout_of(index_of(*[below] * 1000), blobs)), "documents take more than")


def test_links_and_other_things_in_a_layout_directory(one: Scene) -> None:
    layout = oci_layout(one.base / "layout", (BAD, image({"f": b"fresh"})))
    elsewhere = one.base / "elsewhere"
    for name in ("index.json", "blobs", "blobs/sha256"):
        (layout / name).rename(elsewhere)
        (layout / name).symlink_to(elsewhere)
        one.refused(lambda: one.engine.images.load(layout), "layout")
        (layout / name).unlink()
        elsewhere.rename(layout / name)
    for name in ["index.json", *(str(path.relative_to(layout)) for path in (layout / "blobs/sha256").iterdir())]:
        kept = (layout / name).read_bytes()
        for put in (
            lambda path: path.symlink_to(one.outside / "secret"),
            os.mkfifo,
            os.mkdir,
            lambda path: os.mknod(path, 0o20666, os.makedev(1, 5)),
        ):
            (layout / name).unlink()
            put(layout / name)
            one.refused(lambda: one.engine.images.load(layout), "layout")
            (layout / name).rmdir() if (layout / name).is_dir() else (layout / name).unlink()
            (layout / name).write_bytes(kept)
    one.engine.images.load(layout)


# -- where archives come from -------------------------------------------------------------------------------------


def test_fifos_and_devices_as_archives(one: Scene) -> None:
    one.refused(lambda: one.engine.images.load(Path("/dev/zero")), "neither manifest.json nor index.json")
    one.refused(lambda: one.engine.images.load(Path("/dev/urandom")), "not a tar archive")
    one.refused(lambda: one.engine.images.load(Path("/dev/null")), "/dev/null")
    one.refused(lambda: one.engine.images.load(one.base / "nowhere"), "no such file")
    fifo = one.base / "fifo"
    os.mkfifo(fifo)
    data = docker_archive((image({"f": b"fresh"}), [BAD]))
    writer = threading.Thread(target=fifo.write_bytes, args=(data,))
    writer.start()
    one.engine.images.load(fifo)
    writer.join()
    one.engine.images.remove(BAD)
    one.unharmed()


def test_an_archive_cut_off_anywhere(one: Scene) -> None:
    data = docker_archive((image({"f": os.urandom(3000)}), [BAD]))
    packed = gzip.compress(data)
    end = data.rindex(b'"Config"')
    for number in range(12):
        for part in (data[: end * number // 12], packed[: len(packed) * number // 12]):
            one.refused(partial(one.load, part))


def test_both_layouts_that_disagree(one: Scene) -> None:
    """The manifest's layers are the ones that count; docker's file adds names, to the same config only."""
    fresh = image({"f": b"fresh"})
    whole = Layer().raw(oci_archive((BAD, fresh))[:-1024])
    entry = {"Config": f"blobs/sha256/{fresh.image_id.hex}", "RepoTags": ["second:1"], "Layers": ["nowhere"]}
    one.load(whole.file(b"manifest.json", json.dumps([entry]).encode()).tar())
    assert one.engine.images.get("second:1").id == one.engine.images.get(BAD).id == fresh.image_id
    one.engine.images.remove("second:1")
    one.engine.images.remove(BAD)
    one.unharmed()


# -- a disk that is full --------------------------------------------------------------------------------------------


def fill(folder: Path, leave: int) -> Path:
    """A file that takes all of a file system but about `leave` bytes."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as out:
        free = os.statvfs(folder)
        os.posix_fallocate(out.fileno(), 0, max(1, free.f_bavail * free.f_frsize - leave))
    return filler


@pytest.mark.parametrize("driver", ["overlay2", "vfs"])
@pytest.mark.usefixtures("root_only")
def test_a_disk_full_of_bytes(tmp_path: Path, config: Config, ext4: Callable[[int], Path], driver: str) -> None:
    disk = ext4(48 << 20)
    fresh = image({"f": os.urandom(3 << 20), "g": os.urandom(3 << 20)}, compression="")
    data = docker_archive((fresh, [BAD]))
    with Scene(tmp_path, config, root=disk / "root", storage_driver=driver) as scene:
        actions: list[tuple[Callable[[], object], str]] = [
            (lambda: scene.load(data), BAD),
            (lambda: scene.load(gzip.compress(data, 1)), BAD),
            (lambda: scene.engine.images.import_(io.BytesIO(fresh.layers[0].tar), reference=BAD), BAD),
        ]
        for action, name in actions:
            for leave in (1 << 20, 8 << 20):
                filler = fill(disk, leave)
                error = scene.refused(action, "no space")
                assert "inode" not in error.message
                filler.unlink()
            action()
            scene.engine.images.remove(name)
            scene.unharmed()


@pytest.mark.usefixtures("root_only")
def test_a_disk_full_of_inodes(tmp_path: Path, config: Config) -> None:
    fresh = docker_archive((image({f"f{n}": b"" for n in range(400)}), [BAD]))
    try:
        with (
            loop_mounted(tmp_path / "disk", 32 << 20, options=("-N", "400")) as disk,
            Scene(tmp_path, config, root=disk / "root") as scene,
        ):
            scene.refused(lambda: scene.load(fresh), "inode")
            scene.load(docker_archive((image({f"f{n}": b"" for n in range(40)}), [BAD])))
            scene.engine.images.remove(BAD)
            scene.unharmed()
    except NoLoopMounts as error:
        pytest.skip(str(error))


@pytest.mark.usefixtures("root_only")
def test_names_come_and_go_on_a_disk_without_a_byte(
    tmp_path: Path, config: Config, ext4: Callable[[int], Path]
) -> None:
    """tag may fail there, whole; rmi may not; and both work when there is space again."""
    disk = ext4(24 << 20)
    with Scene(tmp_path, config, root=disk / "root") as scene:
        scene.load(docker_archive((image({"f": os.urandom(200_000)}), [BAD])))
        filler = fill(disk, 0)
        with (disk / "rest").open("wb", buffering=0) as rest:
            for size in (4096, 1):
                try:
                    while True:
                        rest.write(b"x" * size)
                except OSError:
                    continue
        tagged = 0
        for number in range(200):
            try:
                scene.engine.images.tag("kept:1", f"more:{number}")
                tagged += 1
            except VeneerError as error:
                assert "no space" in error.message
                break
        assert len(scene.engine.images.list(name="more")) == (1 if tagged else 0)
        scene.engine.images.remove(BAD)
        with pytest.raises(NotFound):
            scene.engine.images.get(BAD)
        filler.unlink()
        (disk / "rest").unlink()
        for number in range(200):
            scene.engine.images.tag("kept:1", f"more:{number}")
        for number in range(200):
            scene.engine.images.remove(f"more:{number}")
        scene.unharmed()
