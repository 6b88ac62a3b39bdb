"""The layer index: what was added comes back, sorted, and damage is noticed."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pytest

from veneer.changeset.entry import Entry, Kind
from veneer.changeset.index import IndexBuilder, IndexCorrupt, LayerIndex, Unindexable

DIGEST = bytes(range(32))


def add(builder: IndexBuilder, entry: Entry) -> None:
    builder.add(
        entry.path, entry.kind, entry.mode, entry.uid, entry.gid, entry.size, entry.mtime_ns, entry.link, entry.digest,
        entry.device[0] << 32 | entry.device[1], entry.xattrs, entry.opaque, entry.implied,
    )  # fmt: skip


def index_of(*entries: Entry) -> LayerIndex:
    return LayerIndex.from_bytes(written(*entries))


def written(*entries: Entry) -> bytes:
    builder = IndexBuilder()
    for entry in entries:
        add(builder, entry)
    out = io.BytesIO()
    builder.write(out)
    return out.getvalue()


def directory(path: bytes, **more: object) -> Entry:
    return Entry(path, Kind.DIRECTORY, 0o755, **more)  # type: ignore[arg-type]


def regular(path: bytes, size: int = 3) -> Entry:
    return Entry(path, Kind.REGULAR, 0o644, size=size, mtime_ns=1, digest=DIGEST)


EVERYTHING = (
    Entry(b"", Kind.DIRECTORY, 0o755, 7, 8, mtime_ns=-5),
    directory(b"a"),
    Entry(b"a/b", Kind.REGULAR, 0o6755, 4294967295, 4000000000, 1 << 40, 10**18 + 7, digest=DIGEST),
    directory(b"a/c", opaque=True),
    Entry(b"a/c/gone", Kind.WHITEOUT),
    directory(b"a/c/implied", implied=True),
    Entry(b"a/c/implied/fifo", Kind.FIFO, 0o600),
    Entry(b"a/c/\xff\xfe", Kind.SYMLINK, 0o777, link=b"../\xffx"),
    Entry(b"a-b", Kind.HARDLINK, link=b"a/b"),
    Entry(b"a.b", Kind.CHARACTER, 0o666, device=(1, 3)),
    Entry(b"disk", Kind.BLOCK, 0o660, device=(259, 1048575)),
    Entry(b"x", Kind.REGULAR, size=0, digest=DIGEST, xattrs=((b"user.a", b"\0\xff"), (b"user.b", b""))),
)


def test_entries_come_back_equal_and_sorted_by_path_components_whatever_order_they_were_added_in() -> None:
    for seed in range(20):
        shuffled = list(EVERYTHING)
        random.Random(seed).shuffle(shuffled)
        with index_of(*shuffled) as index:
            assert tuple(index) == EVERYTHING
            assert [index.entry(number) for number in range(len(index))] == list(EVERYTHING)
            assert [index.path(number) for number in range(len(index))] == list(index.paths())
            index.verify()


def test_the_same_entries_make_the_same_bytes_in_any_order() -> None:
    assert written(*EVERYTHING) == written(*reversed(EVERYTHING))


def test_totals_are_in_the_header() -> None:
    with index_of(*EVERYTHING) as index:
        assert len(index) == 12
        assert index.bytes_total == 1 << 40
        assert [index.count(kind) for kind in Kind] == [2, 4, 1, 1, 1, 1, 1, 1]


def test_find_knows_every_path_and_no_other() -> None:
    with index_of(*EVERYTHING) as index:
        assert [index.find(entry.path) for entry in EVERYTHING] == list(range(12))
        for absent in (b"a/b/c", b"a/", b"/a", b"A", b"a/c/impli", b"zz", b"a//b", b"a/c/implied/fifo/"):
            assert index.find(absent) is None


def test_children_are_the_direct_ones_by_name_and_a_subtree_is_one_range() -> None:
    with index_of(*EVERYTHING) as index:
        assert [index.name(n) for n in index.children()] == [b"a", b"a-b", b"a.b", b"disk", b"x"]
        assert list(index.children(0)) == list(index.children())
        assert [index.name(n) for n in index.children(1)] == [b"b", b"c"]
        assert list(index.children(2)) == []
        assert index.end(0) == 12
        assert index.end(1) == 8
        assert index.end(2) == 3


def test_a_layer_without_an_entry_for_its_root_has_none() -> None:
    with index_of(regular(b"f")) as index:
        assert index.find(b"") is None
        assert [entry.path for entry in index] == [b"f"]


def test_an_index_of_nothing_is_an_index() -> None:
    with index_of() as index:
        assert list(index) == []
        assert list(index.children()) == []
        assert index.find(b"a") is None


def test_directories_nobody_added_are_implied() -> None:
    with index_of(regular(b"a/b/c")) as index:
        assert [(entry.path, entry.implied) for entry in index] == [(b"a", True), (b"a/b", True), (b"a/b/c", False)]


def test_the_last_entry_for_a_path_wins() -> None:
    with index_of(regular(b"f", 1), directory(b"d"), regular(b"f", 2), directory(b"d", opaque=True)) as index:
        assert [(entry.path, entry.size, entry.opaque) for entry in index] == [(b"d", 0, True), (b"f", 2, False)]


def test_a_file_that_takes_a_directorys_place_takes_its_subtree_too() -> None:
    with index_of(directory(b"d"), regular(b"d/e/f"), regular(b"d")) as index:
        assert [entry.path for entry in index] == [b"d"]


def test_a_directory_that_was_a_file_in_between_keeps_only_what_came_after() -> None:
    old = [directory(b"d"), regular(b"d/old"), regular(b"d/e/old")]
    with index_of(*old, regular(b"d"), directory(b"d"), regular(b"d/new"), directory(b"d")) as index:
        assert [entry.path for entry in index if entry.kind is Kind.REGULAR] == [b"d/new"]


def test_an_id_beyond_32_bits_is_refused_by_name() -> None:
    with pytest.raises(Unindexable, match="etc/x: owner 4294967296:0"):
        IndexBuilder().add(b"etc/x", 0, 0, 1 << 32)


def test_a_time_beyond_64_bits_of_nanoseconds_becomes_the_nearest_that_fits() -> None:
    with index_of(Entry(b"f", Kind.FIFO, mtime_ns=1 << 70), Entry(b"p", Kind.FIFO, mtime_ns=-(1 << 70))) as index:
        assert list(index.mtimes_ns) == [(1 << 63) - 1, -(1 << 63)]


def test_an_index_file_is_mapped_and_can_outlive_views_of_it(tmp_path: Path) -> None:
    (tmp_path / "index").write_bytes(written(*EVERYTHING))
    index = LayerIndex.open(tmp_path / "index")
    sizes = index.sizes[1:4]
    index.close()
    assert len(sizes) == 3
    del sizes


def test_an_empty_or_cut_off_or_lengthened_file_is_corrupt(tmp_path: Path) -> None:
    data = written(*EVERYTHING)
    path = tmp_path / "index"
    for length in [*range(0, len(data), 7), len(data) - 1]:
        path.write_bytes(data[:length])
        with pytest.raises(IndexCorrupt):
            LayerIndex.open(path)
    path.write_bytes(data + b"\0" * 8)
    with pytest.raises(IndexCorrupt):
        LayerIndex.open(path)


def test_a_changed_byte_is_noticed_by_verify_or_before() -> None:
    data = written(*EVERYTHING)
    for position in range(len(data)):
        garbled = bytearray(data)
        garbled[position] ^= 0x41
        with pytest.raises(IndexCorrupt):
            LayerIndex.from_bytes(bytes(garbled)).verify()


def use_everything(data: bytes) -> None:
    with LayerIndex.from_bytes(data) as index:
        for number in range(len(index)):
            index.entry(number)
            index.end(number)
            for child in index.children(number):
                index.name(child)
        for _ in index:
            pass
        for entry in EVERYTHING:
            index.find(entry.path)


def test_reading_a_garbled_index_without_verifying_ends_and_raises_nothing_but_corrupt() -> None:
    data = written(*EVERYTHING)
    chance = random.Random(1)
    refused = 0
    for _ in range(1500):
        garbled = bytearray(data)
        for _ in range(chance.randrange(1, 6)):
            position = chance.randrange(616, len(data) - 8)
            garbled[position] = chance.choice((0, 1, 0x7F, 0xFF, chance.randrange(256)))
        try:
            use_everything(bytes(garbled))
        except IndexCorrupt:
            refused += 1
    assert refused > 100
