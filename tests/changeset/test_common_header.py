"""Fast headers are the tar writer's own, byte for byte."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from veneer.changeset.common_header import header
from veneer.changeset.entry import Entry, Kind
from veneer.changeset.tar_writer import member_header

_PATHS = st.lists(st.binary(min_size=1, max_size=120).map(lambda part: part.replace(b"/", b"_").replace(b"\0", b"_")),
                  min_size=1, max_size=4).map(b"/".join)  # fmt: skip
_NUMBERS = st.one_of(st.integers(0, 5000), st.integers(0, 1 << 35))
_TIMES = st.one_of(
    st.integers(0, 1 << 40), st.integers(0, 1 << 33).map(lambda s: s * 10**9), st.integers(-(1 << 62), 1 << 62)
)


@given(
    path=_PATHS, kind=st.sampled_from([Kind.REGULAR, Kind.DIRECTORY, Kind.SYMLINK, Kind.HARDLINK, Kind.FIFO]),
    mode=st.integers(0, 0o7777), uid=_NUMBERS, gid=_NUMBERS, size=_NUMBERS, mtime_ns=_TIMES, link=_PATHS,
)  # fmt: skip
@example(b"\xff" * 100, Kind.SYMLINK, 0o7777, 0o7777777, 0o7777777, 0, (0o77777777777 << 1) - 1, b"\xff" * 100)
def test_a_header_made_fast_is_the_writers(
    path: bytes, kind: Kind, mode: int, uid: int, gid: int, size: int, mtime_ns: int, link: bytes
) -> None:
    size = size if kind is Kind.REGULAR else 0
    link = link if kind in (Kind.SYMLINK, Kind.HARDLINK) else b""
    made = header(path, kind, mode, uid, gid, size, mtime_ns, link)
    assert made == member_header(Entry(path, kind, mode, uid, gid, size, mtime_ns, link))
