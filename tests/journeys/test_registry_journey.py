"""Images travel: skopeo puts them into distribution's registry, veneer fetches them and sends them on, skopeo
finds every digest unchanged."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.programs import needs, run
from tests.support.registries import RealRegistry
from veneer.distribution.auth import AuthenticationRequired
from veneer.distribution.session import NotInRegistry
from veneer.engine.engine import Engine
from veneer.oci.digest import Digest
from veneer.oci.manifest import Index, Manifest, parse
from veneer.testing.images import SampleImage, directory, image, oci_layout, symlink


def travelling(compression: str = "gzip") -> SampleImage:
    """An image with files, links and a whiteout."""
    return image(
        {"bin": directory(), "bin/sh": b"#!not really\n" * 1000, "etc": directory(), "etc/passwd": b"root:x:0:0\n"},
        {"etc/.wh.passwd": b"", "etc/link": symlink("passwd")},
        config={"Env": ["PATH=/bin"], "Cmd": ["sh"]},
        compression=compression,
    )


@pytest.fixture
def sample() -> SampleImage:
    return travelling()


def raw_manifest(name: str) -> bytes:
    return run("skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{name}").out.encode()


def send(layout: Path, name: str, *options: str) -> bytes:
    """Have skopeo push the OCI layout's only image; returns the manifest as the registry has it."""
    run("skopeo", "copy", "--dest-tls-verify=false", *options, f"oci:{layout}", f"docker://{name}")
    return raw_manifest(name)


@pytest.mark.parametrize(
    ("kind", "compression", "options"),
    [
        ("oci", "gzip", ()),
        ("docker-v2s2", "gzip", ("--format", "v2s2")),
        # Skopeo compresses what comes uncompressed, in the format asked for.
        ("zstd", "", ("--dest-compress-format", "zstd", "--format", "oci")),
    ],
)
def test_an_image_goes_from_skopeo_through_veneer_and_back_unchanged(
    engine: Engine, registry: RealRegistry, tmp_path: Path, kind: str, compression: str, options: tuple[str, ...]
) -> None:
    needs("skopeo")
    layout = oci_layout(tmp_path / "layout", ("", travelling(compression)))
    name, target = f"{registry.host}/journey/{kind}:1", f"{registry.host}/journey/{kind}-on:2"
    before = send(layout, name, *options)
    pulled = engine.images.pull(name)
    assert pulled.digest == Digest.of(before)
    engine.images.tag(name, target)
    assert engine.images.push(target).digest == Digest.of(before)
    assert raw_manifest(target) == before
    manifest = parse(before)
    assert isinstance(manifest, Manifest)
    assert all(layer.media_type.endswith("zstd") == (kind == "zstd") for layer in manifest.layers)
    for part in (manifest.config, *manifest.layers):
        status, _, data = registry.request("GET", f"/v2/journey/{kind}-on/blobs/{part.digest}")
        assert status == 200 and Digest.of(data) == part.digest


def test_an_index_of_two_platforms_goes_through_whole(engine: Engine, registry: RealRegistry) -> None:
    needs("skopeo")
    images = [image({"arch": name.encode()}, platform=name) for name in ("linux/amd64", "linux/arm64")]
    name, target = registry.put("journey/index:1", *images), f"{registry.host}/journey/index-on:1"
    before = raw_manifest(name)
    assert isinstance(parse(before), Index)
    assert engine.images.pull(name, platform="linux/arm64").image.id == images[1].image_id
    pulled = engine.images.pull(name, all_platforms=True)
    engine.images.tag(name, target)
    assert engine.images.push(target).digest == pulled.digest == Digest.of(before)
    assert raw_manifest(target) == before
    for one in images:
        assert raw_manifest(f"{registry.host}/journey/index-on@{one.digest}") == one.manifest.raw
        architecture = one.platform.architecture
        found = run("skopeo", "--override-arch", architecture, "inspect", "--config", "--raw", "--tls-verify=false",
                    f"docker://{target}").out  # fmt: skip
        assert Digest.of(found.encode()) == one.image_id


def test_a_private_registry_lets_in_who_logged_in(
    engine: Engine, private_registry: RealRegistry, sample: SampleImage
) -> None:
    name = private_registry.put("secret/app:1", sample)
    with pytest.raises(AuthenticationRequired, match="no basic auth credentials"):
        engine.images.pull(name)
    with pytest.raises(AuthenticationRequired):
        engine.system.login(private_registry.host, "ada", "byron")
    kept = engine.system.login(private_registry.host, "ada", "lovelace")
    assert engine.images.pull(name).image.id == sample.image_id
    engine.images.tag(name, f"{private_registry.host}/secret/app:2")
    assert engine.images.push(f"{private_registry.host}/secret/app:2").digest == sample.digest
    # The file is docker's own: skopeo gets in with it too.
    run("skopeo", "inspect", "--raw", "--tls-verify=false", "--authfile", kept, f"docker://{name}")
    assert engine.system.logout(private_registry.host)
    with pytest.raises(AuthenticationRequired):
        engine.images.pull(f"{private_registry.host}/secret/app:3")


def test_what_the_registry_deleted_is_told_so(engine: Engine, registry: RealRegistry, sample: SampleImage) -> None:
    name = registry.put("journey/deleted:1", sample)
    assert registry.request("DELETE", f"/v2/journey/deleted/manifests/{sample.digest}")[0] == 202
    with pytest.raises(NotInRegistry, match="not found: manifest unknown"):
        engine.images.pull(name)


def test_layers_are_mounted_within_a_real_registry(engine: Engine, registry: RealRegistry, sample: SampleImage) -> None:
    name, target = registry.put("journey/from:1", sample), f"{registry.host}/journey/mounted:1"
    engine.images.pull(name)
    engine.images.tag(name, target)
    told: list[str] = []
    engine.images.push(target, progress=lambda report: told.append(report.status))
    assert told.count("Mounted from journey/from") == len(sample.layers)


def test_every_tag_of_a_repository_comes(engine: Engine, registry: RealRegistry, sample: SampleImage) -> None:
    for tag in ("1", "2", "latest"):
        registry.put(f"journey/tags:{tag}", sample)
    pulled = engine.images.pull_all_tags(f"{registry.host}/journey/tags")
    assert {str(tag.tag) for tag in pulled[-1].image.tags} == {"1", "2", "latest"}
