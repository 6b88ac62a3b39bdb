"""The same archive through GNU tar and through unpack gives the same tree, and the content hashes are right."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from tests.support.layers import Workshop
from veneer.changeset.entry import Kind

if shutil.which("tar") is None:
    pytest.skip("there is no GNU tar here", allow_module_level=True)

FORMATS = {
    "v7": ["--format=v7"],
    "ustar": ["--format=ustar"],
    "oldgnu": ["--format=oldgnu"],
    "gnu": ["--format=gnu"],
    "pax": ["--format=pax", "--xattrs", "--xattrs-include=user.*"],
    "gnu, sparse": ["--format=gnu", "--sparse"],
    "pax, sparse 0.0": ["--format=pax", "--sparse", "--sparse-version=0.0"],
    "pax, sparse 0.1": ["--format=pax", "--sparse", "--sparse-version=0.1"],
    "pax, sparse 1.0": ["--format=pax", "--sparse", "--sparse-version=1.0"],
}
LONG = {"gnu", "pax", "gnu, sparse", "pax, sparse 0.0", "pax, sparse 0.1", "pax, sparse 1.0"}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files, links, pipes, odd names, odd modes, odd times, sparse files; what every format can hold."""
    base = tmp_path / "tree"
    (base / "usr/bin").mkdir(parents=True)
    (base / "empty").mkdir()
    (base / "usr/bin/tool").write_bytes(os.urandom(100_000))
    (base / "usr/bin/tool").chmod(0o4755)
    (base / "usr/bin/alias").symlink_to("tool")
    os.link(base / "usr/bin/tool", base / "usr/bin/twin")
    (base / "empty-file").touch()
    (base / "exact").write_bytes(b"x" * 1024)
    os.mkfifo(base / "pipe", 0o600)
    (base / os.fsdecode(b"latin-\xfc name\t")).write_text("odd")
    (base / "sticky").mkdir()
    (base / "sticky").chmod(0o1777)
    os.chown(base / "exact", 1234, 5678)
    with open(base / "sparse", "wb") as sparse:
        for offset in range(0, 4_000_000, 400_000):
            sparse.seek(offset)
            sparse.write(b"piece at %d" % offset)
        sparse.truncate(5_000_000)
    with open(base / "hole", "wb") as hole:
        hole.truncate(1_000_000)
    for path in (*sorted(base.rglob("*"), reverse=True), base):
        os.utime(path, ns=(10**18, 10**18 + len(path.name) * 10**9), follow_symlinks=False)
    return base


def add_what_older_formats_cannot_hold(tree: Path) -> None:
    deep = tree / ("d" * 90) / ("e" * 90) / ("f" * 90)
    deep.mkdir(parents=True)
    (deep / ("long name" * 20)).write_text("deep")
    (tree / "to long").symlink_to("x/" * 150)
    os.link(deep / ("long name" * 20), tree / "hard to long")
    os.chown(tree / "empty-file", 3_000_000, 4_000_000_000)


def described(root: Path) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    names: dict[int, str] = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        name = str(path.relative_to(root))
        kind = stat.S_IFMT(status.st_mode)
        content: object = ""
        if kind == stat.S_IFREG:
            content = hashlib.sha256(path.read_bytes()).digest()
        elif kind == stat.S_IFLNK:
            content = os.readlink(path)
        xattrs = tuple(os.listxattr(path, follow_symlinks=False))
        same_as = names.setdefault(status.st_ino, name) if kind == stat.S_IFREG else ""
        found[name] = (
            kind, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns,
            content, same_as, xattrs,
        )  # fmt: skip
    return found


@pytest.mark.parametrize("name", FORMATS)
def test_an_honest_archive_comes_out_as_gnu_tar_extracts_it(
    name: str, tree: Path, tmp_path: Path, workshop: Workshop
) -> None:
    if name in LONG:
        add_what_older_formats_cannot_hold(tree)
    if name == "v7":
        (tree / "pipe").unlink()  # that format has none
    if name == "pax":
        os.setxattr(tree / "exact", "user.raw", b"\0\xff=\n")
        os.utime(tree / "exact", ns=(0, 1_234_567_890_123_456_789))
    archive, expected = tmp_path / "a.tar", tmp_path / "expected"
    subprocess.run(["tar", *FORMATS[name], "--numeric-owner", "-C", tree, "-cf", archive, "."], check=True)
    expected.mkdir()
    extract = ["tar", "--xattrs", "--xattrs-include=user.*", "--numeric-owner", "-p", "-C"]
    subprocess.run([*extract, str(expected), "-xf", str(archive)], check=True)
    data = archive.read_bytes()
    done = workshop.unpack(data)
    assert described(done.root) == described(expected)
    assert done.unpacked.diff_id == "sha256:" + hashlib.sha256(data).hexdigest()
    for entry in done.index:
        path = os.fsencode(done.root) + b"/" + entry.path
        if entry.kind is Kind.REGULAR:
            with open(path, "rb") as file:
                assert entry.digest == hashlib.file_digest(file, "sha256").digest()
            assert entry.size == os.stat(path).st_size
        assert entry.mtime_ns == os.lstat(path).st_mtime_ns or entry.kind is Kind.HARDLINK
    if "sparse" in name:
        assert (done.root / "hole").stat().st_blocks < 100, "holes stay holes"
        assert (done.root / "sparse").stat().st_blocks < 5_000_000 / 512


def test_the_size_is_the_sum_that_lstat_gives(tree: Path, tmp_path: Path, workshop: Workshop) -> None:
    archive = tmp_path / "a.tar"
    subprocess.run(["tar", "-C", tree, "-cf", archive, "."], check=True)
    done = workshop.unpack(archive.read_bytes())
    inodes = {
        path.lstat().st_ino: path.lstat().st_size
        for path in done.root.rglob("*")
        if not path.is_dir() or path.is_symlink()
    }
    assert done.unpacked.size == sum(inodes.values())


def test_an_archive_of_absolute_names_lands_below_the_root(tree: Path, tmp_path: Path, workshop: Workshop) -> None:
    archive = tmp_path / "a.tar"
    subprocess.run(["tar", "-P", "-cf", archive, tree], check=True, capture_output=True)
    done = workshop.unpack(archive.read_bytes())
    assert (done.root / str(tree)[1:] / "usr/bin/twin").samefile(done.root / str(tree)[1:] / "usr/bin/tool")
