"""Reading tar: every spelling of a header, and every header that must be refused."""

from __future__ import annotations

import io
import os
import struct
from typing import TYPE_CHECKING

import pytest

from tests.support.layers import DIRECTORY, END, REGULAR, Layer, header, octal, padded, pax, record
from veneer.changeset import pax as pax_module
from veneer.changeset.entry import Kind
from veneer.changeset.header import number
from veneer.changeset.limits import Limits
from veneer.changeset.tar import BadArchive, TarReader, shown

if TYPE_CHECKING:
    from typing_extensions import Buffer


def reader(data: bytes, limits: Limits | None = None) -> TarReader:
    return TarReader(io.BytesIO(data), limits=limits, what="t")


def first(data: bytes, limits: Limits | None = None) -> TarReader:
    one = reader(data, limits)
    assert one.next()
    return one


class Dripping:
    """A source that gives one odd-sized piece at a time."""

    def __init__(self, data: bytes, piece: int) -> None:
        self.data = io.BytesIO(data)
        self.piece = piece

    def readinto(self, buffer: memoryview | bytearray, /) -> int:
        return self.data.readinto(memoryview(buffer)[: self.piece])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (b"0000644\0", 0o644), (b"  644 \0\0", 0o644), (b"644    \0", 0o644), (bytes(8), 0), (b"        ", 0),
        (b"00000644", 0o644), (b"7777777\0", 0o7777777), (b"\x80\0\0\0\0\0\x01\0", 256), (b"\xff" * 8, -1),
        (b"\xff\xff\xff\xff\xff\xff\xff\xfe", -2), (b"644\0junk", 0o644),
    ],
)  # fmt: skip
def test_numbers_are_octal_among_spaces_and_nuls_or_base_256(field: bytes, value: int) -> None:
    assert number(field) == value


@pytest.mark.parametrize("field", [b"0x10000\0", b"8888888\0", b"-000644\0", b"+000644\0", b"1_000_0\0", b"12 34  \0"])
def test_anything_else_is_no_number(field: bytes) -> None:
    with pytest.raises(ValueError, match="not octal"):
        number(field)


def test_a_ustar_prefix_is_put_before_the_name_and_gnus_is_not() -> None:
    assert first(header(b"name", prefix=b"a/b")).path == b"a/b/name"
    assert first(header(b"name", magic=b"ustar  \0", prefix=b"14000000000")).path == b"name"


def test_a_name_may_fill_its_field_and_ends_at_a_nul() -> None:
    assert first(header(b"n" * 100)).path == b"n" * 100
    assert first(header(b"name\0rubbish")).path == b"name"


def test_gnu_long_names_and_links() -> None:
    long, target = b"d/" + b"n" * 200, b"t" * 300
    data = header(b"././@LongLink", b"L", len(long) + 1) + padded(long + b"\0")
    data += header(b"././@LongLink", b"K", len(target) + 1) + padded(target + b"\0")
    member = first(data + header(long[:100], b"2", link=target[:100]))
    assert (member.path, member.link, member.kind) == (long, target, Kind.SYMLINK)


def test_pax_records_override_the_header_for_one_member_and_globals_for_all() -> None:
    data = (
        pax({b"mtime": b"7.5", b"uid": b"9"}, b"g")
        + pax({b"path": b"long", b"uid": b"3"})
        + header(b"short")
        + header(b"next")
    )
    members = reader(data)
    assert members.next()
    assert (members.path, members.uid, members.mtime_ns) == (b"long", 3, 7_500_000_000)
    assert members.next()
    assert (members.path, members.uid, members.mtime_ns) == (b"next", 9, 7_500_000_000)


def test_pax_size_decides_where_the_next_member_is() -> None:
    data = pax({b"size": b"600"}) + header(b"big", REGULAR, 0) + padded(b"x" * 600) + header(b"next")
    members = reader(data)
    assert members.next()
    assert (members.size, members.read(1000)) == (600, b"x" * 600)
    assert members.next()
    assert members.path == b"next"


def test_pax_values_are_raw_bytes() -> None:
    value = bytes(range(256))
    member = first(
        pax({b"hdrcharset": b"BINARY", b"path": b"\xff\xfe", b"SCHILY.xattr.user.a=b"[:18]: value}) + header(b"x")
    )
    assert member.path == b"\xff\xfe"
    assert member.xattrs == ((b"user.", value),)


@pytest.mark.parametrize(
    "data",
    [b"abc", b"5 a=b", b"99 a=b\n", b"6 ab\n\n", b"0 a=b\n", b"-6 a=b\n", b"6 a=bX",
     b" 6 a=b\n", b"00000000000006 a=b\n", b"4 =\n\n"],
)  # fmt: skip
def test_malformed_pax_records_are_refused(data: bytes) -> None:
    with pytest.raises(BadArchive, match="PAX record"):
        first(header(b"p", b"x", len(data)) + padded(data) + header(b"f"))


def test_repeated_pax_keys_and_nul_padding() -> None:
    data = record(b"a", b"1") + record(b"a", b"2") + b"\0\0"
    assert pax_module.records(data) == [(b"a", b"1"), (b"a", b"2")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [(b"0", 0), (b"1.", 10**9), (b".5", 5 * 10**8), (b"1.9999999999", 1999999999),
     (b"-1.0000000001", -1000000001), (b"-0.5", -5 * 10**8)],
)  # fmt: skip
def test_pax_times_are_exact(text: bytes, expected: int) -> None:
    assert pax_module.nanoseconds(text) == expected


@pytest.mark.parametrize("text", [b"", b"-", b".", b"1e9", b"nan", b"1_0", b" 1", b"--1", b"1.-5", b"9" * 100])
def test_what_is_no_time_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="not a time"):
        pax_module.nanoseconds(text)


@pytest.mark.parametrize("key", [b"uid", b"gid", b"size"])
@pytest.mark.parametrize("value", [b"-1", b"1.5", b"x", b"9" * 30])
def test_pax_numbers_must_be_whole(key: bytes, value: bytes) -> None:
    with pytest.raises(BadArchive, match="is not a number"):
        first(pax({key: value}) + header(b"f"))


@pytest.mark.parametrize("flag", [b"0", b"\0", b"7"])
def test_regular_files_in_all_their_types(flag: bytes) -> None:
    assert first(header(b"f", flag, 3) + padded(b"abc")).kind is Kind.REGULAR


def test_an_old_tars_directory_is_a_file_whose_name_ends_in_a_slash() -> None:
    assert first(header(b"d/", b"\0")).kind is Kind.DIRECTORY


def test_volume_labels_are_skipped_and_unknown_types_refused() -> None:
    assert first(header(b"label", b"V") + header(b"f")).path == b"f"
    for flag in (b"M", b"N", b"A", b"?", b"Z"):
        with pytest.raises(BadArchive, match="'f': members of type"):
            first(header(b"f", flag))


def test_links_and_directories_have_no_content_whatever_their_size_says() -> None:
    members = reader(header(b"l", b"1", 5000, link=b"f") + header(b"d", DIRECTORY, 7) + header(b"f"))
    assert [(member.path, member.size) for member in members] == [(b"l", 0), (b"d", 0), (b"f", 0)]


def test_a_checksum_may_be_signed() -> None:
    block = bytearray(header(b"\xe4\xf6\xfc"))
    signed = sum(struct.unpack("512b", bytes(block[:148]) + b" " * 8 + bytes(block[156:])))
    block[148:156] = b"%06o\0 " % signed
    assert first(bytes(block)).path == b"\xe4\xf6\xfc"


@pytest.mark.parametrize("data", [b"\x89PNG" + bytes(2000), b"#!/bin/sh\n" * 100, b"x"])
def test_what_is_not_a_tar_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(BadArchive, match="t: this is not a tar archive"):
        reader(data).next()


def test_an_archive_may_lack_its_end_and_be_empty() -> None:
    for data in (b"", bytes(512), END, header(b"f")):
        assert [member.path for member in reader(data)] in ([], [b"f"])


def test_only_the_last_members_padding_may_be_missing() -> None:
    data = header(b"f", REGULAR, 5) + b"12345"
    assert [member.read(10) for member in reader(data)] == [b"12345"]
    skipping = reader(data)
    assert skipping.next()
    assert not skipping.next()


@pytest.mark.parametrize("cut", [100, 512 + 100, 1024 + 600, 2048 + 300])
def test_an_archive_cut_off_is_refused(cut: int) -> None:
    data = pax({b"path": b"longer"}) + header(b"f", REGULAR, 1000) + padded(b"x" * 1000)
    with pytest.raises(BadArchive, match=r"cut off|not a tar|extended header"):
        for member in reader(data[:cut]):
            member.read(2000)


def test_a_lone_zero_block_is_refused_since_readers_disagree_on_what_follows() -> None:
    members = reader(header(b"f") + bytes(512) + header(b"hidden") + END)
    assert members.next()
    with pytest.raises(BadArchive, match="lone zero block"):
        members.next()


@pytest.mark.parametrize("size", [-1, -512, 1 << 62, (1 << 88) - 1])
def test_negative_and_absurd_sizes_are_refused(size: int) -> None:
    for flag in (REGULAR, b"x", b"L", b"g", b"S"):
        with pytest.raises(BadArchive, match=r"size|extended header of|sparse"):
            first(header(b"f", flag, size))


def test_a_skip_never_goes_back() -> None:
    with pytest.raises(BadArchive):
        first(header(b"label", b"V", -512) + header(b"f"))


def test_an_endless_extended_header_is_refused_by_its_size_alone() -> None:
    with pytest.raises(BadArchive, match="extended header of 1073741824 bytes"):
        first(header(b"p", b"x", 1 << 30))
    with pytest.raises(BadArchive, match="extended header of"):
        first(header(b"p", b"L", 100_000) + padded(b"n" * 100_000) + header(b"f"))


def test_attributes_beyond_the_limit_are_refused() -> None:
    with pytest.raises(BadArchive, match="extended attributes of"):
        first(pax({b"SCHILY.xattr.user.a": bytes(40_000), b"SCHILY.xattr.user.b": bytes(40_000)}) + header(b"f"))
    with pytest.raises(BadArchive, match="one too many"):
        first(pax({b"SCHILY.xattr.": b"x"}) + header(b"f"))


def test_too_many_members_are_refused() -> None:
    with pytest.raises(BadArchive, match="more than 3 members"):
        list(reader(header(b"f") * 4, Limits(entries=3)))


@pytest.mark.parametrize("piece", [1, 7, 511, 513, 4096])
def test_content_arrives_whole_however_the_source_drips(piece: int) -> None:
    layer = Layer().file(b"a", b"1" * 700).dir(b"d").file(b"b", b"2" * 3000)
    members = TarReader(Dripping(layer.tar(), piece))
    assert [(member.path, member.read(5000)) for member in members] == [
        (b"a", b"1" * 700),
        (b"d", b""),
        (b"b", b"2" * 3000),
    ]


class Skipping(io.BytesIO):
    """A source that can pass bytes over; counts those that were read."""

    seen = 0

    def readinto(self, buffer: Buffer, /) -> int:
        count = super().readinto(buffer)
        self.seen += count
        return count

    def skip(self, count: int, /) -> int:
        before = self.tell()
        return min(self.seek(count, os.SEEK_CUR), len(self.getvalue())) - before


def test_content_nobody_asks_for_is_passed_over_where_the_source_can() -> None:
    data = Layer().file(b"a", bytes(5 << 20)).file(b"b", b"2" * 700).file(b"c", bytes((5 << 20) + 1)).tar()
    source = Skipping(data)
    assert [(member.path, member.offset) for member in TarReader(source, hashed=False)] == [
        (member.path, member.offset) for member in reader(data)
    ]
    assert source.seen < 4 << 20
    hashed = Skipping(data)
    list(TarReader(hashed))
    assert hashed.seen > 10 << 20  # a digest is that of all bytes


def test_content_taken_in_part_is_passed_over_from_there() -> None:
    members = TarReader(Skipping(Layer().file(b"a", b"1" * (5 << 20)).file(b"b", b"2").tar()), hashed=False)
    assert members.next()
    assert bytes(members.take_at_most(3)) == b"111"
    assert members.next()
    assert (members.path, members.read(9)) == (b"b", b"2")


def test_an_archive_cut_off_in_what_is_passed_over_is_told() -> None:
    data = Layer().file(b"a", bytes(5 << 20)).tar()
    with pytest.raises(BadArchive, match=r"cut off, 1049088 bytes are missing"):
        list(TarReader(Skipping(data[: 4 << 20]), hashed=False))


def test_a_member_is_a_source_for_archives_within_archives() -> None:
    inner = Layer().file(b"deep", b"down" * 1000).tar()
    outer = reader(Layer().file(b"layer.tar", inner).file(b"next").tar())
    assert outer.next()
    assert [(member.path, member.read(9000)) for member in TarReader(outer)] == [(b"deep", b"down" * 1000)]
    assert outer.next()
    assert outer.path == b"next"


def test_reading_a_member_is_bounded() -> None:
    with pytest.raises(BadArchive, match="are more than the 10"):
        first(header(b"f", REGULAR, 11) + padded(b"x" * 11)).read(10)


# Sparse files.


def old_sparse(pieces: list[tuple[int, int]], real: int, stored: int, extra: bytes = b"") -> bytes:
    block = bytearray(header(b"s", b"S", stored, magic=b"ustar  \0"))
    for index, (offset, length) in enumerate(pieces[:4]):
        block[386 + 24 * index : 410 + 24 * index] = octal(offset, 12) + octal(length, 12)
    block[482] = 1 if extra else 0
    block[483:495] = octal(real, 12)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + extra


@pytest.mark.parametrize(
    ("data", "fact"),
    [
        (old_sparse([(0, 512), (100, 512)], 4096, 1024), "overlaps"),
        (old_sparse([(0, 512)], 100, 512), "overlaps or exceeds"),
        (old_sparse([(0, 512)], 4096, 1024), "pieces of 512 bytes for 1024 stored"),
        (old_sparse([(-512, 512)], 4096, 512), "overlaps"),
        (old_sparse([(0, -5)], 4096, 0), "overlaps"),
        (old_sparse([(0, 0)], 1 << 62, 0), "holes of a layer"),
        (old_sparse([(0, 0)], -4096, 0), r"sparse (file|map)"),
        (old_sparse([], 10, 0, (bytes(504) + b"\1" + bytes(7)) * 2), "cut off"),
        (pax({b"GNU.sparse.map": b"0,1,2"}) + header(b"s"), "no length"),
        (pax({b"GNU.sparse.map": b"0,x"}) + header(b"s"), "not a number"),
        (pax({b"GNU.sparse.map": b"0,1" + b",0,0" * 9}) + header(b"s"), "more than 5 pieces"),
        (pax({b"GNU.sparse.major": b"2", b"GNU.sparse.minor": b"0"}) + header(b"s"), "format is not one of"),
        (pax({b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.realsize": b"9"})
         + header(b"s", REGULAR, 512) + b"1\n0\n\n".ljust(512, b"1"), "not a number"),
        (pax({b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.realsize": b"9"})
         + header(b"s", REGULAR, 512) + padded(b"999999999\n0\n"), "more than 5 pieces"),
        (pax({b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.realsize": b"9"})
         + header(b"s", REGULAR, 1024) + b"1" * 1024, "without an end"),
        (pax({b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0"})
         + header(b"s", REGULAR, 512) + padded(b"0\n"), "realsize"),
    ],
)  # fmt: skip
def test_evil_sparse_maps_are_refused(data: bytes, fact: str) -> None:
    with pytest.raises(BadArchive, match=fact):
        first(data, Limits(segments=5))


def test_names_are_shown_printable_and_short() -> None:
    assert shown(b"a\x1b[31m\n\xff") == "a\\x1b[31m\\n\\xff"
    assert len(shown(b"n" * 5000)) < 200
