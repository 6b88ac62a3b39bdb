"""Packing directories into layers: every style's spelling of a deletion in, one spelling out."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from veneer.changeset.index import LayerIndex
from veneer.changeset.pack import NotPlain, Packed, Unpackable, pack, pack_difference, pack_tree
from veneer.changeset.whiteout import WhiteoutStyle

OVERLAY, OVERLAY_USER, AUFS = WhiteoutStyle.OVERLAY, WhiteoutStyle.OVERLAY_USER, WhiteoutStyle.AUFS
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="devices and trusted attributes take root")


@contextmanager
def opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


def packed(path: Path, style: WhiteoutStyle = OVERLAY, below: Path | None = None) -> list[str]:
    """The members' names; a hard link as "name=target"."""
    out = io.BytesIO()
    with opened(path) as fd:
        if below is None:
            pack(fd, style, out)
        else:
            with opened(below) as below_fd:
                pack(fd, style, out, below=below_fd)
    return names(out)


def packed_difference(old: Path, new: Path) -> list[str]:
    out = io.BytesIO()
    with opened(old) as old_fd, opened(new) as new_fd:
        pack_difference(old_fd, new_fd, out)
    return names(out)


def names(out: io.BytesIO) -> list[str]:
    out.seek(0)
    with tarfile.open(fileobj=out) as archive:
        return [m.name + (f"={m.linkname}" if m.type == tarfile.LNKTYPE else "") for m in archive]


def make(root: Path, *paths: str) -> Path:
    """Files with their path as content, directories where a path ends in a slash."""
    root.mkdir(parents=True, exist_ok=True)
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        if path.endswith("/"):
            (root / path).mkdir(exist_ok=True)
        else:
            (root / path).write_text(path)
            os.utime(root / path, ns=(0, 0))
    return root


def still(*roots: Path) -> None:
    """Give every directory below the same time."""
    for root in roots:
        for path in root.rglob("*"):
            if path.is_dir() and not path.is_symlink():
                os.utime(path, ns=(0, 0))


@needs_root
def test_overlays_whiteouts_become_oci_whiteouts_though_they_are_one_inode(tmp_path: Path) -> None:
    upper = make(tmp_path / "upper", "d/kept")
    os.mknod(upper / "d/gone", 0o020000, 0)
    os.link(upper / "d/gone", upper / "d/also")
    os.setxattr(upper / "d", b"trusted.overlay.opaque", b"y")
    assert packed(upper) == ["d", "d/.wh..wh..opq", "d/.wh.also", "d/.wh.gone", "d/kept"]


@needs_root
def test_only_the_styles_own_attribute_makes_a_directory_opaque(tmp_path: Path) -> None:
    upper = make(tmp_path / "upper", "t/f", "u/f")
    os.setxattr(upper / "t", b"trusted.overlay.opaque", b"y")
    os.setxattr(upper / "u", b"user.overlay.opaque", b"y")
    assert packed(upper, OVERLAY) == ["t", "t/.wh..wh..opq", "t/f", "u", "u/f"]
    assert packed(upper, OVERLAY_USER) == ["t", "t/f", "u", "u/.wh..wh..opq", "u/f"]


@needs_root
def test_whiteouts_by_attribute_count_only_in_directories_that_say_so(tmp_path: Path) -> None:
    upper = make(tmp_path / "upper", "x/", "plain/")
    for path in ("x/gone", "plain/file"):
        (upper / path).touch()
        os.setxattr(upper / path, b"trusted.overlay.whiteout", b"")
    os.setxattr(upper / "x", b"trusted.overlay.opaque", b"x")
    assert packed(upper) == ["plain", "plain/file", "x", "x/.wh.gone"]


def test_aufs_names_are_whiteouts_and_its_own_folders_are_left_out(tmp_path: Path) -> None:
    branch = make(
        tmp_path / "b", "d/.wh..wh..opq", "d/new", ".wh.f", ".wh..wh.aufs", ".wh..wh.plnk/1.2", "e/x", ".wh.e"
    )
    assert packed(branch, AUFS) == ["d", "d/.wh..wh..opq", "d/new", "e", "e/.wh..wh..opq", "e/x", ".wh.f"]


@pytest.mark.parametrize("style", [OVERLAY, OVERLAY_USER])
@pytest.mark.parametrize("name", [".wh.e", "d/.wh..wh..opq", "d/.wh..wh.plnk"])
def test_where_they_mean_nothing_they_are_refused_for_a_layer_would_delete(
    tmp_path: Path, style: WhiteoutStyle, name: str
) -> None:
    """Docker takes a container's file `.wh.etc` for the deletion of etc."""
    with pytest.raises(Unpackable, match=r"\.wh\."):
        packed(make(tmp_path / "b", "e/x", "d/f", name), style)


@needs_root
def test_drivers_attributes_stay_out_and_others_go_in(tmp_path: Path) -> None:
    upper = make(tmp_path / "upper", "f")
    for name in ("trusted.overlay.origin", "user.overlay.impure", "user.fuseoverlayfs.origin", "trusted.other"):
        os.setxattr(upper / "f", name, b"1")
    os.setxattr(upper / "f", "user.mine", b"\0\xff")
    out = io.BytesIO()
    with opened(upper) as fd:
        pack(fd, OVERLAY, out)
    out.seek(0)
    with tarfile.open(fileobj=out) as archive:
        keys = list(archive.getmembers()[0].pax_headers)
    assert keys == ["SCHILY.xattr.user.mine"]


@needs_root
@pytest.mark.parametrize("name", ["redirect", "metacopy"])
def test_an_overlay_directory_that_needs_the_lower_layers_is_refused(tmp_path: Path, name: str) -> None:
    upper = make(tmp_path / "upper", "moved/")
    (upper / "data").touch()
    os.truncate(upper / "data", 5)
    target = upper / ("moved" if name == "redirect" else "data")
    os.setxattr(target, f"trusted.overlay.{name}", b"/old")
    with pytest.raises(NotPlain):
        packed(upper)
    os.setxattr(target, "trusted.overlay.origin", bytes(29))  # now ext4 has its attributes in a block
    with pytest.raises(NotPlain):
        packed(upper)


def test_with_the_tree_below_only_what_differs_from_it_is_packed(tmp_path: Path) -> None:
    below = make(tmp_path / "below", "same", "d/same", "d/changed", "d/gone", "e/f")
    upper = make(tmp_path / "upper", "same", "d/same", "d/changed", "e/f", ".wh.never")
    make(upper, "d/.wh.gone", "d/.wh.never")
    (upper / "d/changed").write_text("other")
    still(below, upper)
    assert packed(upper, AUFS, below) == ["d", "d/changed", "d/.wh.gone"]


def test_an_opaque_directory_becomes_whiteouts_of_what_is_below_it(tmp_path: Path) -> None:
    below = make(tmp_path / "below", "d/a", "d/sub/b", "d/sub/c", "d/z")
    upper = make(tmp_path / "upper", "d/.wh..wh..opq", "d/a", "d/sub/c", "new/.wh..wh..opq", "new/f")
    still(below, upper)
    assert packed(upper, AUFS, below) == ["d", "d/sub", "d/sub/.wh.b", "d/.wh.z", "new", "new/f"]


def test_what_is_deleted_added_and_replaced_is_the_difference(tmp_path: Path) -> None:
    old = make(tmp_path / "old", "same", "gone/x", "file", "dir/x", "mode")
    new = make(tmp_path / "new", "same", "file/x", "dir", "mode", "added/x")
    (new / "mode").chmod(0o600)
    still(old, new)
    assert packed_difference(old, new) == ["added", "added/x", "dir", "file", "file/x", ".wh.gone", "mode"]


def test_a_directory_is_packed_if_something_in_it_differs_but_its_siblings_are_not(tmp_path: Path) -> None:
    old = make(tmp_path / "old", "a/b/c/f", "a/b/x/g", "h/i")
    new = make(tmp_path / "new", "a/b/c/f", "a/b/x/g", "h/i", "a/b/c/new")
    still(old, new)
    assert packed_difference(old, new) == ["a", "a/b", "a/b/c", "a/b/c/new"]


def test_changes_within_a_second_and_of_attributes_are_not_lost(tmp_path: Path) -> None:
    old, new = make(tmp_path / "old", "time", "xattr"), make(tmp_path / "new", "time", "xattr")
    os.utime(new / "time", ns=(5, 5))
    os.setxattr(new / "xattr", b"user.a", b"")
    still(old, new)
    assert packed_difference(old, new) == ["time", "xattr"]


def test_a_new_name_for_an_old_file_brings_the_old_name_along(tmp_path: Path) -> None:
    old, new = make(tmp_path / "old", "a/f", "z"), make(tmp_path / "new", "a/f", "z")
    os.link(new / "a/f", new / "b")
    still(old, new)
    assert packed_difference(old, new) == ["a", "a/f", "b=a/f"]


@needs_root
def test_linking_to_a_lower_file_is_the_same_layer_from_overlay_and_from_a_copy(tmp_path: Path) -> None:
    lower, copy = make(tmp_path / "lower", "a/f", "z"), make(tmp_path / "copy", "a/f", "z")
    still(lower, copy)
    for name in ("upper", "work", "merged"):
        (tmp_path / name).mkdir()
    options = f"lowerdir={lower},upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", tmp_path / "merged"], check=True)
    try:
        os.link(tmp_path / "merged/a/f", tmp_path / "merged/b")
    finally:
        subprocess.run(["umount", tmp_path / "merged"], check=True)
    os.link(copy / "a/f", copy / "b")
    assert packed(tmp_path / "upper", OVERLAY, lower) == packed_difference(lower, copy) == ["a", "a/f", "b=a/f"]


def test_the_first_name_in_order_holds_the_content_whatever_order_they_were_made_in(tmp_path: Path) -> None:
    tree = make(tmp_path / "t", "z")
    os.link(tree / "z", tree / "a.b")
    (tree / "a").mkdir()
    os.link(tree / "z", tree / "a/z")
    assert packed(tree) == ["a", "a/z", "a.b=a/z", "z=a/z"]


def test_sockets_are_left_out_and_hide_what_was_there(tmp_path: Path) -> None:
    old, new = make(tmp_path / "old", "f"), make(tmp_path / "new")
    with socket.socket(socket.AF_UNIX) as listener, opened(new) as fd:
        listener.bind(f"/proc/self/fd/{fd}/f")
        assert packed(new) == []
        assert packed_difference(old, new) == [".wh.f"]
        assert packed_difference(new, new) == [], "it deletes nothing that a layer has"


def test_a_sparse_file_is_packed_by_its_apparent_size(tmp_path: Path) -> None:
    tree = make(tmp_path / "t", "hole")
    os.truncate(tree / "hole", 3 << 20)
    out, index = io.BytesIO(), io.BytesIO()
    with opened(tree) as fd:
        found = pack_tree(fd, out, index=index)
    assert found.size == 3 << 20
    with LayerIndex.from_bytes(index.getvalue()) as contents:
        assert list(contents.sizes) == [3 << 20]
        assert contents.bytes_total == 3 << 20


@pytest.mark.parametrize("name", [".wh.x", ".wh..wh..opq", "d/.wh."])
def test_a_plain_tree_with_a_name_that_would_mean_a_deletion_is_refused(tmp_path: Path, name: str) -> None:
    tree = make(tmp_path / "t", name)
    with opened(tree) as fd, pytest.raises(Unpackable, match=r"\.wh\."):
        pack_tree(fd, io.BytesIO())


@needs_root
def test_a_plain_tree_with_a_device_that_would_mean_a_deletion_is_refused(tmp_path: Path) -> None:
    tree = make(tmp_path / "t")
    os.mknod(tree / "null", 0o020000, 0)
    with opened(tree) as fd, pytest.raises(Unpackable, match="null"):
        pack_tree(fd, io.BytesIO())


def test_a_tree_too_deep_for_a_layer_is_refused_not_overflowed(tmp_path: Path) -> None:
    tree = make(tmp_path / "t")
    with opened(tree) as fd:
        above = os.dup(fd)
        for _ in range(300):
            os.mkdir("d", dir_fd=above)
            below = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=above)
            os.close(above)
            above = below
        os.close(above)
        with pytest.raises(Unpackable, match="deep"):
            pack_tree(fd, io.BytesIO())


def test_a_prefix_an_owner_and_a_latest_time_are_put_on_every_entry(tmp_path: Path) -> None:
    tree = make(tmp_path / "t", "f")
    os.utime(tree / "f", ns=(5 * 10**18, 5 * 10**18))
    (tree / "old").mkdir()
    os.utime(tree / "old", ns=(10**18, 10**18))
    os.link(tree / "f", tree / "g")
    out = io.BytesIO()
    with opened(tree) as fd:
        pack_tree(fd, out, prefix=b"/opt/app/", owner=(5, 6), latest_ns=2 * 10**18)
    out.seek(0)
    with tarfile.open(fileobj=out) as archive:
        found = [(m.name, m.uid, m.gid, m.mtime, m.linkname) for m in archive]
    assert found == [
        ("opt/app/f", 5, 6, 2 * 10**9, ""),
        ("opt/app/g", 5, 6, 2 * 10**9, "opt/app/f"),
        ("opt/app/old", 5, 6, 10**9, ""),
    ]


def test_what_disappears_while_the_tree_is_walked_is_taken_as_not_there(tmp_path: Path) -> None:
    tree = make(tmp_path / "t", "b", "c/d", "e/f", "g")
    (tree / "a").write_bytes(bytes(3 << 20))
    (tree / "h").symlink_to("a")

    class Vandal(io.BytesIO):
        def write(self, data: object, /) -> int:
            if (tree / "b").exists():
                for path in ("b", "c/d", "e/f", "h"):
                    (tree / path).unlink()
                (tree / "e").rmdir()
                (tree / "e").touch()
            return super().write(data)  # type: ignore[arg-type]

    out = Vandal()
    with opened(tree) as fd:
        found = pack_tree(fd, out)
    assert names(out) == ["a", "c", "e", "g"]
    assert found.entries == 4


def test_what_is_packed_is_counted_as_docker_counts_a_layer(tmp_path: Path) -> None:
    tree = make(tmp_path / "t", "twelve-bytes", "d/")
    os.link(tree / "twelve-bytes", tree / "d/again")
    (tree / "link").symlink_to("twelve")
    out, index = io.BytesIO(), io.BytesIO()
    with opened(tree) as fd:
        found = pack(fd, OVERLAY, out, index=index)
    assert isinstance(found, Packed)
    assert (found.size, found.entries, found.tar_size) == (12 + 6, 4, len(out.getvalue()))
    with LayerIndex.from_bytes(index.getvalue()) as contents:
        assert [entry.path for entry in contents] == [b"d", b"d/again", b"link", b"twelve-bytes"]
