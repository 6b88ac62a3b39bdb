"""Images that dockerd, podman, buildah and skopeo pushed go through veneer with every digest unchanged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.compat.conftest import Veneer
from tests.compat.samples import CHANGE, LINKS
from tests.support.peers import ContainersTool, Docker, skopeo
from tests.support.registries import RealRegistry
from veneer.testing.images import SampleImage, docker_archive, image

pytestmark = pytest.mark.compat

OCI, SCHEMA2 = "application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"


@pytest.fixture
def source(request: pytest.FixtureRequest) -> SampleImage:
    """An image of this test alone: tools push blobs again as they remember having pushed them elsewhere."""
    marker = {"marker": request.node.name.encode()}
    return image(marker, {**CHANGE, **marker}, {**LINKS, **marker}, style="docker")


@pytest.fixture
def archive(tmp_path: Path, source: SampleImage) -> Path:
    target = tmp_path / "image.tar"
    target.write_bytes(docker_archive((source, ["compat/source:1"])))
    return target


def pushed_by_docker(tool: Docker, archive: Path, name: str) -> None:
    tool("load", "--input", archive)
    tool("tag", "compat/source:1", name)
    tool("push", "--quiet", name)


def pushed_by(tool: ContainersTool, archive: Path, name: str, *words: str) -> None:
    tool("pull", "--quiet", f"docker-archive:{archive}")
    tool("push", "--tls-verify=false", *words, "compat/source:1", f"docker://{name}")


def passes_through(ours: Veneer, registry: RealRegistry, names: str, tag: str, media_type: str) -> None:
    """Pull, look, push elsewhere: the manifest and with it every digest in it stay as they were."""
    repository = names.partition("/")[2]
    raw, sent_as = registry.manifest(repository, tag)
    assert sent_as == media_type
    ours("pull", "--quiet", f"{names}:{tag}")
    ours("tag", f"{names}:{tag}", f"{names}-again:{tag}")
    ours("push", "--quiet", f"{names}-again:{tag}")
    assert registry.manifest(f"{repository}-again", tag) == (raw, media_type)
    plain = ("inspect", "--tls-verify=false", "--format", "{{.Digest}} {{.Layers}}")
    before, after = (skopeo(*plain, f"docker://{name}:{tag}").out for name in (names, f"{names}-again"))
    assert before == after


def test_pushed_by_dockerd(ours: Veneer, theirs: Docker, archive: Path, registry: RealRegistry, names: str) -> None:
    pushed_by_docker(theirs, archive, f"{names}:1")
    passes_through(ours, registry, names, "1", SCHEMA2)


@pytest.fixture(params=["podman", "buildah"])
def tool(request: pytest.FixtureRequest) -> ContainersTool:
    found: ContainersTool = request.getfixturevalue(request.param)
    return found


@pytest.mark.parametrize(
    ("words", "media_type"),
    [
        pytest.param(("--format", "oci"), OCI, id="oci"),
        pytest.param(("--format", "v2s2"), SCHEMA2, id="schema 2"),
        pytest.param(("--format", "oci", "--compression-format", "zstd"), OCI, id="zstd"),
    ],
)
def test_pushed_by_podman_and_buildah(
    ours: Veneer, tool: ContainersTool, source: SampleImage, archive: Path, registry: RealRegistry, names: str,
    words: tuple[str, ...], media_type: str,
) -> None:  # fmt: skip
    pushed_by(tool, archive, f"{names}:1", *words)
    if "zstd" in words:
        layers = json.loads(registry.manifest(names.partition("/")[2], "1")[0])["layers"]
        assert all(layer["mediaType"].endswith("zstd") for layer in layers), "the peer did push zstd"
    passes_through(ours, registry, names, "1", media_type)
    shown = ours("image", "inspect", "--format", "{{json .RootFS.Layers}}", f"{names}:1").out
    assert json.loads(shown) == [str(diff_id) for diff_id in source.parsed.diff_ids]


@pytest.fixture
def two_platforms(registry: RealRegistry, names: str, buildah: ContainersTool) -> Callable[[], str]:
    """Two platforms under one tag, listed and pushed by buildah; gives the tag."""

    def push() -> str:
        repository = names.partition("/")[2]
        for platform in ("linux/amd64", "linux/arm64"):
            registry.put(f"{repository}:{platform[6:]}", image({"arch": platform.encode()}, platform=platform))
        buildah("manifest", "create", f"{names}:both")
        for architecture in ("amd64", "arm64"):
            buildah("manifest", "add", "--tls-verify=false", f"{names}:both", f"docker://{names}:{architecture}")
        buildah("manifest", "push", "--all", "--tls-verify=false", "--format", "oci", f"{names}:both",
                f"docker://{names}:both")  # fmt: skip
        return "both"

    return push


def test_an_index_of_two_platforms(ours: Veneer, registry: RealRegistry, names: str,
                                   two_platforms: Callable[[], str]) -> None:  # fmt: skip
    tag = two_platforms()
    shown = ("image", "inspect", "--format", "{{.Architecture}}", f"{names}:{tag}")
    for architecture in ("arm64", "amd64"):
        ours("pull", "--quiet", "--platform", f"linux/{architecture}", f"{names}:{tag}")
        assert ours(*shown).out == f"{architecture}\n"
    ours("pull", "--quiet", "--all-platforms", f"{names}:{tag}")
    ours("tag", f"{names}:{tag}", f"{names}-again:{tag}")
    ours("push", "--quiet", f"{names}-again:{tag}")
    repository = names.partition("/")[2]
    assert registry.manifest(f"{repository}-again", tag) == registry.manifest(repository, tag)


def test_skopeo_reads_the_store_in_place(ours: Veneer, podman: ContainersTool, archive: Path, tmp_path: Path,
                                         registry: RealRegistry, names: str) -> None:  # fmt: skip
    pushed_by(podman, archive, f"{names}:1", "--format", "oci")
    ours("pull", "--quiet", f"{names}:1")
    skopeo("copy", f"oci:{ours.root}:{names}:1", f"dir:{tmp_path / 'copied'}")
    raw, _ = registry.manifest(names.partition("/")[2], "1")
    assert (tmp_path / "copied" / "manifest.json").read_bytes() == raw


def test_podman_loads_what_veneer_saves(ours: Veneer, podman: ContainersTool, archive: Path, tmp_path: Path) -> None:
    ours("load", "--input", archive)
    for form in ("docker", "oci", "docker-legacy"):
        podman("rmi", "--all", "--force")
        ours("save", "--format", form, "--output", tmp_path / f"{form}.tar", "compat/source:1")
        podman("load", "--quiet", "--input", tmp_path / f"{form}.tar")
        found = podman("images", "--all", "--quiet", "--no-trunc").out.split()
        assert set(found) == {str(ours.image_id("compat/source:1"))}, form
