"""The tar writer: plain ustar where it fits, PAX where it does not, read alike by everybody."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import subprocess
import tarfile
from pathlib import Path

import pytest

from veneer.changeset.entry import Entry, Kind
from veneer.changeset.tar_writer import TarWriter, Unwritable, pax_time

CONTENT = b"some content\n"
CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0)
LONG = b"/".join([b"d" * 60] * 5)

MEMBERS = (
    Entry(b"dir", Kind.DIRECTORY, 0o1777, 1, 2, mtime_ns=1_000_000_000 * 10**9),
    Entry(b"dir/file", Kind.REGULAR, 0o6755, 1000, 1000, len(CONTENT), 1_000_000_000_123_456_700),
    Entry(b"dir/link", Kind.SYMLINK, 0o777, link=b"../target"),
    Entry(b"dir/hard", Kind.HARDLINK, 0o6755, link=b"dir/file"),
    Entry(b"dir/null", Kind.CHARACTER, 0o666, device=(1, 3)),
    Entry(b"dir/sda", Kind.BLOCK, 0o660, device=(8, 1048575)),
    Entry(b"dir/pipe", Kind.FIFO, 0o600),
    Entry(b"x" * 100, Kind.REGULAR, 0o600),
    Entry(b"p" * 150 + b"/" + b"n" * 100, Kind.REGULAR, 0o600),
    Entry(LONG + b"/name", Kind.REGULAR, 0o600, 3_000_000, 4_294_967_294, mtime_ns=-1),
    Entry(LONG, Kind.DIRECTORY, 0o700, mtime_ns=-1_500_000_000),
    Entry(b"long-link", Kind.SYMLINK, 0o777, link=b"t" * 300),
    Entry(b"\xff\xfe", Kind.REGULAR, 0o600),
    Entry(b"\xff" * 120, Kind.REGULAR, 0o600),
    Entry(b"caf\xc3\xa9" * 40, Kind.SYMLINK, 0o777, link=b"\xe9" * 101),
    Entry(b"xattr", Kind.REGULAR, 0o600, xattrs=((b"security.capability", CAPABILITY), (b"user.a", b"\xff\0"))),
)


def archive_of(*entries: Entry, content: bytes = CONTENT) -> bytes:
    out = io.BytesIO()
    writer = TarWriter(out)
    for entry in entries:
        writer.add(entry, content[: entry.size] if entry.kind is Kind.REGULAR else None)
    digest = writer.finish()
    assert digest == hashlib.sha256(out.getvalue()).hexdigest()
    assert writer.size == len(out.getvalue())
    return out.getvalue()


def test_pythons_tarfile_reads_back_every_field() -> None:
    types = {
        Kind.REGULAR: tarfile.REGTYPE, Kind.DIRECTORY: tarfile.DIRTYPE, Kind.SYMLINK: tarfile.SYMTYPE,
        Kind.HARDLINK: tarfile.LNKTYPE, Kind.CHARACTER: tarfile.CHRTYPE, Kind.BLOCK: tarfile.BLKTYPE,
        Kind.FIFO: tarfile.FIFOTYPE,
    }  # fmt: skip
    with tarfile.open(fileobj=io.BytesIO(archive_of(*MEMBERS))) as archive:
        members = archive.getmembers()
        assert len(members) == len(MEMBERS)
        for member, entry in zip(members, MEMBERS, strict=True):
            assert os.fsencode(member.name) == entry.path
            assert (member.type, member.mode) == (types[entry.kind], entry.mode)
            assert (member.uid, member.gid, member.size) == (entry.uid, entry.gid, entry.size)
            assert os.fsencode(member.linkname) == entry.link
            if entry.kind in (Kind.CHARACTER, Kind.BLOCK):
                assert (member.devmajor, member.devminor) == entry.device
            assert member.mtime == pytest.approx(entry.mtime_ns / 1e9)
            for name, value in entry.xattrs:
                assert os.fsencode(member.pax_headers["SCHILY.xattr." + name.decode()]) == value
        found = archive.extractfile("dir/file")
        assert found is not None
        assert found.read() == CONTENT


def test_gnu_tar_extracts_every_field(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    command = ["tar", "-xp", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-C", str(tmp_path / "root")]
    subprocess.run(command, input=archive_of(*MEMBERS), check=True, capture_output=True)
    root = os.fsencode(tmp_path / "root")
    for entry in MEMBERS:
        found = os.lstat(root + b"/" + entry.path)
        if entry.kind is Kind.HARDLINK:
            assert found.st_ino == os.lstat(root + b"/" + entry.link).st_ino
            continue
        assert found.st_mode & 0o7777 == entry.mode
        assert (found.st_uid, found.st_gid, found.st_mtime_ns) == (entry.uid, entry.gid, entry.mtime_ns)
        if entry.kind is Kind.SYMLINK:
            assert os.readlink(root + b"/" + entry.path) == entry.link
        if entry.kind in (Kind.CHARACTER, Kind.BLOCK):
            assert (os.major(found.st_rdev), os.minor(found.st_rdev)) == entry.device
        for name, value in entry.xattrs:
            assert os.getxattr(root + b"/" + entry.path, name) == value


def test_what_fits_ustar_has_no_pax_header() -> None:
    plain = Entry(b"p" * 150 + b"/" + b"n" * 100, Kind.REGULAR, 0o7777, 0o7777777, 0o7777777, mtime_ns=10**18)
    assert len(archive_of(plain)) == 512 + 1024
    assert len(archive_of(Entry(b"\xff" * 100, Kind.SYMLINK, link=b"\xfe" * 100))) == 512 + 1024


def test_a_pax_header_holds_only_what_does_not_fit_in_the_order_of_keys() -> None:
    odd = Entry(b"f", Kind.REGULAR, 0o600, 1 << 22, 5, mtime_ns=1, xattrs=((b"user.b", b""), (b"user.a", b"1")))
    pax = archive_of(odd)[512:1024].rstrip(b"\0")
    assert pax == b"25 SCHILY.xattr.user.a=1\n24 SCHILY.xattr.user.b=\n21 mtime=0.000000001\n15 uid=4194304\n"


def test_a_long_name_that_is_not_utf8_is_written_raw_and_declared_binary() -> None:
    data = archive_of(Entry(b"\xff" * 101, Kind.REGULAR))
    assert data[512:].startswith(b"21 hdrcharset=BINARY\n111 path=" + b"\xff" * 101 + b"\n")


def test_a_size_beyond_8_gib_is_written_as_pax() -> None:
    out = io.BytesIO()
    writer = TarWriter(out)
    with pytest.raises(Unwritable):
        writer.add(Entry(b"big", Kind.REGULAR, size=1 << 33), b"")
    writer.finish()
    assert b"size=8589934592\n" in out.getvalue()


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [(0, b"0"), (10**9, b"1"), (1, b"0.000000001"), (-1, b"-0.000000001"), (-1_500_000_000, b"-1.5"), (10**10, b"10")],
)
def test_times_are_decimal_seconds_without_needless_digits(nanoseconds: int, text: bytes) -> None:
    assert pax_time(nanoseconds) == text


def test_a_whiteout_and_an_opaque_marker_carry_no_attributes() -> None:
    data = archive_of(
        Entry(b"d", Kind.DIRECTORY, 0o755, 5, 5, opaque=True), Entry(b"d/gone", Kind.WHITEOUT, 0o644, 9, 9)
    )
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        fields = [(m.name, m.type, m.mode, m.uid, m.gid, m.size, m.mtime) for m in archive]
    assert fields == [
        ("d", tarfile.DIRTYPE, 0o755, 5, 5, 0, 0),
        ("d/.wh..wh..opq", tarfile.REGTYPE, 0, 0, 0, 0, 0),
        ("d/.wh.gone", tarfile.REGTYPE, 0, 0, 0, 0, 0),
    ]


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, (1 << 20) - 512, 1 << 20, (3 << 20) + 5, (9 << 20) + 7])
def test_content_is_streamed_from_a_descriptor_and_hashed(tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    (tmp_path / "f").write_bytes(content)
    with (tmp_path / "f").open("rb") as file, (tmp_path / "out.tar").open("wb", buffering=0) as out:
        writer = TarWriter(out, hash_contents=True)
        digest = writer.add(Entry(b"f", Kind.REGULAR, size=size), file.fileno())
        writer.finish()
    assert digest == hashlib.sha256(content).digest()
    assert (tmp_path / "out.tar").read_bytes() == archive_of(Entry(b"f", Kind.REGULAR, size=size), content=content)


def test_a_file_that_shrank_meanwhile_is_filled_with_zeros_and_one_that_grew_is_cut(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    for size, expected in ((5, b"abc\0\0"), (2, b"ab")):
        out = io.BytesIO()
        with (tmp_path / "f").open("rb") as file:
            writer = TarWriter(out, hash_contents=True)
            assert writer.add(Entry(b"f", Kind.REGULAR, size=size), file.fileno()) == hashlib.sha256(expected).digest()
        writer.finish()
        assert out.getvalue()[512 : 512 + size] == expected
        assert len(out.getvalue()) == 512 * 4


def test_a_writer_that_takes_only_part_of_what_it_is_given_gets_the_rest_again() -> None:
    class Slow(io.RawIOBase):
        taken = b""

        def write(self, data: object, /) -> int:
            piece = bytes(memoryview(data)[:700])  # type: ignore[arg-type]
            self.taken += piece
            return len(piece)

    slow = Slow()
    writer = TarWriter(slow)
    writer.add(MEMBERS[1], CONTENT)
    writer.finish()
    assert slow.taken == archive_of(MEMBERS[1])


def test_names_no_archive_can_hold_are_refused_by_name() -> None:
    with pytest.raises(Unwritable, match="NUL"):
        archive_of(Entry(b"a\0b", Kind.REGULAR))
    with pytest.raises(Unwritable, match="not empty"):
        archive_of(Entry(b"", Kind.REGULAR))
