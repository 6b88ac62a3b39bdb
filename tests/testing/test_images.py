"""The sample images are what other tools say they are."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from tests.support.programs import needs, run
from tests.support.registries import RealRegistry
from veneer.oci.digest import Digest
from veneer.testing import images

TREE: dict[str, images.Member | bytes] = {
    "etc": images.directory(),
    "etc/hostname": images.file(b"veneer\n", xattrs={b"user.note": b"\x00\xff"}, mtime_ns=-250_000_000),
    "etc/alias": images.symlink("hostname"),
    "etc/second": images.hardlink("etc/hostname"),
    "etc/queue": images.fifo(),
    "dev/null": images.device(1, 3),
    "long/" + "n" * 200: b"x" * 1000,
    "owned": images.file(b"").owned(3_000_000, 4_000_000_000),
}


def test_the_standard_library_reads_every_member_of_a_sample_layer() -> None:
    with tarfile.open(fileobj=io.BytesIO(images.layer_tar(TREE))) as tar:
        members = {member.name: member for member in tar}
    assert list(members) == list(TREE)
    assert members["etc/hostname"].pax_headers["mtime"] == "-0.250000000"
    assert (members["owned"].uid, members["owned"].gid) == (3_000_000, 4_000_000_000)
    assert members["etc/alias"].issym() and members["etc/second"].islnk() and members["etc/queue"].isfifo()
    assert (members["dev/null"].devmajor, members["dev/null"].devminor) == (1, 3)


@pytest.mark.parametrize("compression", ["", "gzip", "zstd"])
def test_skopeo_reads_a_sample_layout_in_every_compression(tmp_path: Path, compression: str) -> None:
    needs("skopeo")
    image = images.image(TREE, {"etc/.wh.hostname": b""}, compression=compression)
    layout = images.oci_layout(tmp_path / "layout", ("example/app:1", image))
    assert run("skopeo", "inspect", "--raw", f"oci:{layout}:1").out.encode() == image.manifest.raw


@pytest.mark.parametrize("style", ["oci", "docker"])
def test_skopeo_reads_a_sample_docker_archive(tmp_path: Path, style: str) -> None:
    needs("skopeo")
    image = images.image(TREE, style=style)
    archive = tmp_path / "archive.tar"
    archive.write_bytes(images.docker_archive((image, ["example/app:1"])))
    raw_config = run("skopeo", "inspect", "--config", "--raw", f"docker-archive:{archive}:example/app:1").out
    assert Digest.of(raw_config.encode()) == image.image_id


def test_a_real_registry_takes_sample_images_and_an_index_of_them(registry: RealRegistry) -> None:
    amd64 = images.image({"a": b"1"})
    arm64 = images.image({"a": b"2"}, platform="linux/arm64", compression="zstd")
    registry.put("samples/app:both", amd64, arm64)
    raw, media_type = registry.manifest("samples/app", "both")
    assert raw == images.index(amd64, arm64).raw
    assert media_type == "application/vnd.oci.image.index.v1+json"
    assert registry.manifest("samples/app", arm64.digest)[0] == arm64.manifest.raw


def test_a_private_registry_refuses_strangers(private_registry: RealRegistry) -> None:
    assert private_registry.request("GET", "/v2/")[0] == 200
    private_registry.user = ""
    assert private_registry.request("GET", "/v2/")[0] == 401


def test_busybox_root_file_system_has_its_applets(busybox: Path) -> None:
    with tarfile.open(busybox) as tar:
        assert tar.getmember("./bin/sh").linkname == "busybox"
