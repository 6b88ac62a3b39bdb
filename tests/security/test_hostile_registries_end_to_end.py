"""Lying registries as a user meets them: pulled from, into a store that has an image already.

Whatever the registry does, the error names it or what it sent, no credential goes where it does not belong, nothing
is left after a collection, and the image that was there before is still whole.  How often a broken registry is
asked, and for which bytes, has its own tests: tests/distribution/.
"""

from __future__ import annotations

import io
import json
import os
import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from backports import zstd

from tests.distribution.conftest import FakeClock
from tests.support.hostile import KEPT, Scene, config_with
from tests.support.layers import Layer
from veneer.config import Config
from veneer.distribution.auth import Credentials
from veneer.distribution.credentials import CredentialFile
from veneer.errors import VeneerError
from veneer.oci.digest import BlobDigest, Digest
from veneer.oci.manifest import DOCKER_LIST, OCI_CONFIG, OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST, Descriptor, Manifest
from veneer.testing.images import SampleLayer, image, layer_tar
from veneer.testing.registry import Registry

NOISE = random.Random(7).randbytes(200_000)
FRESH = image({"etc/fresh": b"1", "noise": NOISE})
LAYER = FRESH.layers[0]


@pytest.fixture
def fake() -> Iterator[Registry]:
    with Registry() as registry:
        yield registry


@pytest.fixture(autouse=True)
def _nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the tries that a broken registry is given, only the clock moves."""
    monkeypatch.setattr("veneer.distribution.client.Clock", FakeClock)


@pytest.fixture
def scene(tmp_path: Path, config: Config) -> Iterator[Scene]:
    with Scene(tmp_path, config) as made:
        yield made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One store for all that is refused: each attempt proves that it left nothing."""
    base = tmp_path_factory.mktemp("shared")
    with Scene(base, Config(root=base / "root", docker_config=base / "config.json")) as made:
        yield made


def pulled(scene: Scene, fake: Registry, name: str = "a:1", **how: Any) -> None:
    scene.engine.images.pull(f"{fake.host}/{name}", **how)


def manifest_with(**changes: object) -> bytes:
    return json.dumps(json.loads(FRESH.manifest.raw) | changes).encode()


def layer_with(**changes: object) -> bytes:
    [layer] = json.loads(FRESH.manifest.raw)["layers"]
    return manifest_with(layers=[layer | changes])


# -- manifests ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "fact"),
    [
        (manifest_with(manifests=[]), "both an image (layers) and an index (manifests)"),
        (manifest_with(fsLayers=[]), "schema 1"),
        (manifest_with(schemaVersion=True), "schema 1"),
        (manifest_with(schemaVersion="2"), "schemaVersion must be 2"),
        (manifest_with(mediaType=DOCKER_LIST), "but calls itself"),
        (manifest_with(mediaType=["x"]), "mediaType must be a text"),
        (FRESH.manifest.raw[:-1] + b',"layers":[]}', "duplicate key 'layers'"),
        (manifest_with(x=float("nan")), "NaN is not JSON"),
        (b'{"x":' * 100 + b"1" + b"}" * 100, "nested deeper than 64"),
        (FRESH.manifest.raw.decode().encode("utf-16"), "not JSON"),
        (manifest_with(annotations={"a": "\ud800"}), "half a character"),
        (manifest_with(layers=[{"digest": "sha256:" + "a" * 64, "size": 1}] * 1001), "1001 layers"),
        (manifest_with(layers=[]), "0 layers, its config 1 diff IDs"),
        (manifest_with(layers={}), "layers must be a list"),
        (layer_with(digest="sha256:../../../../etc/passwd"), "invalid digest"),
        (layer_with(digest="sha256:" + "A" * 64), "invalid digest"),
        (layer_with(digest="sha256:" + "a" * 63), "invalid digest"),
        (layer_with(digest="md5:" + "a" * 32), "invalid digest"),
        (layer_with(digest="\x1b[2J"), "invalid digest"),
        (layer_with(size=-1), "no byte count"),
        (layer_with(size=1 << 80), "no byte count"),
        (layer_with(size=len(LAYER.blob) - 1), "its size is"),
        (layer_with(size=len(LAYER.blob) + 1), "its size is"),
        (manifest_with(config={**json.loads(FRESH.manifest.raw)["config"], "size": 5 << 20}), "more than the 4194304"),
        (manifest_with(config=None), "a descriptor must be an object"),
    ],
)  # fmt: skip
def test_manifests_that_cannot_be_right(shared: Scene, fake: Registry, raw: bytes, fact: str) -> None:
    fake.add("a", FRESH)
    fake.add_manifest("a:1", OCI_MANIFEST, raw)
    shared.refused(partial(pulled, shared, fake), fact)


def test_a_manifest_without_end_or_with_another_name(shared: Scene, fake: Registry) -> None:
    fake.add("a:1", FRESH)
    fake.fault("/manifests/", extra=b" " * (5 << 20), length=-1, times=-1)
    shared.refused(partial(pulled, shared, fake), fake.host)
    fake.heal()
    fake.fault("/manifests/", headers={"Content-Type": OCI_INDEX}, times=-1)
    shared.refused(partial(pulled, shared, fake), "but calls itself")
    fake.heal()
    fake.fault("/manifests/", method="", headers={"Docker-Content-Digest": "sha256:" + "0" * 64}, times=-1)
    shared.refused(partial(pulled, shared, fake))
    fake.heal()
    other = fake.add("b:1", image({"other": b"1"}))
    fake.manifests["a"][other] = fake.manifests["a"][Digest(FRESH.digest)]
    shared.refused(partial(pulled, shared, fake, f"a@{other}"), fake.host, str(other))


def test_configs_that_cannot_be_right(shared: Scene, fake: Registry) -> None:
    diff_ids = {"type": "layers", "diff_ids": [str(LAYER.diff_id)]}
    for raw, fact in (
        (config_with(rootfs={"diff_ids": ["sha256:" + "0" * 64]}), str(LAYER.diff_id)),
        (config_with(rootfs={"diff_ids": ["../../etc"]}), "invalid digest"),
        (config_with(rootfs=diff_ids, history=[{}] * 3), "too many non-empty layers"),
        (config_with(rootfs=diff_ids, author="\ud800"), "half a character"),
        (config_with(rootfs=diff_ids)[:-1] + b',"os":"linux"}', "duplicate key 'os'"),
        (b"\x7fELF", "not JSON"),
        (b'{"a":[' + b"{}," * 120_000 + b"{}]}", "objects and lists"),
    ):
        descriptor = Descriptor(OCI_CONFIG, BlobDigest(fake.add_blob("a", raw)), len(raw))
        fake.add("a", FRESH)
        made = Manifest.build(OCI_MANIFEST, descriptor, FRESH.manifest.layers)
        fake.add_manifest("a:1", OCI_MANIFEST, made.raw)
        shared.refused(partial(pulled, shared, fake), fact)


def index_over(*children: dict[str, object], media_type: str = OCI_INDEX) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": list(children)}).encode()


def test_indexes_that_never_end_or_choose_nothing(shared: Scene, fake: Registry) -> None:
    fake.add("a", FRESH)
    below: dict[str, object] = FRESH.manifest.descriptor.to_json()
    for _ in range(4):
        raw = index_over(*[below | {"annotations": {"n": str(n)}} for n in range(1000)])
        below = {"mediaType": OCI_INDEX, "digest": str(fake.add_manifest("a:1", OCI_INDEX, raw)), "size": len(raw)}
    pulled(shared, fake, all_platforms=True)
    assert len(fake.requests("/manifests/")) < 10, "each once, however often it is named"
    shared.engine.images.remove(f"{fake.host}/a:1")
    shared.unharmed()
    deep = index_over(below)
    fake.add_manifest("a:1", OCI_INDEX, deep)
    shared.refused(partial(pulled, shared, fake), "indexes within each other")
    shared.refused(partial(pulled, shared, fake, all_platforms=True), "indexes within each other")
    child = FRESH.manifest.descriptor.to_json()
    for variant in ("v\u00b2", "v" + "9" * 5000, "\ud7ff"):
        odd = {**child, "platform": {"os": "linux", "architecture": "amd64", "variant": variant}}
        arm = {**child, "platform": {"os": "linux", "architecture": "arm", "variant": variant}}
        fake.add_manifest("a:1", OCI_INDEX, index_over(odd, arm))
        shared.refused(partial(pulled, shared, fake, platform="linux/arm/v7"), "no matching manifest")
    many = index_over(*[child] * 1001)
    fake.add_manifest("a:1", OCI_INDEX, many)
    shared.refused(partial(pulled, shared, fake), "1001 children")
    for port in ("99999999999999999999", "0", "65536"):
        shared.refused(lambda port=port: shared.engine.images.pull(f"localhost:{port}/a:1"), "localhost")  # type: ignore[misc]
    fake.add_manifest("a:1", OCI_INDEX, index_over({**child, "size": 5}))
    shared.refused(partial(pulled, shared, fake), "5 were announced", fake.host)


# -- layers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "fact"),
    [
        ({"flip": 1000}, "digest"),
        ({"extra": b"x" * 1000}, "its size is"),
        ({"extra": b"x" * 1000, "length": -1}, "its size is"),
        ({"extra": b"x" * 1000, "length": len(LAYER.blob)}, ""),
        ({"cut": 1000}, ""),
        ({"cut": 0}, ""),
        ({"length": len(LAYER.blob) - 5}, ""),
        ({"headers": {"Content-Encoding": "gzip"}}, ""),
        ({"status": 404}, "404"),
        ({"status": 403}, "403"),
        ({"status": 503, "headers": {"Retry-After": "99999999999999999999"}}, "503"),
        ({"status": 429, "headers": {"Retry-After": "-1"}}, "429"),
        ({"status": 200, "body": b""}, ""),
        ({"status": 206, "headers": {"Content-Range": "bytes 5-6/7"}, "body": b"xx"}, ""),
        ({"status": 500, "body": b"\x1b[2J" * 1000}, "500"),
        ({"status": 400, "body": b'{"errors":[{"code":"\\u001b[2J","message":"\\u001b]0;x\\u0007"}]}'}, "400"),
        ({"status": 400, "body": b"[" * 100_000}, "400"),
        ({"status": 307, "headers": {"Location": "file:///etc/passwd"}}, "file"),
        ({"status": 307, "headers": {"Location": "\x7f"}}, ""),
        ({"status": 307}, "307"),
        ({"headers": {f"X-{n}": "x" * 1000 for n in range(90)}, "cut": 0}, ""),
        ({"headers": {"X": "x" * 100_000}}, ""),
        ({"headers": {f"X-{n}": "x" for n in range(200)}}, ""),
    ],
)  # fmt: skip
def test_blobs_that_come_wrong(shared: Scene, fake: Registry, fault: dict[str, Any], fact: str) -> None:
    fake.add("a:1", FRESH)
    fake.fault(f"/blobs/{LAYER.digest}", times=-1, **fault)
    try:
        pulled(shared, fake)
    except VeneerError as error:
        assert fact in error.message and fake.host in error.message, error.message
        assert error.message.isprintable() and len(error.message) < 2000
    else:
        # What is too much was never read, or never looked at: the bytes are those that the digest names.
        assert "extra" in fault or "length" in fault or "headers" in fault
        shared.engine.images.remove(f"{fake.host}/a:1")
    shared.unharmed()


def test_layers_that_are_not_what_they_are_called(scene: Scene, fake: Registry) -> None:
    """The magic decides what a layer is; what its descriptor calls it is passed on and not believed."""
    mislabelled = LAYER.descriptor().replaced(media_type=OCI_LAYER_GZIP.replace("gzip", "zstd"))
    fake.add("a", FRESH)
    made = Manifest.build(OCI_MANIFEST, FRESH.manifest.config, (mislabelled,))
    fake.add_manifest("a:1", OCI_MANIFEST, made.raw)
    pulled(scene, fake)
    scene.engine.images.remove(f"{fake.host}/a:1")
    scene.unharmed()
    frame = zstd.compress(bytes(64 << 20))
    bomb = zstd.compress(layer_tar({"f": b"x"})) + frame * 17
    for layer, facts in (
        (SampleLayer(NOISE, ""), ["this is not a tar archive"]),
        (SampleLayer(NOISE, "gzip"), ["this is not a tar archive"]),
        (SampleLayer(Layer().file(b"../../outside/secret", b"hacked").tar()), ["'..' component", "outside/secret"]),
        (SampleLayer(Layer().hardlink(b"l", b"/etc/shadow").tar()), ["'l': hard link to 'etc/shadow'"]),
        (SampleLayer(Layer().file(b"f").tar()[:-600], "zstd"), []),
    ):
        one = image(layer)
        fake.add("a:1", one)
        attempt = partial(pulled, scene, fake)
        if facts:
            error = scene.refused(attempt, *facts)
            assert error.message.startswith(f"layer 1 of 1 ({layer.diff_id.short}): ")
        else:
            attempt()
            scene.engine.images.remove(f"{fake.host}/a:1")
    raw = config_with(rootfs={"diff_ids": ["sha256:" + "0" * 64]})
    parts = [Descriptor(OCI_CONFIG, BlobDigest(fake.add_blob("a", raw)), len(raw)),
             Descriptor(OCI_LAYER_GZIP, BlobDigest(fake.add_blob("a", bomb)), len(bomb))]  # fmt: skip
    fake.add_manifest("a:1", OCI_MANIFEST, Manifest.build(OCI_MANIFEST, parts[0], (parts[1],)).raw)
    scene.refused(partial(pulled, scene, fake), "layer 1 of 1", "a decompression bomb")


def test_a_blob_of_the_store_under_a_false_name(scene: Scene, fake: Registry) -> None:
    """Neither its size nor the layer it is said to be is believed because it is here already."""
    fake.add("honest:1", FRESH)
    pulled(scene, fake, "honest:1")
    fake.add("a", FRESH)
    fake.add_manifest("a:1", OCI_MANIFEST, layer_with(size=7))
    with pytest.raises(VeneerError, match="7 bytes, but that has"):
        pulled(scene, fake)
    claimed = image(KEPT.layers[0], config={"Labels": {"lie": "1"}})
    config = Descriptor(OCI_CONFIG, BlobDigest(fake.add_blob("a", claimed.config)), len(claimed.config))
    fake.add_manifest("a:1", OCI_MANIFEST, Manifest.build(OCI_MANIFEST, config, (LAYER.descriptor(),)).raw)
    with pytest.raises(VeneerError, match="invalid diffID for layer 0"):
        pulled(scene, fake)
    scene.engine.images.remove(f"{fake.host}/honest:1")
    scene.unharmed()


# -- credentials ------------------------------------------------------------------------------------------------------


def log_in(scene: Scene, fake: Registry) -> None:
    CredentialFile(scene.config.docker_config).set(fake.host, Credentials("ada", "lovelace"))


@pytest.mark.parametrize(
    "realm", ["http://169.254.169.254/token", "file:///etc/passwd", "http://evil.example/t", "//x"]
)
def test_a_realm_elsewhere_gets_no_password(scene: Scene, realm: str) -> None:
    with Registry(auth="bearer", users={"ada": "lovelace"}) as fake:
        fake.add("a:1", FRESH)
        fake.realm = realm
        log_in(scene, fake)
        scene.refused(partial(pulled, scene, fake), fake.host)


def test_a_redirect_and_a_foreign_url_get_no_password(scene: Scene) -> None:
    with Registry(auth="basic", users={"ada": "lovelace"}) as fake, Registry() as other:
        fake.add("a:1", FRESH)
        log_in(scene, fake)
        location = {"Location": f"{other.url}/v2/a/blobs/{LAYER.digest}"}
        fake.fault(f"/blobs/{LAYER.digest}", status=307, headers=location, times=-1)
        other.add("a:1", FRESH)
        pulled(scene, fake)
        assert other.log and not any("Authorization" in entry.headers for entry in other.log)
        scene.engine.images.remove(f"{fake.host}/a:1")
        for url in (
            "file:///etc/passwd",
            "http://169.254.169.254/latest",
            "gopher://x/",
            "http://[::1",
            "http://\x00/",
        ):
            foreign = LAYER.descriptor().replaced(
                urls=(url,), media_type=OCI_LAYER_GZIP.replace("layer", "layer.foreign")
            )
            made = Manifest.build(OCI_MANIFEST, FRESH.manifest.config, (foreign,))
            fake.add_manifest("a:1", OCI_MANIFEST, made.raw)
            fake.heal()
            fake.linked["a"].discard(Digest(LAYER.digest))
            scene.refused(partial(pulled, scene, fake), fake.host)


def test_an_upload_elsewhere_gets_no_password(scene: Scene) -> None:
    with Registry(auth="basic", users={"ada": "lovelace"}) as fake, Registry() as other:
        log_in(scene, fake)
        scene.engine.images.tag("kept:1", f"{fake.host}/a:1")
        location = {"Location": f"{other.url}/v2/a/blobs/uploads/x"}
        fake.fault("/blobs/uploads/", method="POST", status=202, headers=location, times=-1)
        with pytest.raises(VeneerError):
            scene.engine.images.push(f"{fake.host}/a:1")
        assert not any("Authorization" in entry.headers for entry in other.log)
        scene.engine.images.remove(f"{fake.host}/a:1")
    scene.engine.system.collect()
    assert scene.engine.system.check(deep=True) == []


@pytest.mark.parametrize("token", ["x\r\nX-Evil: 1", "x" * (2 << 20), "\u2603", "", 5, {"a": 1}])
def test_a_token_that_is_none(scene: Scene, token: object) -> None:
    with Registry(auth="bearer", users={"ada": "lovelace"}, anonymous=True) as fake:
        fake.add("a:1", FRESH)
        fake.fault("/token", status=200, body=json.dumps({"token": token}).encode(), times=-1)
        error = scene.refused(partial(pulled, scene, fake))
        assert "lovelace" not in error.message


def test_a_credential_helper_is_never_a_path(scene: Scene, fake: Registry) -> None:
    marker = scene.base / "ran"
    script = scene.base / "docker-credential-evil"
    script.write_text(f"#!/bin/sh\ntouch {marker}\n")
    script.chmod(0o755)
    fake.add("a:1", FRESH)
    for name in (f"../../../..{script}", str(script), "evil; touch x", "../evil", "x\ny", ""):
        scene.config.docker_config.parent.mkdir(exist_ok=True)
        scene.config.docker_config.write_text(json.dumps({"credHelpers": {fake.host: name}}))
        try:
            pulled(scene, fake)
            scene.engine.images.remove(f"{fake.host}/a:1")
        except VeneerError as error:
            assert error.message.isprintable()
        scene.unharmed()
        assert not marker.exists()


# -- names ------------------------------------------------------------------------------------------------------------


HOSTILE_NAMES = [
    "", "a b", "../../etc/passwd", "a/../b", "UPPER", "a:" + "t" * 129, "a@sha256:abc", "a@sha256:" + "A" * 64, "-a",
    "a\n", "a\x00", "\x1b[2J", "a:\u2603", "a" * 64 + "b" * 1_000_000, "0" * 64, "a//b", "/a", "a/", ":1", "@", "a:b:c",
    "[::1", "[::g]/a", "localhost:-1/a", "user@host/a", "http://host/a", "a@" * 1000,
    "\ud800", "\udcff",
]  # fmt: skip


@pytest.mark.parametrize("command", ["pull", "push", "tag", "rmi", "inspect", "history", "save", "export", "import"])
def test_names_that_are_none_break_no_command(shared: Scene, command: str) -> None:
    from veneer.cli.main import run

    tar = shared.write(layer_tar({"f": b"x"}))
    for name in HOSTILE_NAMES:
        words = {
            "tag": ["tag", "kept:1", name], "import": ["import", str(tar), name],
            "save": ["save", "-o", str(shared.base / "o"), name],
            "export": ["export", "-o", str(shared.base / "o"), name],
        }.get(command, [command, "--", name])  # fmt: skip
        if command == "import" and not name:
            continue  # no name: the image comes without one
        out, err = io.StringIO(), io.StringIO()
        assert run(["--root", str(shared.config.root), *words], out, err, io.StringIO()) != 0, name[:80]
        said = err.getvalue()
        assert said and "bug" not in said and len(said) < 2000, said[:500]
        assert all(char.isprintable() or char == "\n" for char in said), said[:500]
    shared.unharmed()


def test_a_list_of_tags_that_never_ends_or_names_none(scene: Scene, fake: Registry) -> None:
    fake.add("a:1", FRESH)
    link = {"Link": '</v2/a/tags/list?last=1>; rel="next"'}
    fake.fault("/tags/list", status=200, body=b'{"tags":["1","1"]}', headers=link, times=-1)
    scene.refused(lambda: scene.engine.images.pull_all_tags(f"{fake.host}/a"), fake.host, "tags of a")
    assert len(fake.requests("/tags/list")) < 5
    for tags in (["../../x"], ["\x1b[2J"], [5], {"a": 1}, ["x" * 1_000_000]):
        fake.heal()
        fake.fault("/tags/list", status=200, body=json.dumps({"name": "a", "tags": tags}).encode(), times=-1)
        scene.refused(lambda: scene.engine.images.pull_all_tags(f"{fake.host}/a"))


# -- a disk that is full ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("driver", ["overlay2", "vfs"])
@pytest.mark.usefixtures("root_only")
def test_a_disk_that_fills_up_during_a_pull(
    tmp_path: Path, config: Config, fake: Registry, ext4: Callable[[int], Path], driver: str
) -> None:
    disk = ext4(48 << 20)
    fresh = image({"f": os.urandom(3 << 20), "g": os.urandom(3 << 20)}, {"h": bytes(3 << 20)})
    fake.add("a:1", fresh)
    with Scene(tmp_path, config, root=disk / "root", storage_driver=driver) as scene:
        for leave in (1 << 20, 8 << 20):
            filler = disk / "filler"
            with filler.open("wb") as out:
                free = os.statvfs(disk)
                os.posix_fallocate(out.fileno(), 0, free.f_bavail * free.f_frsize - leave)
            scene.refused(partial(pulled, scene, fake), "no space")
            filler.unlink()
        pulled(scene, fake)
        assert scene.exported(f"{fake.host}/a:1").count(b"ustar") >= 3
        scene.engine.images.remove(f"{fake.host}/a:1")
        scene.unharmed()


def test_the_same_image_comes_in_whole_after_all_that(scene: Scene, fake: Registry) -> None:
    fake.add("a:1", FRESH)
    fake.fault(f"/blobs/{LAYER.digest}", flip=5, times=-1)
    scene.refused(partial(pulled, scene, fake), str(LAYER.digest), fake.host)
    fake.heal()
    pulled(scene, fake)
    assert NOISE in scene.exported(f"{fake.host}/a:1")
