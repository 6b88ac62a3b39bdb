"""Hostile layers: whatever they try, nothing outside the root changes, and the error says what they tried.

Every test runs each archive in each whiteout style; the workshop proves the canaries beside the root unchanged
by content, inode, mode and times, and that no descriptor is left open.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import resource
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from backports import zstd

from tests.support.layers import (
    BLOCK,
    CHARACTER,
    END,
    FIFO,
    REGULAR,
    SYMLINK,
    Layer,
    Workshop,
    header,
    padded,
    pax,
)  # fmt: skip
from veneer.changeset.compression import BadCompression
from veneer.changeset.limits import Limits
from veneer.changeset.tar import BadArchive
from veneer.changeset.unpack import unpack
from veneer.changeset.whiteout import WhiteoutStyle
from veneer.errors import VeneerError

STYLES = [WhiteoutStyle.OVERLAY, WhiteoutStyle.OVERLAY_USER, WhiteoutStyle.AUFS, WhiteoutStyle.ERASE]
every_style = pytest.mark.parametrize("style", STYLES, ids=lambda style: style.name)


def refused(workshop: Workshop, layer: Layer | bytes, style: WhiteoutStyle, fact: str) -> None:
    with pytest.raises(BadArchive, match=fact) as caught:
        workshop.unpack(layer, style)
    assert str(caught.value).startswith("layer sha256:abc: ")


# Names that point outside.


@every_style
@pytest.mark.parametrize("name", [b"../x", b"a/../../x", b"..", b"/../x", b"a/..", b"./../outside/secret"])
def test_tar_dotdot(workshop: Workshop, style: WhiteoutStyle, name: bytes) -> None:
    for layer in (Layer().file(name), Layer().dir(name), Layer().symlink(name, b"x"), Layer().node(name, FIFO)):
        refused(workshop, layer, style, r"name with a '\.\.' component")


@every_style
def test_tar_abs(workshop: Workshop, style: WhiteoutStyle) -> None:
    """An absolute name is one below the root, as docker has it."""
    outside = os.fsencode(workshop.outside / "secret")
    done = workshop.unpack(Layer().pax({b"path": outside}).file(b"x", b"hacked"), style)
    assert (done.root / os.fsdecode(outside[1:])).read_bytes() == b"hacked"


@every_style
@pytest.mark.parametrize("key", [b"path", b"linkpath"])
def test_tar_nul(workshop: Workshop, style: WhiteoutStyle, key: bytes) -> None:
    refused(workshop, Layer().pax({key: b"a\0b"}).symlink(b"x", b"y"), style, "NUL")


# Symlinks on the way.


@every_style
@pytest.mark.parametrize(
    "target", ["abs", b"../outside", b"../../../../../../tmp", b"/proc/self/root", b"/proc/self/cwd", b"..", b"/.."]
)  # fmt: skip
def test_tar_symlink_parent(workshop: Workshop, style: WhiteoutStyle, target: bytes | str) -> None:
    link = os.fsencode(workshop.outside) if isinstance(target, str) else target
    layer = (
        Layer()
        .symlink(b"esc", link)
        .file(b"esc/secret", b"hacked")
        .dir(b"esc/folder", 0o777)
        .file(b"esc/folder/inner", b"h")
    )
    layer.file(b"esc/.wh.link").file(b"esc/folder/.wh..wh..opq").node(b"esc/p", FIFO).hardlink(b"esc/h", b"esc/secret")
    workshop.unpack(layer, style)


@every_style
def test_tar_symlink_parent_chain(workshop: Workshop, style: WhiteoutStyle) -> None:
    layer = (
        Layer()
        .dir(b"a")
        .symlink(b"a/up", b"..")
        .symlink(b"b", b"a/up/..")
        .symlink(b"c", b"b/outside")
        .symlink(b"d", b"c")
    )
    layer.file(b"d/secret", b"hacked").file(b"b/outside/secret", b"hacked").file(b"c/folder/inner", b"hacked")
    workshop.unpack(layer, style)


@every_style
def test_a_loop_of_symlinks_ends(workshop: Workshop, style: WhiteoutStyle) -> None:
    layer = Layer().symlink(b"a", b"b/x").symlink(b"b", b"a/y").file(b"a/f").symlink(b"s", b"s/s/s/s").file(b"s/f")
    deep = Layer().dir(b"z")
    for number in range(60):
        deep.symlink(b"l%d" % number, b"l%d" % (number - 1) if number else b"z")
    workshop.unpack(layer, style)
    workshop.unpack(deep.file(b"l59/f"), style)


@every_style
def test_a_symlink_that_leads_to_its_own_target_again_and_again(workshop: Workshop, style: WhiteoutStyle) -> None:
    """2^40 steps if links were expanded without a bound."""
    layer = Layer().dir(b"d")
    for number in range(40):
        below = b"l%d" % (number - 1) if number else b"d"
        layer.symlink(b"l%d" % number, below + b"/../" + below)
    workshop.unpack(layer.file(b"l39/f"), style)


@every_style
def test_tar_root_symlink(workshop: Workshop, style: WhiteoutStyle) -> None:
    for name in (b"./", b"/", b"."):
        for layer in (Layer().symlink(name, b"/etc"), Layer().file(name, b"x"), Layer().hardlink(name, b"x")):
            if name[-1:] == b"/" and layer.data[156:157] == REGULAR:
                continue  # an old tar's spelling of a directory
            refused(workshop, layer, style, "the root can only be a directory")


@every_style
def test_tar_symlink_as_the_last_component_is_replaced_not_followed(workshop: Workshop, style: WhiteoutStyle) -> None:
    secret = os.fsencode(workshop.outside / "secret")
    for kind in (REGULAR, FIFO):
        layer = Layer().symlink(b"s", secret).raw(header(b"s", kind, mode=0o777, uid=9))
        assert not (workshop.unpack(layer, style).root / "s").is_symlink()


@every_style
def test_tar_meta_via_symlink(workshop: Workshop, style: WhiteoutStyle) -> None:
    secret, folder = os.fsencode(workshop.outside / "secret"), os.fsencode(workshop.outside / "folder")
    records = {b"SCHILY.xattr.user.x": b"1", b"SCHILY.xattr.security.capability": bytes(20), b"mtime": b"1"}
    layer = Layer().pax(records).symlink(b"s", secret, uid=7, gid=7).pax(records).symlink(b"d", folder, uid=7)
    layer.pax(records).dir(b"d", 0o777, uid=8).hardlink(b"h", b"s", mode=0o777, uid=9)
    done = workshop.unpack(layer, style)
    assert (done.root / "d").lstat().st_uid == 8


@pytest.mark.parametrize("style", [WhiteoutStyle.OVERLAY, WhiteoutStyle.ERASE], ids=lambda style: style.name)
def test_tar_symlink_swap_race(workshop: Workshop, style: WhiteoutStyle) -> None:
    """Somebody exchanges a directory of the root for a symlink all the while; every file stays inside or fails."""
    root = workshop.root()
    stop = threading.Event()

    def swap() -> None:
        folder, aside = root / "d", root / "aside"
        while not stop.is_set():
            with contextlib.suppress(OSError):
                folder.rename(aside)
            with contextlib.suppress(OSError):
                folder.symlink_to(workshop.outside)
            with contextlib.suppress(OSError):
                folder.unlink()
            with contextlib.suppress(OSError):
                aside.rename(folder)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        layer = Layer()
        for number in range(100):
            layer.file(b"d/secret", b"hacked").file(b"d/folder/inner", b"%d" % number).file(b"elsewhere")
        fd = os.open(root, os.O_RDONLY)
        try:
            for _ in range(10):
                with contextlib.suppress(VeneerError):
                    unpack(io.BytesIO(layer.tar()), fd, style, index=None)
        finally:
            os.close(fd)
    finally:
        stop.set()
        thread.join()
    workshop.check()


# Hard links.


@every_style
@pytest.mark.parametrize("target", [b"../outside/secret", b"a/../../outside/secret", b"", b".."])
def test_tar_hardlink_out(workshop: Workshop, style: WhiteoutStyle, target: bytes) -> None:
    refused(workshop, Layer().hardlink(b"l", target), style, "'l': hard link to")


@every_style
def test_tar_hardlink_via_symlink(workshop: Workshop, style: WhiteoutStyle) -> None:
    """The link would be writable later on, by a second entry of the same name."""
    outside = os.fsencode(workshop.outside)
    layer = Layer().symlink(b"d", outside).hardlink(b"l", b"d/secret").file(b"l", b"hacked")
    layer.symlink(b"s", outside + b"/secret").hardlink(b"m", b"s").file(b"m", b"hacked")
    workshop.unpack(layer, style)
    for rest in (Layer().symlink(b"d", outside).hardlink(b"l", b"d/secret"),):
        if style is WhiteoutStyle.ERASE:
            refused(workshop, rest, style, "which neither this layer nor one below has")
        else:
            assert workshop.unpack(rest, style).unpacked.lower_links == ((b"l", b"d/secret"),)


@every_style
def test_tar_hardlink_abs_ok(workshop: Workshop, style: WhiteoutStyle) -> None:
    done = workshop.unpack(Layer().file(b"etc/f", b"x").hardlink(b"l", b"/etc/f"), style)
    assert (done.root / "l").samefile(done.root / "etc/f")


# Whiteouts.


@every_style
@pytest.mark.parametrize("name", [b".wh...", b".wh..", b".wh.", b"a/.wh...", b"a/b/.wh.."])
def test_wh_dotdot(workshop: Workshop, style: WhiteoutStyle, name: bytes) -> None:
    refused(workshop, Layer().file(b"a/b/c").file(name), style, "whiteout of no valid name")


@every_style
def test_wh_through_a_symlink(workshop: Workshop, style: WhiteoutStyle) -> None:
    layer = Layer().symlink(b"esc", os.fsencode(workshop.outside)).file(b"esc/.wh.secret").file(b"esc/.wh..wh..opq")
    workshop.unpack(layer, style)


def test_wh_of_a_symlink_to_outside_in_a_lower_layer_removes_the_link_only(workshop: Workshop) -> None:
    root = workshop.root()
    (root / "esc").symlink_to(workshop.outside)
    (root / "d").mkdir()
    (root / "d/esc").symlink_to(workshop.outside)
    workshop.unpack(Layer().file(b".wh.esc").file(b"d/.wh..wh..opq"), WhiteoutStyle.ERASE, root=root)
    assert os.listdir(root / "d") == []


@every_style
def test_aufs_plnk(workshop: Workshop, style: WhiteoutStyle) -> None:
    layer = Layer().symlink(b".wh..wh.plnk", os.fsencode(workshop.outside)).file(b".wh..wh.plnk/secret", b"hacked")
    layer.hardlink(b"l", b".wh..wh.plnk/secret").file(b".wh..wh.plnk/../x")
    refused(workshop, layer, style, r"'\.\.'")
    refused(workshop, Layer().hardlink(b"l", b".wh..wh.plnk/../../outside/secret"), style, r"'\.\.'")


# Forged overlay metadata, devices, privileges.


@every_style
def test_xattr_redirect(workshop: Workshop, style: WhiteoutStyle) -> None:
    names = [b"redirect", b"metacopy", b"opaque", b"origin", b"whiteout", b"overlay.opaque"]
    records = {b"SCHILY.xattr.%s.overlay.%s" % (space, name): b"y" for space in (b"trusted", b"user") for name in names}
    done = workshop.unpack(Layer().pax(records).dir(b"d").pax(records).file(b"f"), style)
    assert done.xattrs("d") == done.xattrs("f") == {}


@every_style
def test_mknod_whiteout(workshop: Workshop, style: WhiteoutStyle) -> None:
    refused(workshop, Layer().node(b"n", CHARACTER, (0, 0)), style, "character device 0:0")


def test_xattr_empty_value_ok(workshop: Workshop) -> None:
    done = workshop.unpack(
        Layer().pax({b"SCHILY.xattr.user.empty": b"", b"SCHILY.xattr.user.overlay.origin": b""}).file(b"f")
    )
    assert done.xattrs("f") == {"user.empty": b""}


@every_style
def test_tar_setuid(workshop: Workshop, style: WhiteoutStyle) -> None:
    """Kept, with the owner set before: never for a moment setuid root."""
    done = workshop.unpack(Layer().file(b"su", b"x", mode=0o6755, uid=1000, gid=1000), style)
    status = (done.root / "su").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o6755, 1000)


@every_style
def test_a_fifo_or_device_in_the_way_is_never_opened(workshop: Workshop, style: WhiteoutStyle) -> None:
    layer = Layer().node(b"p", FIFO).file(b"p", b"x").node(b"q", FIFO).dir(b"q").node(b"r", FIFO).file(b"r/x")
    layer.node(b"t", FIFO).hardlink(b"u", b"t").node(b"b", BLOCK, (7, 200)).file(b"b/x")
    workshop.unpack(layer, style)


# Bombs.


@every_style
def test_tar_depth_100k(workshop: Workshop, style: WhiteoutStyle) -> None:
    refused(
        workshop,
        Layer().pax({b"path": b"d/" * 100_000 + b"f"}).file(b"x"),
        style,
        r"100001 directories deep|200001 bytes",
    )
    refused(workshop, Layer().pax({b"path": b"d/" * 1000 + b"f"}).file(b"x"), style, "directories deep")
    layer = Layer().file(b"x/.wh.d").pax({b"path": b"d/" * 254 + b"f"}).file(b"x").file(b"d", b"replaced")
    assert (workshop.unpack(layer, style).root / "d").read_bytes() == b"replaced"


@every_style
def test_tar_longname(workshop: Workshop, style: WhiteoutStyle) -> None:
    refused(workshop, Layer().pax({b"path": b"n" * 256}).file(b"x"), style, "longer than 255")
    refused(workshop, Layer().pax({b"path": b"a" * 5000}).file(b"x"), style, "5000 bytes")
    refused(workshop, header(b"x", b"L", 1 << 40) + bytes(1024), style, "extended header of")
    refused(workshop, Layer().pax({b"linkpath": b"t" * 5000}).raw(header(b"s", SYMLINK)), style, "target of 5000 bytes")


@every_style
def test_tar_xattr_len(workshop: Workshop, style: WhiteoutStyle) -> None:
    refused(workshop, Layer().pax({b"SCHILY.xattr.user.x": bytes(70_000)}).file(b"f"), style, "extended attributes of")
    refused(workshop, Layer().pax({b"SCHILY.xattr.user." + b"n" * 300: b""}).file(b"f"), style, "one too many")
    many = {b"SCHILY.xattr.user.%d" % number: b"" for number in range(3000)}
    workshop.unpack(Layer().pax(many).file(b"f"), style)


@every_style
def test_tar_pax_1g(workshop: Workshop, style: WhiteoutStyle) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(workshop, header(b"p", b"x", 1 << 30) + bytes(4096), style, "extended header of 1073741824 bytes")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def gzip_bomb() -> bytes:
    return gzip.compress(header(b"zeros", REGULAR, 100 << 20) + bytes(100 << 20) + END, 9, mtime=0)


BOMBS = {
    "zstd": lambda: zstd.compress(header(b"zeros", REGULAR, 100 << 20) + bytes(100 << 20) + END),
    "bzip2": lambda: bz2.compress(header(b"zeros", REGULAR, 20 << 20) + bytes(20 << 20) + END),
    "xz": lambda: lzma.compress(header(b"zeros", REGULAR, 20 << 20) + bytes(20 << 20) + END),
}


@pytest.mark.parametrize("kind", ["zstd", "bzip2", "xz"])
def test_bomb(workshop: Workshop, kind: str) -> None:
    with pytest.raises(BadArchive, match="a decompression bomb"):
        workshop.unpack(BOMBS[kind](), limits=Limits(ratio_grace=1 << 20))


def test_bomb_gzip_meets_the_declared_limit(workshop: Workshop) -> None:
    """gzip cannot exceed 1032:1, which honest sparse layers reach as well; the limit on bytes holds."""
    with pytest.raises(BadArchive, match=r"exceeds the limit of 50000000 bytes|size 104857600 is out of range"):
        workshop.unpack(gzip_bomb(), limits=Limits(size=50_000_000))


def test_bomb_nested_is_only_a_file(workshop: Workshop) -> None:
    inner = gzip_bomb()
    done = workshop.unpack(gzip.compress(Layer().file(b"bomb.tar.gz", inner).tar()))
    assert (done.root / "bomb.tar.gz").stat().st_size == len(inner)


@every_style
def test_junk_after_eof(workshop: Workshop, style: WhiteoutStyle) -> None:
    data = Layer().file(b"f").tar() + os.urandom(3000) + header(b"../hidden")
    done = workshop.unpack(data, style)
    assert done.names() == ["f"]
    assert done.unpacked.tar_size == len(data)
    with pytest.raises(BadCompression, match="layer sha256:abc: gzip stream"):
        workshop.unpack(gzip.compress(data) + b"junk after the last member", style)


@every_style
@pytest.mark.parametrize("data", [b"\0" * 511 + b"x", b"not a tar" * 1000, b"\xff" * 5000, b"\x7fELF" + bytes(600)])
def test_not_a_tar(workshop: Workshop, style: WhiteoutStyle, data: bytes) -> None:
    refused(workshop, data, style, "this is not a tar archive")
    refused(workshop, gzip.compress(data), style, "this is not a tar archive")


@every_style
def test_neg_size(workshop: Workshop, style: WhiteoutStyle) -> None:
    for flag in b"0156xgLKVSD27":
        refused(workshop, header(b"f", bytes([flag]), -512) + END, style, "negative size")


@every_style
def test_sparse_evil(workshop: Workshop, style: WhiteoutStyle) -> None:
    huge = {b"GNU.sparse.size": b"%d" % (1 << 60), b"GNU.sparse.map": b"0,0"}
    refused(workshop, Layer().pax(huge).file(b"f"), style, "holes of a layer")
    half = {b"GNU.sparse.size": b"%d" % (9 << 30), b"GNU.sparse.map": b"0,0"}
    with pytest.raises(BadArchive, match="holes of a layer"):
        workshop.unpack(Layer().pax(half).file(b"f").pax(half).file(b"g"), style, limits=Limits(holes=(9 << 30) - 1))
    numbers = b"%d\n" % 10**9
    evil = pax({b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.realsize": b"1"})
    refused(workshop, evil + header(b"f", REGULAR, 512) + padded(numbers), style, "pieces")


def test_hundreds_of_thousands_of_members_take_little_memory(tmp_path: Path) -> None:
    """In a process of its own, so that the peak is this archive's; whiteouts of nothing, to spare the disk."""
    script = (
        "import os, sys\n"
        "from tests.support.layers import header\n"
        "from veneer.changeset.unpack import unpack\n"
        "from veneer.changeset.whiteout import WhiteoutStyle\n"
        "class Members:\n"
        "    number, rest = 0, b''\n"
        "    def readinto(self, buffer):\n"
        "        if not self.rest and self.number < 300_000:\n"
        "            self.number += 1\n"
        "            self.rest = header(b'd/.wh.%d' % self.number)\n"
        "        piece, self.rest = self.rest[:len(buffer)], self.rest[len(buffer):]\n"
        "        buffer[:len(piece)] = piece\n"
        "        return len(piece)\n"
        "done = unpack(Members(), os.open(sys.argv[1], os.O_RDONLY), WhiteoutStyle.ERASE, index=None)\n"
        "assert done.entries == 300_000\n"
        "print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1])\n"
    )
    (tmp_path / "root").mkdir()
    project = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", script, str(tmp_path / "root")]
    peak = subprocess.run(command, cwd=project, stdout=subprocess.PIPE, text=True, check=True)
    assert int(peak.stdout) < 60_000
