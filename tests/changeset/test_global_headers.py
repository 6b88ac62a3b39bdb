"""Global PAX headers: what they say holds for every member after them, and costs every one of them."""

from __future__ import annotations

import io

import pytest

from veneer.changeset.tar import BadArchive, TarReader
from veneer.changeset.tar_writer import _pax_record, _ustar


def _archive(records: list[tuple[bytes, bytes]]) -> TarReader:
    data = b"".join(_pax_record(key, value) for key, value in records)
    header = _ustar(b"global", b"", b"g", 0o644, (0, 0), len(data), 0, b"", (0, 0))
    member = _ustar(b"file", b"", b"0", 0o644, (0, 0), 0, 0, b"", (0, 0))
    return TarReader(io.BytesIO(header + data + bytes(-len(data) % 512) + member + bytes(1024)))


def test_records_nobody_reads_are_not_gone_through_for_every_member() -> None:
    reader = _archive([(b"comment%d" % number, b"x") for number in range(10_000)] + [(b"uid", b"7")])
    assert reader.next()
    assert reader.uid == 7
    assert len(reader._globals) == 1


def test_a_global_header_with_very_many_attributes_is_refused() -> None:
    reader = _archive([(b"SCHILY.xattr.user.%d" % number, b"x") for number in range(101)])
    with pytest.raises(BadArchive, match="global headers with more than 100 records"):
        reader.next()
