"""Completing a layer from those below it, checked against a real overlay mount where there is one."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support.layers import FIFO, Done, Layer, Workshop, snapshot
from veneer.changeset.settle import MissingTarget, settle
from veneer.changeset.whiteout import WhiteoutStyle

OVERLAY, AUFS = WhiteoutStyle.OVERLAY, WhiteoutStyle.AUFS
both = pytest.mark.parametrize("style", [OVERLAY, AUFS], ids=lambda style: style.name)


@contextmanager
def descriptors(paths: Sequence[Path]) -> Iterator[list[int]]:
    with ExitStack() as stack:
        fds = []
        for path in paths:
            fds.append(os.open(path, os.O_RDONLY))
            stack.callback(os.close, fds[-1])
        yield fds


def stacked(workshop: Workshop, style: WhiteoutStyle, *layers: Layer) -> list[Done]:
    """The layers, base first, unpacked and settled on each other; nearest first in the result."""
    done: list[Done] = []
    for layer in layers:
        done.insert(0, workshop.unpack(layer, style))
        below = {lower.root: snapshot(lower.root) for lower in done[1:]}
        with descriptors([each.root for each in done]) as (own, *lowers):
            before = os.listdir("/proc/self/fd")
            settle(own, done[0].unpacked, lowers, style)
            assert len(os.listdir("/proc/self/fd")) <= len(before)
        assert all(snapshot(root) == found for root, found in below.items()), "a lower layer was changed"
    return done


def attributes(path: Path) -> tuple[int, int, int, int]:
    status = path.lstat()
    return stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns


@both
def test_implied_directories_look_like_those_below(workshop: Workshop, style: WhiteoutStyle) -> None:
    base = (
        Layer()
        .pax({b"SCHILY.xattr.user.k": b"v"})
        .dir(b"tmp", 0o1777, uid=3, gid=4, mtime=99)
        .dir(b"tmp/in", 0o700, mtime=5)
    )
    top, *_ = stacked(workshop, style, base, Layer().file(b"unrelated"), Layer().file(b"tmp/in/f").file(b"new/f"))
    assert attributes(top.root / "tmp") == (0o1777, 3, 4, 99 * 10**9)
    assert attributes(top.root / "tmp/in") == (0o700, 0, 0, 5 * 10**9)
    assert attributes(top.root / "new") == (0o755, 0, 0, 0)
    assert top.xattrs("tmp")["user.k"] == b"v"


@both
def test_the_nearest_layer_that_has_the_directory_counts(workshop: Workshop, style: WhiteoutStyle) -> None:
    layers = [Layer().dir(b"d", 0o700), Layer().dir(b"d", 0o711), Layer().file(b"other"), Layer().file(b"d/f")]
    assert attributes(stacked(workshop, style, *layers)[0].root / "d")[0] == 0o711


@both
@pytest.mark.parametrize(
    "between",
    [
        Layer().file(b".wh.a"), Layer().file(b"a", b"a file"), Layer().symlink(b"a", b"b"),
        Layer().dir(b"a").file(b"a/.wh..wh..opq"), Layer().dir(b"a").file(b"a/.wh.d"), Layer().file(b".wh..wh..opq"),
    ],
    ids=["whiteout", "file", "symlink", "opaque", "whiteout of the child", "opaque root"],
)  # fmt: skip
def test_what_is_hidden_below_gives_nothing(workshop: Workshop, style: WhiteoutStyle, between: Layer) -> None:
    base = Layer().dir(b"a", 0o711, uid=8).dir(b"a/d", 0o1777, uid=9)
    top = stacked(workshop, style, base, between, Layer().file(b"a/d/f"))[0]
    assert attributes(top.root / "a/d") == (0o755, 0, 0, 0)


@both
def test_what_the_layer_itself_hides_gives_nothing(workshop: Workshop, style: WhiteoutStyle) -> None:
    base = Layer().dir(b"a", 0o711, uid=8).dir(b"a/d", 0o1777, uid=9)
    for own in (Layer().file(b".wh.a").file(b"a/d/f"), Layer().file(b"a/d/f").file(b"a/.wh..wh..opq")):
        assert attributes(stacked(workshop, style, base, own)[0].root / "a/d") == (0o755, 0, 0, 0)


@both
def test_links_into_lower_layers_become_linked_copies(workshop: Workshop, style: WhiteoutStyle) -> None:
    content = os.urandom(3_000_000)
    base = Layer().pax({b"SCHILY.xattr.user.k": b"v"}).file(b"bin/tool", content, mode=0o4755, uid=5, mtime=7)
    top, *_ = stacked(
        workshop, style, base, Layer().dir(b"d", mtime=3).hardlink(b"d/one", b"bin/tool").hardlink(b"two", b"/bin/tool")
    )
    assert (top.root / "d/one").read_bytes() == content
    assert attributes(top.root / "d/one") == (0o4755, 5, 0, 7 * 10**9)
    assert top.xattrs("d/one")["user.k"] == b"v"
    assert (top.root / "d/one").lstat().st_ino == (top.root / "two").lstat().st_ino
    assert attributes(top.root / "d")[3] == 3 * 10**9
    with descriptors([top.root, *(done.root for done in _)]) as (own, *lowers):
        settle(own, top.unpacked, lowers, style)  # again, as after a crash
    assert (top.root / "two").read_bytes() == content


@both
def test_a_link_to_a_lower_symlink_or_fifo_is_one_itself(workshop: Workshop, style: WhiteoutStyle) -> None:
    base = Layer().symlink(b"s", b"/outside", uid=4).node(b"p", FIFO, mode=0o600)
    top = stacked(workshop, style, base, Layer().hardlink(b"s2", b"s").hardlink(b"p2", b"p"))[0]
    assert os.readlink(top.root / "s2") == "/outside"
    assert (top.root / "s2").lstat().st_uid == 4
    assert stat.S_ISFIFO((top.root / "p2").lstat().st_mode)


@both
@pytest.mark.parametrize("target", [b"none", b"gone", b"dir", b"dir/none", b"sym/f"])
def test_a_link_to_what_no_layer_shows_is_an_error(workshop: Workshop, style: WhiteoutStyle, target: bytes) -> None:
    base = Layer().file(b"gone").dir(b"dir").file(b"dir/f").symlink(b"sym", b"dir")
    with pytest.raises(MissingTarget, match="hard link to"):
        stacked(workshop, style, base, Layer().file(b".wh.gone"), Layer().hardlink(b"l", target))


def test_nothing_is_done_where_deletions_are_immediate(workshop: Workshop) -> None:
    done = workshop.unpack(Layer().file(b"a/f"), WhiteoutStyle.ERASE)
    before = snapshot(done.root)
    with descriptors([done.root]) as (own,):
        settle(own, done.unpacked, [], WhiteoutStyle.ERASE)
    assert snapshot(done.root) == before


def test_the_kernels_view_agrees_opaque_root_and_all(workshop: Workshop, tmp_path: Path) -> None:
    base = Layer().file(b"a/old").file(b"b", b"b").dir(b"c", 0o711).file(b"keep/x", b"x")
    middle = Layer().file(b".wh..wh..opq").file(b"a/new").file(b"c/y")
    top = Layer().hardlink(b"c/link", b"a/new").file(b"a/.wh.new")
    layers = stacked(workshop, OVERLAY, base, middle, top)
    merged = tmp_path / "merged"
    merged.mkdir()
    options = "lowerdir=" + ":".join(str(done.root) for done in layers)
    if os.system(f"mount -t overlay overlay -o {options} {merged}") != 0:
        pytest.skip("this machine does not let the tests mount overlays")
    try:
        names = sorted(str(path.relative_to(merged)) for path in merged.rglob("*"))
    finally:
        assert os.system(f"umount {merged}") == 0
    assert names == ["a", "c", "c/link", "c/y"]
