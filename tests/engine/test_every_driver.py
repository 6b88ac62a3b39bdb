"""One image is one tree whatever unites its layers, and what a container writes is one layer."""

from __future__ import annotations

import io
import os
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import ways
from veneer.changeset.pack import Unpackable
from veneer.drivers.mount import mounted
from veneer.engine.containers import layering
from veneer.engine.containers.creating import ContainerRequest
from veneer.engine.engine import Engine, open_engine
from veneer.testing.images import Member, device, directory, docker_archive, fifo, file, hardlink, image, symlink

pytestmark = pytest.mark.usefixtures("root_only")

CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
LONG = "l" * 250
OPAQUE = "trusted.overlay.opaque"
BASE: dict[str, Member | bytes] = {
    "bin": directory(), "bin/tool": file(b"tool\n" * 999, 0o4755),
    "bin/alias": replace(hardlink("bin/tool"), mode=0o4755),
    "bin/ping": file(b"ping", 0o755, xattrs={b"security.capability": CAPABILITY}),
    "bin/noted": file(b"noted", xattrs={b"user.note": b"\0\xff"}),
    "tmp": directory(0o1777), "etc": directory(), "etc/passwd": file(b"root", 0o600).owned(7, 70_000_000),
    "etc/link": symlink("../bin/tool"), "etc/dangling": symlink("/no/where"),
    "hidden": directory(), "hidden/a": b"a", "hidden/b": directory(), "hidden/b/c": b"c",
    "emptied": directory(0o700), "emptied/a": b"a", "gone": directory(), "gone/deep": directory(), "gone/deep/x": b"x",
    "was-file": b"file", "was-dir": directory(), "was-dir/x": b"x", "was-link": symlink("bin"), "again": b"1",
    "dev": directory(), "dev/null": device(1, 3, mode=0o666), "dev/pipe": fifo(0o620), "x.wh.y": b"no whiteout",
    "many": directory(), **{f"many/{n}": b"%d" % n for n in range(40)},
    LONG: b"long", "caf\udce9": b"latin", "b\\n": b"backslash", "c:d,e": b"colon",
}  # fmt: skip
CHANGED: dict[str, Member | bytes] = {
    "hidden": directory(0o750), "hidden/.wh..wh..opq": b"", "hidden/new": b"new", "emptied/.wh..wh..opq": b"",
    ".wh.gone": b"", ".wh.never": b"", "etc/.wh.never": b"", ".wh.was-file": b"", "was-file": directory(),
    "was-file/x": b"x", "was-dir": b"file now", "was-link": directory(), "was-link/x": b"x",
    ".wh.again": b"", "again": b"2", "bin/.wh.alias": b"", "bin/copy": file(b"copy"), "bin/other": hardlink("bin/copy"),
    "etc/passwd": file(b"root", 0o640).owned(8, 8), "dev/.wh.pipe": b"",
    **{f"many/.wh.{n}": b"" for n in range(0, 40, 2)}, f".wh.{LONG}": b"",
}  # fmt: skip
REVIVED: dict[str, Member | bytes] = {
    "gone": directory(0o711), "gone/deep": b"no directory", "hidden/a": b"another a", "emptied/a": symlink("b"),
    ".wh.was-dir": b"", "implied/parents/x": b"x", "many/0": b"back", LONG: b"long again",
    "dev/pipe": file(b"a file"),
}  # fmt: skip
ARCHIVE = docker_archive((image(BASE, CHANGED, REVIVED), ["every/driver:1"]))
LAYERS = image(BASE, CHANGED, REVIVED).layers

Tree = dict[bytes, tuple[object, ...]]


def tree(root: Path) -> Tree:
    """All of a tree that a program in it can see, the names that are one file as such."""
    found: Tree = {}
    first: dict[tuple[int, int], bytes] = {}
    for folder, folders, files in os.walk(os.fsencode(root)):
        for name in sorted((*folders, *files)):
            path = os.path.join(folder, name)
            shown, status = os.path.relpath(path, os.fsencode(root)), os.lstat(path)
            what: object = None
            if stat.S_ISREG(status.st_mode):
                what = Path(os.fsdecode(path)).read_bytes()
            elif stat.S_ISLNK(status.st_mode):
                what = os.readlink(path)
            elif not stat.S_ISDIR(status.st_mode):
                what = status.st_rdev
            attributes = {
                key: os.getxattr(path, key, follow_symlinks=False)
                for key in os.listxattr(path, follow_symlinks=False)
                if ".overlay." not in key
            }
            shared = None if stat.S_ISDIR(status.st_mode) else first.setdefault((status.st_dev, status.st_ino), shown)
            found[shown] = (status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, what, attributes, shared)
    return found


def by_hand(folder: Path) -> list[Path]:
    """The image's layers as the kernel's overlay wants them, nearest first; made with nothing of veneer's."""
    made: list[Path] = []
    for number, layer in enumerate(LAYERS):
        place = folder / f"layer-{number}"
        place.mkdir(mode=0o755)
        with tarfile.open(fileobj=io.BytesIO(layer.tar), errors="surrogateescape") as tar:
            tar.extraction_filter = lambda member, _: member
            members = {member.name: member for member in tar}
            implied = [
                parent for name in members for parent in Path(name).parents if str(parent) not in members
            ]  # fmt: skip
            for parent in implied:
                (place / parent).mkdir(parents=True, exist_ok=True)
            for name, member in members.items():
                by_hand_member(place, name, member, tar)
            for name, member in members.items():
                if member.isdir():
                    os.utime(place / name, (member.mtime, member.mtime))
        for parent in sorted(set(implied), reverse=True):  # what a layer does not say of a directory is as it was
            like = next((each / parent for each in made if (each / parent).is_dir()), None)
            if like is not None:
                shutil.copystat(like, place / parent)
                if OPAQUE in os.listxattr(place / parent):
                    os.removexattr(place / parent, OPAQUE)
            else:
                os.utime(place / parent, (0, 0))
        made.insert(0, place)
    return made


def by_hand_member(place: Path, name: str, member: tarfile.TarInfo, tar: tarfile.TarFile) -> None:
    path = place / name
    if path.name == ".wh..wh..opq":
        os.setxattr(path.parent, OPAQUE, b"y")
    elif path.name.startswith(".wh."):
        gone = path.with_name(path.name.removeprefix(".wh."))
        if str(gone.relative_to(place)) not in tar.getnames():  # what this layer has in its place hides it, too
            os.mknod(gone, stat.S_IFCHR, 0)
    else:
        tar.extract(member, place)
        if member.issym():
            os.utime(path, (member.mtime, member.mtime), follow_symlinks=False)
        for key, value in member.pax_headers.items():
            if key.startswith("SCHILY.xattr."):
                raw = value.encode("utf-8", "surrogateescape")
                os.setxattr(path, key.removeprefix("SCHILY.xattr."), raw, follow_symlinks=False)


@pytest.fixture(params=ways.WAYS)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    settings = ways.require(request.param, tmp_path / "root")
    with open_engine(tmp_path / "root", **settings, durability="none", unpack_workers=1) as engine:
        engine.images.load(io.BytesIO(ARCHIVE))
        yield engine


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


def test_the_tree_of_an_image_is_that_of_the_kernel_s_overlay(engine: Engine, place: Path, tmp_path: Path) -> None:
    lowers = ":".join(map(str, by_hand(tmp_path)))
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", f"ro,lowerdir={lowers}", place], check=True)
    try:
        expected = tree(place)
    finally:
        subprocess.run(["umount", place], check=True)
    with mounted(engine.store.layers.mounts(engine.images.get("every/driver:1").top), place):
        seen = tree(place)
    assert seen.keys() == expected.keys()
    assert {path: (seen[path], expected[path]) for path in seen if seen[path] != expected[path]} == {}


def work(root: Path) -> None:
    """What a program does; nothing but what every way is known to do right (decision 0021 has what is not)."""
    (root / "etc/passwd").write_bytes(b"root and more")
    (root / "bin/ping").unlink()
    (root / "many/1").rename(root / "many/one")
    (root / "new").mkdir(mode=0o2775)
    (root / "new/a").write_bytes(b"a" * 5000)
    os.link(root / "new/a", root / "new/b")
    (root / "new/c").symlink_to("a")
    os.mkfifo(root / "new/pipe")
    os.mknod(root / "new/zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    os.chown(root / "new/pipe", 5, 6)
    os.setxattr(root / "new/a", "user.note", b"\0")
    (root / "tmp").chmod(0o755)
    for path in sorted((root / "hidden").iterdir()):
        path.unlink()
    (root / "hidden").rmdir()
    (root / "hidden").mkdir()
    (root / "hidden/a").write_bytes(b"a third a")
    (root / "was-file/x").unlink()
    (root / "was-file").rmdir()
    (root / "was-file").write_bytes(b"file again")
    with (root / "many/3").open("r+b") as file:
        file.truncate(0)
    (root / "many/5").chmod(0o600)
    os.utime(root / "many/7", (3, 3))
    (root / "implied/parents/x").unlink()
    (root / "caf\udce9").unlink()
    for name in ("etc/passwd", "etc", "bin", "many/one", "many/3", "many/5", "many", "new/a", "new/c", "new/pipe",
                 "new/zero", "new", "tmp", "dev", "hidden/a", "hidden", "was-file", "implied/parents",
                 "implied"):  # fmt: skip
        os.utime(root / name, (1000, 1000), follow_symlinks=False)


def test_what_a_container_writes_is_one_layer(engine: Engine, place: Path) -> None:
    """Pinned: all of them have to arrive at it."""
    container = engine.containers.create(ContainerRequest("every/driver:1", {"Cmd": ["x"]}))
    with mounted(engine.store.containers.mounts(container), place):
        work(place)
        written = tree(place)
        meanwhile = engine.images.get(str(layering.commit(engine, container))).config.diff_ids[-1]
    made = engine.images.get(str(layering.commit(engine, container)))
    assert made.config.diff_ids[-1] == "sha256:7bb7c6d763bddef7c37d1fd86884dc7e79bf501d5441113bd1259995a0ffb293"
    assert meanwhile == made.config.diff_ids[-1], "while it was mounted, as of a container that runs"
    with mounted(engine.store.layers.mounts(made.top), place):
        seen = tree(place)
    given = {path for path in written if path not in seen}  # what every container has, and no image
    assert given <= {b".dockerenv", b"proc", b"sys", b"dev/pts", b"dev/shm", b"dev/console", b"etc/hosts",
                     b"etc/hostname", b"etc/resolv.conf", b"etc/mtab"}  # fmt: skip
    assert {path: (seen[path], written.get(path)) for path in seen if seen[path] != written.get(path)} == {}
    with mounted(engine.store.containers.mounts(container), place):
        try:
            (place / ".wh.etc").touch()
        except OSError:
            return  # FUSE refuses such a name
    with pytest.raises(Unpackable, match=r"\.wh\.etc: a layer cannot hold a name that begins with \.wh\."):
        layering.commit(engine, container)


def test_what_becomes_of_a_container_s_own_files_is_the_same_in_every_layer(engine: Engine, place: Path) -> None:
    """Pinned.  As with docker: removed, they are whiteouts, though the image has nothing there."""
    container = engine.containers.create(ContainerRequest("every/driver:1", {"Cmd": ["x"]}))
    with mounted(engine.store.containers.mounts(container), place):
        (place / "etc/mtab").unlink()
        (place / ".dockerenv").chmod(0o600)
        os.utime(place / ".dockerenv", (3, 3))
        (place / "etc/hosts").write_bytes(b"127.0.0.1 here")
        os.utime(place / "etc/hosts", (4, 4))
        os.utime(place / "etc", (1000, 1000))
    made = engine.images.get(str(layering.commit(engine, container)))
    with engine.store.layers.index(made.config.diff_ids[-1]) as index:
        told = {entry.path: (entry.kind.name, entry.mode) for entry in index if entry.path}
    assert told == {
        b".dockerenv": ("REGULAR", 0o600), b"etc": ("DIRECTORY", 0o755), b"etc/hosts": ("REGULAR", 0o755),
        b"etc/mtab": ("WHITEOUT", 0),
    }  # fmt: skip
    assert made.config.diff_ids[-1] == "sha256:d24f52bb03fd7a585bba104584ad93e4ace76c40e2315b36837fdbdce66b603c"
