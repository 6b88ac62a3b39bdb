"""One image, exported by docker and by veneer with each driver: the same tree."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from tests.compat.conftest import Veneer
from tests.engine.test_every_driver import ARCHIVE
from tests.support import ways
from tests.support.peers import Docker

pytestmark = pytest.mark.compat

NAME = "every/driver:1"
ARGUED = {"emptied", "hidden"}
"""Directories that an upper layer has something in and no entry for: docker's overlay2 makes them anew, with the mode
0755; here, as with containerd, they stay what the layers below say."""


def tree(archive: Path) -> dict[str, tuple[object, ...]]:
    """What is in the archive of an export, hard links as the files that they are."""
    found: dict[str, tuple[object, ...]] = {}
    with tarfile.open(archive, errors="surrogateescape") as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isfile() or member.islnk() else None
            whole = tar.getmember(member.linkname) if member.islnk() else member
            found[member.name.rstrip("/")] = (
                whole.type, whole.mode & 0o7777, whole.uid, whole.gid, int(whole.mtime) if not whole.isdir() else 0,
                whole.linkname if whole.issym() else "", (whole.devmajor, whole.devminor) if whole.isdev() else (),
                content.read() if content else b"",
            )  # fmt: skip
    return found


def test_each_driver_s_tree_is_docker_s(theirs: Docker, tmp_path: Path) -> None:
    """Names that every container is given are made when it is: their times are left out."""
    given = {".dockerenv", "etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab", "dev/console"}
    (tmp_path / "in.tar").write_bytes(ARCHIVE)
    theirs("load", "--input", tmp_path / "in.tar")
    container = theirs("create", "--network", "none", NAME, "x").out.strip()
    theirs("export", "--output", tmp_path / "docker.tar", container)
    theirs("rm", container)
    expected = tree(tmp_path / "docker.tar")
    for way in ways.WAYS:
        ours = Veneer(tmp_path / way)
        (tmp_path / way).mkdir(mode=0o700)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in ways.environment(way).items():
                patch.setenv(name, value)
            ours("load", "--input", tmp_path / "in.tar")
            ours("create", "--network", "none", "--name", "one", NAME, "x")
            ours("export", "--output", tmp_path / "ours.tar", "one")
            ours("rm", "one")
        seen = tree(tmp_path / "ours.tar")
        assert seen.keys() == expected.keys(), way
        differ = {name for name in seen if seen[name] != expected[name]} - given
        assert {name: (seen[name], expected[name]) for name in differ - ARGUED} == {}, way
        assert [seen[name][1] for name in sorted(ARGUED)] == [0o700, 0o750], way
