"""Applying a layer: the rules of whiteouts, links, replacement, attributes and times."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
from pathlib import Path

import pytest

from tests.support.layers import BLOCK, CHARACTER, DIRECTORY, FIFO, Layer, Workshop, header, pax
from veneer.changeset.entry import Kind
from veneer.changeset.limits import Limits
from veneer.changeset.tar import BadArchive
from veneer.changeset.unpack import unpack
from veneer.changeset.whiteout import WhiteoutStyle
from veneer.errors import VeneerError

OVERLAY, AUFS, ERASE = WhiteoutStyle.OVERLAY, WhiteoutStyle.AUFS, WhiteoutStyle.ERASE
CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")


@pytest.fixture
def lower(workshop: Workshop) -> Path:
    """A root that already holds the copy of a lower layer, as vfs makes it."""
    root = workshop.root()
    for path in ("etc/passwd", "a/old", "a/sub/older", "b/old"):
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(path)
    (root / "sym").symlink_to("a")
    return root


def test_everything_a_member_says_is_on_the_disk_and_in_the_index(workshop: Workshop) -> None:
    layer = (
        Layer().dir(b"d/", 0o1777, uid=7, gid=8, mtime=5).file(b"d/f", b"hello", mode=0o4755, uid=12, gid=34, mtime=9)
    )
    done = workshop.unpack(layer)
    file, folder = (done.root / "d/f").lstat(), (done.root / "d").lstat()
    assert (stat.S_IMODE(file.st_mode), file.st_uid, file.st_gid, file.st_mtime_ns) == (0o4755, 12, 34, 9 * 10**9)
    assert (stat.S_IMODE(folder.st_mode), folder.st_uid, folder.st_gid, folder.st_mtime_ns) == (0o1777, 7, 8, 5 * 10**9)
    number = done.index.find(b"d/f")
    assert number is not None
    entry = done.index.entry(number)
    assert (entry.kind, entry.mode, entry.uid, entry.gid, entry.size) == (Kind.REGULAR, 0o4755, 12, 34, 5)
    assert (entry.mtime_ns, entry.digest) == (9 * 10**9, hashlib.sha256(b"hello").digest())


def test_the_diff_id_covers_padding_and_whatever_follows_the_end(workshop: Workshop) -> None:
    data = Layer().file(b"f", b"x").tar() + bytes(9000) + b"and some junk"
    done = workshop.unpack(data)
    assert done.unpacked.diff_id == "sha256:" + hashlib.sha256(data).hexdigest()
    assert done.unpacked.tar_size == len(data)


def test_content_larger_than_the_buffer_arrives_whole(workshop: Workshop) -> None:
    content = os.urandom(3 * (1 << 20) + 17)
    done = workshop.unpack(Layer().file(b"before", b"1").file(b"big", content).file(b"after", b"2"))
    assert (done.root / "big").read_bytes() == content
    assert (done.root / "after").read_bytes() == b"2"
    number = done.index.find(b"big")
    assert number is not None
    assert done.index.entry(number).digest == hashlib.sha256(content).digest()


def test_the_size_counts_each_inode_once_and_links_by_their_text(workshop: Workshop) -> None:
    layer = Layer().file(b"f", b"12345").hardlink(b"g", b"f").symlink(b"s", b"four").dir(b"d")
    assert workshop.unpack(layer).unpacked.size == 5 + 4


def test_a_replaced_file_no_longer_counts(workshop: Workshop) -> None:
    done = workshop.unpack(Layer().file(b"f", b"12345").file(b"f", b"123"))
    assert done.unpacked.size == 3
    assert (done.root / "f").read_bytes() == b"123"


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o777])
def test_permissions_do_not_depend_on_the_umask(workshop: Workshop, umask: int) -> None:
    before = os.umask(umask)
    try:
        done = workshop.unpack(
            Layer().dir(b"d", 0o777).file(b"d/f", mode=0o666).file(b"i/f").node(b"p", FIFO, mode=0o622)
        )
    finally:
        os.umask(before)
    modes = {name: stat.S_IMODE((done.root / name).lstat().st_mode) for name in ("d", "d/f", "i", "p")}
    assert modes == {"d": 0o777, "d/f": 0o666, "i": 0o755, "p": 0o622}


def test_a_setgid_directory_does_not_pass_its_group_on(workshop: Workshop) -> None:
    layer = Layer().dir(b"d", 0o2775, gid=50).file(b"d/f").dir(b"d/e", 0o755).symlink(b"d/s", b"x").file(b"d/i/f")
    done = workshop.unpack(layer)
    groups = {name: (done.root / name).lstat().st_gid for name in ("d", "d/f", "d/e", "d/s", "d/i", "d/i/f")}
    assert groups == {"d": 50, "d/f": 0, "d/e": 0, "d/s": 0, "d/i": 0, "d/i/f": 0}
    assert stat.S_IMODE((done.root / "d/e").stat().st_mode) == 0o755
    assert stat.S_IMODE((done.root / "d/i").stat().st_mode) == 0o755


# Whiteouts: traps 1, 2, 3, 9, 13, 15.


@pytest.mark.parametrize("order", [("marker", "file"), ("file", "marker")])
def test_a_whiteout_never_hides_a_file_of_its_own_layer(workshop: Workshop, order: tuple[str, str]) -> None:
    for style in (OVERLAY, AUFS, ERASE):
        layer = Layer()
        for what in order:
            layer.file(b".wh.f" if what == "marker" else b"f", b"" if what == "marker" else b"kept")
        done = workshop.unpack(layer, style)
        assert (done.root / "f").read_bytes() == b"kept"
        assert done.names() == ["f"]
        assert [(entry.path, entry.kind) for entry in done.index] == [(b"f", Kind.REGULAR)]


@pytest.mark.parametrize("order", [("marker", "dir"), ("dir", "marker"), ("marker", "implied"), ("implied", "marker")])
def test_a_whiteout_beside_a_directory_makes_it_opaque(workshop: Workshop, order: tuple[str, str]) -> None:
    layer = Layer()
    for what in order:
        if what == "marker":
            layer.file(b".wh.a")
        elif what == "dir":
            layer.dir(b"a", 0o700, uid=3).file(b"a/new", b"n")
        else:
            layer.file(b"a/new", b"n")
    done = workshop.unpack(layer)
    assert done.is_opaque("a")
    assert done.names() == ["a", "a/new"]
    entry = next(iter(done.index))
    assert (entry.path, entry.kind, entry.opaque) == (b"a", Kind.DIRECTORY, True)
    assert entry.implied == ("implied" in order)
    assert (entry.mode, entry.uid) == ((0o755, 0) if entry.implied else (0o700, 3))
    aufs = workshop.unpack(layer, AUFS)
    assert aufs.names() == ["a", "a/.wh..wh..opq", "a/new"]
    assert list(aufs.index) == list(done.index)


@pytest.mark.parametrize("order", [("marker", "dir"), ("dir", "marker"), ("marker", "implied"), ("implied", "marker")])
def test_erasing_leaves_only_what_the_layer_itself_has(workshop: Workshop, lower: Path, order: tuple[str, str]) -> None:
    layer = Layer()
    for what in order:
        layer.file({"marker": b".wh.a", "dir": b"a/new", "implied": b"a/sub/new"}[what])
    done = workshop.unpack(layer, ERASE, root=lower)
    assert not (lower / "a/old").exists()
    assert not (lower / "a/sub/older").exists()
    assert (lower / ("a/new" if "dir" in order else "a/sub/new")).exists()
    assert (lower / "b/old").exists()
    assert list(done.index) == list(workshop.unpack(layer).index)


@pytest.mark.parametrize("where", ["first", "last"])
def test_an_opaque_marker_anywhere_spares_the_layers_own_entries(workshop: Workshop, lower: Path, where: str) -> None:
    members = Layer().dir(b"a").file(b"a/new", b"n").file(b"z", b"z")
    marker = Layer().file(b"a/.wh..wh..opq")
    data = (marker.data + members.data if where == "first" else members.data + marker.data) + bytes(1024)
    done = workshop.unpack(bytes(data))
    assert done.is_opaque("a")
    assert done.names() == ["a", "a/new", "z"]
    number = done.index.find(b"a")
    assert number is not None
    assert done.index.entry(number).opaque
    erased = workshop.unpack(bytes(data), ERASE, root=lower)
    assert sorted(os.listdir(lower / "a")) == ["new"]
    assert list(erased.index) == list(done.index)


def test_a_plain_whiteout_is_a_device_a_file_or_nothing(workshop: Workshop, lower: Path) -> None:
    layer = Layer().file(b"etc/.wh.passwd").file(b".wh.a")
    overlay = workshop.unpack(layer)
    assert overlay.is_whiteout("etc/passwd")
    assert overlay.is_whiteout("a")
    assert workshop.unpack(layer, AUFS).names() == [".wh.a", "etc", "etc/.wh.passwd"]
    erased = workshop.unpack(layer, ERASE, root=lower)
    assert erased.names() == ["b", "b/old", "etc", "sym"]
    expected = [(b"a", Kind.WHITEOUT), (b"etc", Kind.DIRECTORY), (b"etc/passwd", Kind.WHITEOUT)]
    for done in (overlay, erased):
        assert [(entry.path, entry.kind) for entry in done.index] == expected


def test_a_whiteout_of_nothing_does_no_harm(workshop: Workshop, lower: Path) -> None:
    workshop.unpack(Layer().file(b".wh.nothing").file(b"no/where/.wh.x"), ERASE, root=lower)
    assert (lower / "a/old").exists()


@pytest.mark.parametrize("name", [b".wh.", b".wh..", b".wh...", b"d/.wh.", b"d/.wh..."])
def test_a_whiteout_of_no_valid_name_is_refused(workshop: Workshop, name: bytes) -> None:
    for style in (OVERLAY, AUFS, ERASE):
        with pytest.raises(BadArchive, match=r"layer sha256:abc: .*whiteout of no valid name"):
            workshop.unpack(Layer().file(name), style)


def test_a_member_below_a_whiteout_is_refused(workshop: Workshop) -> None:
    with pytest.raises(BadArchive, match="below a whiteout"):
        workshop.unpack(Layer().file(b"d/.wh.x/y"))


def test_the_folders_of_aufs_itself_are_skipped(workshop: Workshop) -> None:
    layer = Layer().dir(b".wh..wh.plnk").dir(b".wh..wh.orph").file(b".wh..wh.aufs").file(b".wh..wh.orph/x", b"y")
    for style in (OVERLAY, AUFS, ERASE):
        done = workshop.unpack(layer, style)
        assert done.names() == []
        assert len(done.index) == 0


def test_links_to_a_pseudo_link_of_aufs_get_its_content(workshop: Workshop) -> None:
    layer = Layer().dir(b".wh..wh.plnk").file(b".wh..wh.plnk/12.34", b"data", mode=0o600, uid=5)
    layer.file(b".wh..wh.plnk/99.99", b"nobody's").hardlink(b"d/one", b".wh..wh.plnk/12.34").hardlink(
        b"two", b"/.wh..wh.plnk/12.34"
    )
    done = workshop.unpack(layer)
    assert done.names() == ["d", "d/one", "two"]
    assert (done.root / "two").read_bytes() == b"data"
    assert (done.root / "d/one").lstat().st_uid == 5
    assert done.unpacked.size == 4
    kinds = {entry.path: (entry.kind, entry.size, entry.link) for entry in done.index}
    assert kinds[b"d/one"] == (Kind.REGULAR, 4, b"")
    assert kinds[b"two"] == (Kind.HARDLINK, 0, b"d/one")


def test_an_opaque_root_makes_its_directories_opaque_too(workshop: Workshop, lower: Path) -> None:
    layer = Layer().file(b".wh..wh..opq").file(b"etc/new")
    done = workshop.unpack(layer, ERASE, root=lower)
    assert done.names() == ["etc", "etc/new"]
    entry = next(iter(workshop.unpack(layer).index))
    assert (entry.path, entry.opaque) == (b"", True)


# Hard links: traps 4 and 5.


def test_a_hard_link_shares_its_targets_inode_wherever_the_target_stands(workshop: Workshop) -> None:
    for style in (OVERLAY, ERASE):
        layer = (
            Layer()
            .hardlink(b"x/early", b"d/f")
            .hardlink(b"chain", b"x/early")
            .file(b"d/f", b"c")
            .hardlink(b"late", b"/d/f")
        )
        done = workshop.unpack(layer, style)
        inodes = {(done.root / name).lstat().st_ino for name in ("x/early", "chain", "late", "d/f")}
        assert len(inodes) == 1
        assert done.unpacked.lower_links == ()


def test_a_hard_link_to_what_only_a_lower_layer_has_is_left_to_settle(workshop: Workshop) -> None:
    done = workshop.unpack(Layer().hardlink(b"d/l", b"etc/passwd"))
    assert done.unpacked.lower_links == ((b"d/l", b"etc/passwd"),)
    assert done.names() == ["d"]
    assert [(e.path, e.kind, e.link) for e in done.index][1] == (b"d/l", Kind.HARDLINK, b"etc/passwd")


def test_erasing_links_to_the_lower_file_in_the_same_tree(workshop: Workshop, lower: Path) -> None:
    workshop.unpack(Layer().hardlink(b"l", b"etc/passwd"), ERASE, root=lower)
    assert (lower / "l").lstat().st_ino == (lower / "etc/passwd").lstat().st_ino


def test_erasing_links_to_the_layers_own_later_file_not_to_the_lower_one(workshop: Workshop, lower: Path) -> None:
    workshop.unpack(Layer().hardlink(b"l", b"etc/passwd").file(b"etc/passwd", b"new"), ERASE, root=lower)
    assert (lower / "l").read_bytes() == b"new"


def test_a_hard_link_to_nothing_is_an_error_where_nothing_more_can_come(workshop: Workshop, lower: Path) -> None:
    with pytest.raises(BadArchive, match="'l': hard link to 'none', which neither"):
        workshop.unpack(Layer().hardlink(b"l", b"none"), ERASE, root=lower)


def test_a_hard_link_to_a_symlink_is_the_symlink_and_never_followed(workshop: Workshop) -> None:
    done = workshop.unpack(Layer().symlink(b"s", b"../outside/secret").hardlink(b"h", b"s"))
    assert os.readlink(done.root / "h") == "../outside/secret"
    assert (done.root / "h").lstat().st_ino == (done.root / "s").lstat().st_ino


def test_a_later_entry_takes_the_place_of_a_link_that_waits(workshop: Workshop) -> None:
    layer = Layer().hardlink(b"l", b"f").file(b"l", b"mine").file(b"f", b"other")
    done = workshop.unpack(layer)
    assert (done.root / "l").read_bytes() == b"mine"
    waits = workshop.unpack(Layer().hardlink(b"d/l", b"f").file(b"d", b"now a file").file(b"f"))
    assert waits.names() == ["d", "f"]


def test_a_hard_link_to_a_directory_or_to_the_root_is_refused(workshop: Workshop) -> None:
    with pytest.raises(BadArchive, match="hard link to a directory"):
        workshop.unpack(Layer().dir(b"d").hardlink(b"l", b"d"))
    with pytest.raises(BadArchive, match="hard link to the root"):
        workshop.unpack(Layer().hardlink(b"l", b"./"))


# Directories: traps 6, 7, 12, 13, 14.


def test_directories_without_an_entry_are_reported_and_plain(workshop: Workshop) -> None:
    done = workshop.unpack(Layer().file(b"a/b/c", b"").dir(b"a", 0o700).file(b"e/f"))
    assert done.unpacked.implied == (b"a/b", b"e")
    implied = {entry.path: entry.implied for entry in done.index}
    assert implied == {b"a": False, b"a/b": True, b"a/b/c": False, b"e": True, b"e/f": False}
    status = (done.root / "e").lstat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_mtime_ns) == (0o755, 0, 0)


def test_times_of_directories_survive_what_is_done_in_them_later(workshop: Workshop) -> None:
    layer = (
        Layer().dir(b"a", mtime=11).dir(b"a/b", mtime=22).file(b"z").file(b"a/b/late").file(b"a/.wh.gone").file(b"z2")
    )
    layer.hardlink(b"a/b/link", b"a/b/later").file(b"a/b/later")
    done = workshop.unpack(layer)
    assert (done.root / "a").lstat().st_mtime_ns == 11 * 10**9
    assert (done.root / "a/b").lstat().st_mtime_ns == 22 * 10**9


def test_two_entries_of_a_directory_merge_and_the_last_ones_attributes_stay(workshop: Workshop) -> None:
    layer = Layer().pax({b"SCHILY.xattr.user.old": b"1"}).dir(b"d", 0o700, uid=4).file(b"d/f", b"x")
    layer.pax({b"SCHILY.xattr.user.new": b"2"}).dir(b"d/", 0o711, uid=0, mtime=77)
    done = workshop.unpack(layer)
    status = (done.root / "d").lstat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_mtime_ns) == (0o711, 0, 77 * 10**9)
    assert done.xattrs("d") == {"user.new": b"2"}
    assert (done.root / "d/f").exists()


def test_erasing_a_directory_entry_takes_over_the_lower_directory(workshop: Workshop, lower: Path) -> None:
    os.setxattr(lower / "a", "user.lower", b"1")
    os.chown(lower / "a", 9, 9)
    workshop.unpack(Layer().dir(b"a", 0o750, mtime=3), ERASE, root=lower)
    status = (lower / "a").lstat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_mtime_ns) == (0o750, 0, 3 * 10**9)
    assert os.listxattr(lower / "a") == []
    assert (lower / "a/old").exists()


def test_an_unmentioned_lower_directory_keeps_its_attributes_when_erasing(workshop: Workshop, lower: Path) -> None:
    os.chmod(lower / "a", 0o1777)
    os.utime(lower / "a", ns=(4, 4))
    done = workshop.unpack(Layer().file(b"a/new"), ERASE, root=lower)
    status = (lower / "a").lstat()
    assert (stat.S_IMODE(status.st_mode), status.st_mtime_ns) == (0o1777, 4)
    assert done.unpacked.implied == (b"a",)


@pytest.mark.parametrize("style", [OVERLAY, AUFS, ERASE])
def test_the_last_of_two_entries_wins_whatever_they_are(workshop: Workshop, style: WhiteoutStyle) -> None:
    done = workshop.unpack(Layer().dir(b"x").file(b"x/y/z", b"gone").file(b"x", b"file"), style)
    assert done.names() == ["x"]
    assert [entry.path for entry in done.index] == [b"x"]
    assert done.unpacked.size == 4
    assert done.unpacked.implied == ()
    back = workshop.unpack(Layer().file(b"x", b"gone").dir(b"x").file(b"x/y"), style)
    assert (back.root / "x/y").exists()
    number = back.index.find(b"x")
    assert number is not None
    assert back.index.entry(number).opaque, "a file had hidden the lower directory"
    swapped = workshop.unpack(Layer().symlink(b"x", b"t").file(b"x", b"f").node(b"x", FIFO).symlink(b"x", b"u"), style)
    assert os.readlink(swapped.root / "x") == "u"


def test_erasing_replaces_lower_types(workshop: Workshop, lower: Path) -> None:
    workshop.unpack(Layer().file(b"a", b"file").dir(b"etc/passwd").dir(b"sym"), ERASE, root=lower)
    assert (lower / "a").read_bytes() == b"file"
    assert (lower / "etc/passwd").is_dir()
    assert not (lower / "sym").is_symlink()


def test_an_entry_below_a_symlink_of_its_own_layer_goes_where_that_leads(workshop: Workshop) -> None:
    for style in (OVERLAY, ERASE):
        layer = (
            Layer()
            .dir(b"usr/lib")
            .symlink(b"lib", b"usr/lib")
            .symlink(b"abs", b"/usr/./lib")
            .symlink(b"up", b"../../usr")
        )
        layer.file(b"lib/one", b"1").file(b"abs/two", b"2").file(b"up/lib/three", b"3").file(b"up/lib/sub/four")
        done = workshop.unpack(layer, style)
        assert sorted(os.listdir(done.root / "usr/lib")) == ["one", "sub", "three", "two"]
        assert (done.root / "lib").is_symlink()
        assert done.index.find(b"usr/lib/one") is not None
        assert done.index.find(b"lib/one") is None


def test_an_entry_below_a_symlink_of_a_lower_layer_makes_a_directory(workshop: Workshop, lower: Path) -> None:
    done = workshop.unpack(Layer().file(b"sym/through", b"x"), ERASE, root=lower)
    assert not (lower / "sym").is_symlink()
    assert not (lower / "a/through").exists()
    assert list(done.index) == list(workshop.unpack(Layer().file(b"sym/through", b"x")).index)


@pytest.mark.parametrize("target", [b"nowhere", b"loop", b"../outside", b"/", b"file"])
def test_an_entry_below_a_symlink_that_leads_to_no_directory(workshop: Workshop, target: bytes) -> None:
    layer = Layer().file(b"file").symlink(b"loop", target).file(b"loop/x", b"x")
    done = workshop.unpack(layer)
    if target == b"/":
        assert (done.root / "x").read_bytes() == b"x"
    else:
        assert (done.root / "loop/x").read_bytes() == b"x"
        assert not (done.root / "loop").is_symlink()


@pytest.mark.parametrize("name", [b"./", b"/", b".", b"././"])
def test_an_entry_for_the_root_changes_nothing(workshop: Workshop, name: bytes) -> None:
    root = workshop.root()
    os.chmod(root, 0o750)
    done = workshop.unpack(Layer().dir(name, 0o777, uid=5), root=root)
    assert stat.S_IMODE(root.stat().st_mode) == 0o750
    assert root.stat().st_uid == 0
    assert len(done.index) == 0


# Attributes, devices, times: traps 10, 16, 18, 19, 20, 21.


def test_a_capability_survives_the_change_of_owner(workshop: Workshop) -> None:
    layer = Layer().pax({b"SCHILY.xattr.security.capability": CAPABILITY}).file(b"ping", b"x", uid=10, mode=0o755)
    done = workshop.unpack(layer)
    assert done.xattrs("ping") == {"security.capability": CAPABILITY}
    number = done.index.find(b"ping")
    assert number is not None
    assert done.index.entry(number).xattrs == ((b"security.capability", CAPABILITY),)


def test_attributes_that_an_image_may_not_set_are_dropped_and_counted(workshop: Workshop) -> None:
    forged = {
        b"SCHILY.xattr.trusted.overlay.opaque": b"y",
        b"SCHILY.xattr.user.overlay.redirect": b"/etc",
        b"SCHILY.xattr.user.overlay.origin": b"",
        b"SCHILY.xattr.security.selinux": b"x",
        b"SCHILY.xattr.user.fine": b"a\0b\xff",
        b"SCHILY.xattr.user.empty": b"",
    }
    done = workshop.unpack(Layer().pax(forged).dir(b"d").pax(forged).file(b"f"))
    for name in ("d", "f"):
        assert done.xattrs(name) == {"user.fine": b"a\0b\xff", "user.empty": b""}
    assert "attribute trusted.overlay.opaque not kept: images may not set it (2 members)" in done.unpacked.warnings
    assert len(done.unpacked.warnings) == 4


def test_a_character_device_0_0_is_refused_as_a_forged_whiteout(workshop: Workshop) -> None:
    with pytest.raises(BadArchive, match="'d/null': character device 0:0"):
        workshop.unpack(Layer().node(b"d/null", CHARACTER))


def test_devices_and_fifos_are_made_and_not_opened(workshop: Workshop) -> None:
    layer = (
        Layer()
        .node(b"null", CHARACTER, (1, 3), mode=0o666, gid=6)
        .node(b"sda", BLOCK, (8, 300), mode=0o1660)
        .node(b"p", FIFO)
    )
    try:
        os.mknod(workshop.base / "probe", stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("this machine does not let the tests make device files")
    done = workshop.unpack(layer)
    null, disk = (done.root / "null").lstat(), (done.root / "sda").lstat()
    assert (stat.S_ISCHR(null.st_mode), null.st_rdev, null.st_gid) == (True, os.makedev(1, 3), 6)
    assert (stat.S_ISBLK(disk.st_mode), disk.st_rdev, stat.S_IMODE(disk.st_mode)) == (True, os.makedev(8, 300), 0o1660)
    assert stat.S_ISFIFO((done.root / "p").lstat().st_mode)
    number = done.index.find(b"sda")
    assert number is not None
    assert done.index.entry(number).device == (8, 300)


@pytest.mark.parametrize("device", [(4096, 0), (1, 1 << 20)])
def test_device_numbers_beyond_the_kernels_are_refused(workshop: Workshop, device: tuple[int, int]) -> None:
    with pytest.raises(BadArchive, match="out of range"):
        workshop.unpack(Layer().node(b"n", BLOCK, device))


@pytest.mark.parametrize(
    ("text", "expected"),
    [(b"1000000000.123456789", 1000000000123456789), (b"12", 12 * 10**9), (b"-1.5", -1500000000), (b"0.1", 10**8)],
)
def test_times_keep_their_nanoseconds(workshop: Workshop, text: bytes, expected: int) -> None:
    done = workshop.unpack(
        Layer()
        .pax({b"mtime": text})
        .file(b"f")
        .pax({b"mtime": text})
        .dir(b"d")
        .pax({b"mtime": text})
        .symlink(b"s", b"x")
    )
    for name in ("f", "d", "s"):
        assert (done.root / name).lstat().st_mtime_ns == expected


@pytest.mark.parametrize("identity", [65536, 2097152, 4000000000, 4294967294])
def test_large_ids_by_pax_and_by_base_256(workshop: Workshop, identity: int) -> None:
    layer = Layer().file(b"gnu", uid=identity, gid=identity).pax({b"uid": b"%d" % identity, b"gid": b"1"}).file(b"pax")
    done = workshop.unpack(layer)
    assert (done.root / "gnu").lstat().st_uid == (done.root / "gnu").lstat().st_gid == identity
    assert ((done.root / "pax").lstat().st_uid, (done.root / "pax").lstat().st_gid) == (identity, 1)


@pytest.mark.parametrize("identity", [-1, 4294967295, 1 << 40])
def test_ids_that_no_file_system_has_are_refused(workshop: Workshop, identity: int) -> None:
    with pytest.raises(BadArchive, match=r"'f': owner .* is out of range"):
        workshop.unpack(Layer().file(b"f", uid=identity))


def test_times_of_any_age_are_taken(workshop: Workshop) -> None:
    done = workshop.unpack(Layer().file(b"old", mtime=-5).file(b"new", mtime=1 << 60))
    assert (done.root / "old").lstat().st_mtime_ns == -5 * 10**9
    assert (done.root / "new").exists()


def test_names_are_bytes_of_any_kind_and_up_to_255_long(workshop: Workshop) -> None:
    odd = b"\xff\xfe\x01 \n" + b"n" * 250
    done = workshop.unpack(Layer().pax({b"path": odd}).file(b"x", b"1").file("ü".encode("latin-1")))
    assert set(os.listdir(os.fsencode(done.root))) == {odd, b"\xfc"}
    with pytest.raises(BadArchive, match="longer than 255"):
        workshop.unpack(Layer().pax({b"path": odd + b"n"}).file(b"x"))


def test_an_unprivileged_user_gets_what_he_may_and_warnings_for_the_rest(workshop: Workshop) -> None:
    """Device nodes and owners are left out, nothing is aborted, and unwritable directories are still filled."""
    root = workshop.root()
    os.chown(root, 4242, 4242)
    layer = (
        Layer()
        .dir(b"ro", 0o555)
        .file(b"ro/f", b"x", uid=1, mode=0o4755)
        .node(b"dev", CHARACTER, (1, 3))
        .file(b"z")
        .dir(b"no", 0o000)
    )
    layer.file(b"ro/g").file(b"no/f")
    read_end, write_end = os.pipe()
    root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)  # he may not come here by path
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setresgid(4242, 4242, 4242)
            os.setresuid(4242, 4242, 4242)
            done = unpack(io.BytesIO(layer.tar()), root_fd, OVERLAY, index=None)
            os.write(write_end, "\n".join(done.warnings).encode())
            status = 0
        except BaseException as error:
            os.write(write_end, repr(error).encode())
        finally:
            os._exit(status)
    os.close(write_end)
    os.close(root_fd)
    with open(read_end) as pipe:
        said = pipe.read()
    assert os.waitpid(child, 0)[1] == 0, said
    assert "device files are empty files here" in said
    assert "owners not kept" in said
    assert stat.S_IMODE((root / "ro").stat().st_mode) == 0o555
    assert stat.S_IMODE((root / "no").stat().st_mode) == 0
    assert (root / "ro/g").exists()
    assert (root / "no/f").exists()


def test_a_default_acl_of_the_host_does_not_get_into_layers(workshop: Workshop) -> None:
    root = workshop.root()
    acl = bytes.fromhex("0200000001000700ffffffff02000700e803000004000700ffffffff10000700ffffffff20000000ffffffff")
    try:
        os.setxattr(root, "system.posix_acl_default", acl)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            pytest.skip("this file system has no ACLs")
        raise
    done = workshop.unpack(Layer().dir(b"d", 0o755).file(b"d/f", mode=0o644), root=root)
    assert done.xattrs("d/f") == {}
    assert stat.S_IMODE((root / "d/f").stat().st_mode) == 0o644


def test_errors_name_the_layer_the_member_and_the_fact(workshop: Workshop) -> None:
    with pytest.raises(VeneerError) as caught:
        workshop.unpack(Layer().file(b"fine").raw(header(b"odd\n", b"Q")), what="layer 3 (sha256:12ab)")
    assert str(caught.value) == "layer 3 (sha256:12ab): 'odd\\\\n': members of type b'Q' are not known"


def test_a_full_disk_is_told_by_what_is_full(workshop: Workshop, tmp_path: Path) -> None:
    from tests.support.layers import Workshop as Another

    small = tmp_path / "small"
    small.mkdir()
    if os.system(f"mount -t tmpfs -o size=64k,nr_inodes=20 none {small}") != 0:
        pytest.skip("this machine does not let the tests mount a tmpfs")
    try:
        (tmp_path / "b").mkdir()
        bench = Another(tmp_path / "b")
        for name in ("bytes", "inodes"):
            (small / name).mkdir()
        with pytest.raises(VeneerError, match=r"layer.*'big': no space left on the file system") as caught:
            bench.unpack(Layer().file(b"big", bytes(200_000)), root=small / "bytes")
        assert caught.value.http_status == 503
        os.unlink(small / "bytes/big")
        many = Layer()
        for number in range(40):
            many.file(b"%d" % number)
        with pytest.raises(VeneerError, match="no inodes left on the file system"):
            bench.unpack(many, root=small / "inodes")
    finally:
        assert os.system(f"umount {small}") == 0


def test_an_index_is_the_same_whatever_the_driver(workshop: Workshop, lower: Path) -> None:
    layer = (
        Layer()
        .dir(b"a")
        .file(b"a/f", b"1")
        .file(b".wh.b")
        .hardlink(b"h", b"a/f")
        .file(b"etc/x/.wh..wh..opq")
        .raw(pax({b"SCHILY.xattr.user.k": b"v"}) + header(b"c", DIRECTORY, mode=0o711))
    )
    expected = list(workshop.unpack(layer).index)
    assert list(workshop.unpack(layer, AUFS).index) == expected
    assert list(workshop.unpack(layer, ERASE, root=lower).index) == expected


def test_no_more_is_remembered_than_the_limits_allow(workshop: Workshop) -> None:
    few = Limits(remembered=3)
    many = Layer()
    for number in range(5):
        many.file(b"d%d/f" % number)
    with pytest.raises(BadArchive, match="more than 3 directories without an entry"):
        workshop.unpack(many, limits=few)
    links = Layer()
    for number in range(5):
        links.hardlink(b"l%d" % number, b"t")
    with pytest.raises(BadArchive, match="more than 3 hard links"):
        workshop.unpack(links, limits=few)
