"""The data roots of a real dockerd, containerd and podman: veneer lists, explains and imports what is in them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.compat.conftest import Veneer, without_ages
from tests.compat.samples import ODD, nginx_like
from tests.distribution.foreign.test_foreign_roots import contents, paths, state
from tests.support.loop import loop_mounted
from tests.support.peers import Containerd, ContainersTool, Docker
from veneer.drivers.mount import Mount, mounted
from veneer.testing.images import docker_archive, oci_archive

pytestmark = pytest.mark.compat

NAME = "compat/foreign:1"


@contextmanager
def untouched(root: Path, *folders: str) -> Iterator[Path]:
    """The root on a read-only mount; what is in these folders of it is as it was, access times and all."""
    everything = [name for folder in folders for name in paths(root / folder)]
    held, before = [contents(root / folder) for folder in folders], state(everything)
    seen = root.parent / "seen"
    seen.mkdir(exist_ok=True)
    with mounted([Mount.bind(root, readonly=True)], seen):
        yield seen
    assert state(everything) == before
    assert [contents(root / folder) for folder in folders] == held


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A btrfs of its own."""
    with loop_mounted(tmp_path / "disk", 256 << 20, kind="btrfs") as mounted_at:
        yield mounted_at


def test_a_root_of_dockerd_is_told_as_docker_tells_it(ours: Veneer, theirs: Docker, tmp_path: Path) -> None:
    archive = tmp_path / "in.tar"
    images = [(nginx_like(), [NAME]), *((one, [f"compat/odd:{n}"]) for n, one in enumerate(ODD.values()))]
    archive.write_bytes(docker_archive(*images))
    theirs("load", "--input", archive)
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / "Dockerfile").write_text(f"FROM {NAME}\nCOPY Dockerfile /added\nLABEL a=b\n")
    theirs("build", "--tag", "compat/built:1", tmp_path / "context")
    container = theirs("create", "compat/built:1", "x").out.strip()
    with untouched(theirs.root, "image", "overlay2") as root:
        there = Veneer(root)
        for name in (NAME, "compat/built:1"):
            assert without_ages(there("history", name).out) == without_ages(theirs("history", name).out)
        for words in ((), ("--all",)):
            listed = ("images", "--no-trunc", "--format", "{{.ID}} {{.Repository}} {{.Tag}} {{.Size}}", *words)
            assert sorted(there(*listed).out.splitlines()) == sorted(theirs(*listed).out.splitlines())
        rows = [json.loads(line) for line in there("layer", "ls", "--no-trunc", "--format", "json").out.splitlines()]
        built = json.loads(theirs("inspect", "compat/built:1").out)[0]
        # Beside the images' there are those of containers that somebody left, whose images are gone.
        held = json.loads(theirs("inspect", *theirs("images", "--all", "--quiet", "--no-trunc").out.split()).out)
        kept = {path.read_text() for path in (theirs.root / "image/overlay2/layerdb/sha256").glob("*/diff")}
        assert {row["DiffID"] for row in rows} == kept >= {each for one in held for each in one["RootFS"]["Layers"]}
        top = Path(built["GraphDriver"]["Data"]["UpperDir"].replace(str(theirs.root), str(root)))
        link = (top.parent / "link").read_text()
        for path in (top / "added", top.parent.parent / "l" / link / "added"):
            found = there("layer", "which", "--no-trunc", "--format", "{{.DiffID}} {{.Images}}", path).out.split()
            names = {name.rstrip(",") for name in found[1:]}  # beside the image before its last step, which has none
            assert found[0] == built["RootFS"]["Layers"][-1] and "compat/built:1" in names
        written = json.loads(theirs("inspect", container).out)[0]["GraphDriver"]["Data"]["UpperDir"]
        asked = there("layer", "which", written.replace(str(theirs.root), str(root)), check=False)
        assert f"container {container} writes there" in asked.err
        ours("import-store", root)
    for name in (NAME, "compat/built:1", *(f"compat/odd:{n}" for n in range(len(ODD)))):
        assert ours.image_id(name) == theirs.image_id(name)
    assert ours("system", "check", "--deep").code == 0
    theirs("rm", container)


@pytest.mark.parametrize("driver", ["vfs", "fuse-overlayfs"])
def test_a_root_of_dockerd_with_another_driver_is_imported(ours: Veneer, tmp_path: Path, driver: str) -> None:
    docker = Docker(tmp_path / "dockerd", storage_driver=driver)
    try:
        docker("load", "--input", archived(tmp_path))
    finally:
        docker.stop()
    is_imported(docker.root, driver, ours)


def test_a_root_of_dockerd_on_btrfs_is_told_and_imported(ours: Veneer, disk: Path, tmp_path: Path) -> None:
    docker = Docker(disk / "dockerd", storage_driver="btrfs")
    try:
        docker("load", "--input", archived(tmp_path))
        container = docker("create", NAME, "x").out.strip()
        rows = json.loads(docker("inspect", NAME).out)[0]["RootFS"]["Layers"]
        there = Veneer(docker.root)
        traced = []
        for tree in (docker.root / "btrfs/subvolumes").iterdir():
            found = there("layer", "which", "--no-trunc", "--format", "{{.DiffID}}", tree / "etc", check=False)
            traced.append(found.out.strip() or found.err)
    finally:
        docker.stop()
    assert sorted(each for each in traced if each.startswith("sha256:")) == sorted(rows)
    assert sum(f"container {container} writes there" in each for each in traced) == 2
    is_imported(docker.root, "btrfs", ours)
    # Without the records the trees are compared, which gives what veneer would have packed, or is refused.
    for record in docker.root.glob("image/btrfs/layerdb/sha256/*/tar-split.json.gz"):
        record.unlink()
    anew = Veneer(tmp_path / "anew")
    assert "cannot be made" in anew("import-store", docker.root, check=False).err


def archived(folder: Path) -> Path:
    (folder / "in.tar").write_bytes(docker_archive((nginx_like(), [NAME])))
    return folder / "in.tar"


def is_imported(root: Path, driver: str, ours: Veneer) -> None:
    with untouched(root, "image", driver) as seen:
        assert Veneer(seen)("layer", "ls", "--format", "{{.Driver}}").out.split() == [driver] * 3
        ours("import-store", seen)
    assert ours.image_id(NAME) == nginx_like().image_id


@pytest.mark.parametrize("snapshotter", ["overlayfs", "native", "btrfs"])
def test_a_root_of_containerd_is_told_as_ctr_tells_it(
    ours: Veneer, disk: Path, tmp_path: Path, snapshotter: str
) -> None:
    containerd = Containerd(disk)
    try:
        archive = tmp_path / "in.tar"
        named = [(f"docker.io/compat/odd:{number}", one) for number, one in enumerate(ODD.values())]
        archive.write_bytes(oci_archive(*named))
        containerd("k8s.io", "images", "import", "--snapshotter", snapshotter, archive)
        theirs = containerd("k8s.io", "snapshots", "--snapshotter", snapshotter, "ls").out.splitlines()[1:]
        there = Veneer(containerd.root)
        chains = there("layer", "ls", "--quiet", "--no-trunc").out.split()
        assert sorted(chains) == sorted(line.split()[0] for line in theirs)
        for chain in chains:
            place = there("layer", "inspect", "--format", "{{.Directory}}", chain).out.strip()
            if snapshotter == "overlayfs":  # the other one copies what it shows
                shown = containerd("k8s.io", "snapshots", "view", "--target", tmp_path, f"seen-{chain}", chain)
                assert place in shown.out
            assert there("layer", "which", "--no-trunc", "--format", "{{.ChainID}}", place).out.strip() == chain
        listed = there("images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}").out.splitlines()
        assert sorted(listed) == sorted(f"{name.removeprefix('docker.io/')} {one.image_id}" for name, one in named)
    finally:
        containerd.stop()
    with untouched(containerd.root, "io.containerd.content.v1.content", "io.containerd.metadata.v1.bolt") as root:
        ours("import-store", root)
    for name, one in named:
        assert ours.image_id(name) == one.image_id
    assert ours("system", "check", "--deep").code == 0


@pytest.mark.parametrize("program", ["podman", "buildah"])
def test_a_root_of_containers_storage_is_told_and_imported(
    ours: Veneer, program: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    tool: ContainersTool = request.getfixturevalue(program)
    archive = tmp_path / "in.tar"
    one = nginx_like()
    archive.write_bytes(docker_archive((one, ["docker.io/compat/foreign:1"])))
    tool(*(("load", "--input", archive) if program == "podman" else ("pull", f"docker-archive:{archive}")))
    work = tool("from", one.image_id).out.strip() if program == "buildah" else tool("create", NAME, "x").out.strip()
    with untouched(tool.folder / "root", "overlay-images", "overlay-layers", "overlay") as root:
        there = Veneer(root)
        listed = there("history", "--quiet", "--no-trunc", NAME).out.splitlines()
        assert (listed[0], len(listed)) == (one.image_id, len(one.parsed.history))
        assert there("images", "--format", "{{.Repository}}:{{.Tag}}").out == f"{NAME}\n"
        diff_ids = there("layer", "ls", "--no-trunc", "--format", "{{.DiffID}}").out.split()
        assert diff_ids == list(one.parsed.diff_ids)
        top = there("layer", "inspect", "--format", "{{.Directory}}", diff_ids[-1]).out.strip()
        assert there("layer", "which", "--format", "{{.Images}}", f"{top}/etc").out == f"{NAME}\n"
        ours("import-store", root, NAME)
    assert ours.image_id(NAME) == one.image_id
    assert ours("system", "check", "--deep").code == 0
    tool("rm", work)
    tool("rmi", "--force", one.image_id)
