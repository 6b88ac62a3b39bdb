"""Random and mutated archives: only veneer's own errors come out, in finite time, and nothing leaves the root."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.layers import END, Done, Layer, Workshop, header, padded, pax
from veneer.changeset.entry import Entry, Kind
from veneer.changeset.index import LayerIndex
from veneer.changeset.limits import Limits
from veneer.changeset.unpack import unpack
from veneer.changeset.whiteout import WhiteoutStyle
from veneer.errors import VeneerError

LIMITS = Limits(size=8 << 20, holes=8 << 20, entries=2000)
STYLES = st.sampled_from([WhiteoutStyle.OVERLAY, WhiteoutStyle.AUFS, WhiteoutStyle.ERASE])


class Range:
    """One workshop for many archives, a fresh root for each."""

    def __init__(self, workshop: Workshop) -> None:
        self.workshop = workshop

    def shoot(self, data: bytes, style: WhiteoutStyle) -> None:
        root = self.workshop.root()
        if style is WhiteoutStyle.ERASE:
            (root / "a").mkdir()
            (root / "a/b").symlink_to(self.workshop.outside)
            (root / "b").symlink_to("..")
        fd = os.open(root, os.O_RDONLY)
        descriptors = len(os.listdir("/proc/self/fd"))
        index = io.BytesIO()
        try:
            unpack(io.BytesIO(data), fd, style, index=index, limits=LIMITS)
            with LayerIndex.from_bytes(index.getvalue()) as made:
                list(made)
        except VeneerError as error:
            assert str(error).startswith("layer: ")
        finally:
            assert len(os.listdir("/proc/self/fd")) <= descriptors  # less: earlier garbage went meanwhile
            os.close(fd)
            self.workshop.check()
            shutil.rmtree(root)


@pytest.fixture(scope="module")
def shooting() -> Iterator[Range]:
    with tempfile.TemporaryDirectory() as base:
        yield Range(Workshop(Path(base)))


NAMES = st.sampled_from(
    [b"a", b"b", b"a/b", b"a/b/c", b"b/a", b"./a", b"/a", b"a/", b".", b"./", b"..", b"../outside/secret", b"a/../b",
     b"", b".wh.a", b"a/.wh.b", b".wh..wh..opq", b"a/.wh..wh..opq", b"b/.wh..wh..opq", b".wh.", b".wh...",
     b".wh..wh.plnk/1.1", b".wh..wh.plnk", b".wh..wh.aufs", b"a/.wh.b/c", b"c" * 99, b"a//b"]
)  # fmt: skip
LINKS = st.one_of(NAMES, st.sampled_from([b"../outside", b"/", b"..", b"a/..", b"/proc/self/root", b"../../../../tmp"]))
KINDS = st.sampled_from(
    [b"0", b"0", b"1", b"1", b"2", b"2", b"5", b"5", b"6", b"3", b"\0", b"7", b"S", b"L", b"K", b"x", b"g", b"D"]
)
KEYS = st.sampled_from(
    [b"path", b"linkpath", b"size", b"uid", b"mtime", b"SCHILY.xattr.user.a", b"SCHILY.xattr.trusted.overlay.opaque",
     b"GNU.sparse.map", b"GNU.sparse.size", b"GNU.sparse.major", b"GNU.sparse.minor", b"GNU.sparse.realsize"]
)  # fmt: skip
VALUES = st.one_of(
    NAMES, st.sampled_from([b"0", b"1", b"512", b"0,0", b"0,1", b"-1", b"1.5", b"9" * 30]), st.binary(max_size=30)
)


@st.composite
def members(draw: st.DrawFn) -> bytes:
    """One member: well formed, but with anything for a name, a link, a type, a size."""
    content = draw(st.binary(max_size=600))
    kind = draw(KINDS)
    mode = draw(st.sampled_from([0o644, 0o4755, 0o000, 0o7777777]))
    uid = draw(st.sampled_from([0, 1000, -1, 1 << 40]))
    mtime = draw(st.sampled_from([0, 1, -1, 1 << 60]))
    device = draw(st.sampled_from([(0, 0), (1, 3)]))
    data = draw(st.sampled_from([b"", b"pax"]))
    if data:
        data = pax(draw(st.dictionaries(KEYS, VALUES, max_size=4)), draw(st.sampled_from([b"x", b"x", b"g"])))
    size = draw(st.sampled_from([len(content), len(content), len(content), 0, -1, 1 << 33]))
    block = header(draw(NAMES), kind, size, mode=mode, uid=uid, mtime=mtime, link=draw(LINKS), device=device)
    return data + block + (padded(content) if size == len(content) else b"")


@given(archive=st.lists(members(), max_size=12), style=STYLES, squeeze=st.booleans())
def test_any_sequence_of_odd_members(
    shooting: Range, archive: list[bytes], style: WhiteoutStyle, squeeze: bool
) -> None:
    data = b"".join(archive) + END
    shooting.shoot(gzip.compress(data, 1) if squeeze else data, style)


SEED = (
    Layer().dir(b"a", 0o1777).file(b"a/f", b"x" * 1500).symlink(b"a/s", b"../b").hardlink(b"h", b"a/f")
    .file(b".wh.gone")
    .pax({b"path": b"n" * 150, b"mtime": b"1.5", b"SCHILY.xattr.user.k": b"v\0"}).file(b"long", b"y" * 700)
    .pax({b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.realsize": b"900"})
    .raw(header(b"sp", b"0", 612) + padded(padded(b"1\n800\n100\n") + b"z" * 100)).tar()
)  # fmt: skip


@given(
    changes=st.lists(st.tuples(st.integers(0, len(SEED) - 1), st.integers(0, 255)), min_size=1, max_size=6),
    cut=st.integers(0, len(SEED)),
    style=STYLES,
    squeeze=st.booleans(),
)
def test_any_few_bytes_changed_and_the_end_cut_off(
    shooting: Range, changes: list[tuple[int, int]], cut: int, style: WhiteoutStyle, squeeze: bool
) -> None:
    data = bytearray(gzip.compress(SEED, 1, mtime=0) if squeeze else SEED)
    for at, value in changes:
        data[at % len(data)] = value
    shooting.shoot(bytes(data[: cut or None]), style)


@given(
    changes=st.lists(st.tuples(st.integers(0, 511), st.integers(0, 255)), max_size=4),
    block=st.integers(0, 15),
    style=STYLES,
)
def test_any_header_changed_with_its_checksum_made_right(
    shooting: Range, changes: list[tuple[int, int]], block: int, style: WhiteoutStyle
) -> None:
    data = bytearray(SEED)
    start = 512 * (block % (len(data) // 512))
    for at, value in changes:
        data[start + at] = value
    one = data[start : start + 512]
    one[148:156] = b" " * 8
    data[start + 148 : start + 156] = b"%06o\0 " % sum(one)
    shooting.shoot(bytes(data), style)


@given(data=st.binary(max_size=3000), style=STYLES)
def test_any_bytes_at_all(shooting: Range, data: bytes, style: WhiteoutStyle) -> None:
    shooting.shoot(data, style)
    for magic in (b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"BZh9", b"\xfd7zXZ\0"):
        shooting.shoot(magic + data, style)


PATHS = st.sampled_from([b"a", b"b", b"a/b", b"a/c", b"a/b/c", b"d/e"])
STEPS = st.one_of(
    st.tuples(st.just("file"), PATHS, st.binary(max_size=20)),
    st.tuples(st.just("dir"), PATHS, st.just(b"")),
    st.tuples(st.just("symlink"), PATHS, st.sampled_from([b"b", b"a/b", b"/d", b"..", b"nowhere"])),
    st.tuples(st.just("hardlink"), PATHS, PATHS),
    st.tuples(st.just("whiteout"), PATHS, st.just(b"")),
    st.tuples(st.just("opaque"), PATHS, st.just(b"")),
)


def composed(steps: list[tuple[str, bytes, bytes]]) -> bytes:
    layer = Layer()
    for verb, path, value in steps:
        parent, slash, name = path.rpartition(b"/")
        if verb == "whiteout":
            layer.file(parent + slash + b".wh." + name)
        elif verb == "opaque":
            layer.file(path + b"/.wh..wh..opq")
        elif verb == "dir":
            layer.dir(path)
        elif verb == "file":
            layer.file(path, value)
        elif verb == "symlink":
            layer.symlink(path, value)
        else:
            layer.hardlink(path, value)
    return layer.tar()


@given(steps=st.lists(STEPS, max_size=14))
def test_the_index_says_what_is_on_the_disk_whatever_the_style(
    shooting: Range, steps: list[tuple[str, bytes, bytes]]
) -> None:
    data = composed(steps)
    results: dict[WhiteoutStyle, list[Entry] | None] = {}
    for style in (WhiteoutStyle.OVERLAY, WhiteoutStyle.AUFS, WhiteoutStyle.ERASE):
        root = shooting.workshop.root()
        try:
            done = shooting.workshop.unpack(data, style, root=root)
        except VeneerError as error:
            assert "hard link" in str(error)
            results[style] = None
        else:
            waiting = {path for path, _ in done.unpacked.lower_links}
            results[style] = list(done.index)
            if style is WhiteoutStyle.OVERLAY:
                agrees_with_disk(done, waiting)
        finally:
            shutil.rmtree(root)
    assert results[WhiteoutStyle.OVERLAY] == results[WhiteoutStyle.AUFS]
    if results[WhiteoutStyle.ERASE] is not None:  # it has no layer below to look for a link's target in
        assert results[WhiteoutStyle.ERASE] == results[WhiteoutStyle.OVERLAY]


def agrees_with_disk(done: Done, waiting: set[bytes]) -> None:
    on_disk = {os.fsencode(name) for name in done.names()}
    assert on_disk == {entry.path for entry in done.index if entry.path} - waiting
    for entry in done.index:
        path = os.fsdecode(entry.path)
        if entry.path in waiting:
            continue
        status = (done.root / path).lstat()
        if entry.kind is Kind.DIRECTORY:
            assert stat.S_ISDIR(status.st_mode)
            assert done.is_opaque(path) == entry.opaque
            if entry.path:
                assert status.st_mtime_ns == entry.mtime_ns
        elif entry.kind is Kind.WHITEOUT:
            assert done.is_whiteout(path)
        elif entry.kind is Kind.SYMLINK:
            assert os.fsencode(os.readlink(done.root / path)) == entry.link
        elif entry.kind is Kind.REGULAR:
            assert entry.digest == hashlib.sha256((done.root / path).read_bytes()).digest()
