"""Bolt databases, written here page by page: whole ones, torn ones, and ones that nobody wrote in good faith."""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from veneer.distribution.foreign.bolt import Bucket, read
from veneer.distribution.foreign.root import ForeignBusy, ForeignDamaged

SIZE = 1024
BRANCH, LEAF = 1, 2


def fnv(data: bytes) -> int:
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 % (1 << 64)
    return value


def meta(number: int, txid: int, root: int, pages: int, *, size: int = SIZE, order: str = "<") -> bytes:
    body = struct.pack(order + "IIIIQQQQQ", 0xED0CDAED, 2, size, 0, root, 0, 2, pages, txid)
    return (
        struct.pack(order + "QHHI", number, 4, 0, 0) + body + struct.pack(order + "Q", fnv(body))
    ).ljust(size, b"\0")  # fmt: skip


def leaf(number: int, *items: tuple[bytes, bytes, int], over: int = 0, order: str = "<") -> bytes:
    table, data = b"", b""
    for index, (key, value, flags) in enumerate(items):
        offset = 16 * (len(items) - index) + len(data)
        table += struct.pack(order + "IIII", flags, offset, len(key), len(value))
        data += key + value
    return struct.pack(order + "QHHI", number, LEAF, len(items), over) + table + data


def branch(number: int, *children: int) -> bytes:
    table = b"".join(struct.pack("<IIQ", 0, 0, child) for child in children)
    return struct.pack("<QHHI", number, BRANCH, len(children), 0) + table


def inline(*items: tuple[bytes, bytes, int], order: str = "<") -> bytes:
    return struct.pack(order + "QQ", 0, 0) + leaf(0, *items, order=order)


def database(*pages: bytes, root: int = 2, order: str = "<", size: int = SIZE) -> bytes:
    """The pages, the first of them number 2, behind two meta pages of which the second is newer."""
    body = b"".join(page.ljust(-(-len(page) // size) * size, b"\0") for page in pages)
    count = 2 + len(body) // size
    metas = [meta(number, 6 + number, root, count, size=size, order=order) for number in (0, 1)]
    return b"".join(metas) + body


def everything(bucket: Bucket) -> dict[bytes, object]:
    return {key: everything(value) if isinstance(value, Bucket) else value for key, value in bucket.items()}


@contextmanager
def opened(folder: Path, data: bytes) -> Iterator[int]:
    (folder / "db").write_bytes(data)
    fd = os.open(folder / "db", os.O_RDWR)
    try:
        yield fd
    finally:
        os.close(fd)


def told(folder: Path, data: bytes) -> dict[bytes, object]:
    with opened(folder, data) as fd:
        return read(fd, "db", everything)


LONG = bytes(range(256)) * 10
GOOD = database(
    branch(2, 3, 4),
    leaf(3, (b"a", b"1", 0), (b"b", inline((b"c", b"2", 0)), 1)),
    leaf(4, (b"d", struct.pack("<QQ", 5, 0), 1)),
    leaf(5, (b"long", LONG, 0), over=2),
)  # fmt: skip
MEANT = {b"a": b"1", b"b": {b"c": b"2"}, b"d": {b"long": LONG}}


def test_branches_inline_buckets_and_long_values_are_read(tmp_path: Path) -> None:
    assert told(tmp_path, GOOD) == MEANT
    with opened(tmp_path, GOOD) as fd:
        assert read(fd, "db", lambda root: (root.bucket(b"b", b"x"), root.bucket(b"x"))) == (None, None)


def test_a_database_of_a_machine_that_counts_from_the_other_end_is_read(tmp_path: Path) -> None:
    one = leaf(2, (b"a", inline((b"c", b"2", 0), order=">"), 1), order=">")
    assert told(tmp_path, database(one, order=">", size=1 << 16)) == {b"a": {b"c": b"2"}}


@pytest.mark.parametrize("torn", [0, 1])
def test_the_newer_meta_page_counts_and_the_other_one_if_it_is_torn(tmp_path: Path, torn: int) -> None:
    older = leaf(2, (b"older", b"", 0))
    data = bytearray(database(older, leaf(3, (b"newer", b"", 0))))
    data[SIZE : 2 * SIZE] = meta(1, 7, 3, 4)
    assert told(tmp_path, bytes(data)) == {b"newer": b""}
    data[torn * SIZE + 40] ^= 1
    assert told(tmp_path, bytes(data)) == ({b"older": b""} if torn else {b"newer": b""})
    data[(1 - torn) * SIZE + 40] ^= 1
    with pytest.raises(ForeignDamaged, match="neither of its meta pages is whole"):
        told(tmp_path, bytes(data))


def test_what_was_written_to_meanwhile_is_read_again(tmp_path: Path) -> None:
    """Whether the change made what was read nonsense or not."""
    with opened(tmp_path, GOOD) as fd:
        times = 0

        def work(root: Bucket) -> dict[bytes, object]:
            nonlocal times
            times += 1
            if times < 4:
                os.pwrite(fd, meta(times % 2, 7 + times, 2, len(GOOD) // SIZE), times % 2 * SIZE)
            if times == 2:
                raise ForeignDamaged("a page that was given to something else")
            return everything(root)

        assert (read(fd, "db", work), times) == (MEANT, 4)

        def always(root: Bucket) -> None:
            nonlocal times
            times += 1
            os.pwrite(fd, meta(times % 2, 7 + times, 2, len(GOOD) // SIZE), times % 2 * SIZE)

        # What is copied first does not change any more.
        read(fd, "db", always)
        assert times == 8

        def large(root: Bucket) -> None:
            nonlocal times
            times += 1
            os.pwrite(fd, meta(times % 2, 7 + times, 2, 1 << 20), times % 2 * SIZE)

        os.ftruncate(fd, SIZE << 20)
        large(Bucket.__new__(Bucket))
        with pytest.raises(ForeignBusy):
            read(fd, "db", large)


def element(at: int, index: int, *fields: int) -> Callable[[bytearray], None]:
    """Write over a page's element."""

    def tamper(data: bytearray) -> None:
        struct.pack_into("<IIII", data, at * SIZE + 16 + 16 * index, *fields)

    return tamper


def page(at: int, new: bytes) -> Callable[[bytearray], None]:
    def tamper(data: bytearray) -> None:
        data[at * SIZE : at * SIZE + len(new)] = new

    return tamper


TAMPERED: dict[str, tuple[Callable[[bytearray], None], str]] = {
    "a branch to itself": (page(2, branch(2, 2, 2)), "lies deeper than 24 others"),
    "branches to each other": (page(3, branch(3, 2)), "lies deeper than 24 others"),
    "a page past the end": (page(2, branch(2, 3, 900)), "page 900 is none of its 8"),
    "a meta page for a leaf": (page(2, branch(2, 1)), "page 1 is none"),
    "another page's number": (page(3, leaf(9)), "page 3 says to be page 9"),
    "a page over the end": (page(5, leaf(5, over=900)), "and 900 more"),
    "no kind of page": (page(3, struct.pack("<QHHI", 3, 8, 0, 0)), "neither branch nor leaf"),
    "more keys than fit": (page(3, struct.pack("<QHHI", 3, LEAF, 65535, 0)), "65535 keys"),
    "more children than fit": (page(2, struct.pack("<QHHI", 2, BRANCH, 65535, 0)), "65535 keys"),
    "a value past the end": (element(3, 0, 0, SIZE - 32, 1, 100), "lies outside of it"),
    "a value without end": (element(3, 0, 0, 32, 1, 1 << 31), "more than it can hold"),
    "a key far away": (element(3, 0, 0, 0xFFFFFFFF, 1, 1), "lies outside of it"),
    "a bucket that is too short": (element(3, 0, 1, 32, 1, 1), "shorter than its own root"),
    "a bucket without a page": (element(3, 0, 1, 32, 1, 20), "is none of its 8|has no page"),
}


@pytest.mark.parametrize("case", TAMPERED)
def test_what_cannot_be_is_refused(tmp_path: Path, case: str) -> None:
    tamper, message = TAMPERED[case]
    data = bytearray(GOOD)
    tamper(data)
    with pytest.raises(ForeignDamaged, match=message):
        told(tmp_path, bytes(data))


def test_a_page_that_says_the_same_bytes_over_and_over_is_refused(tmp_path: Path) -> None:
    """Sixty values of a page's length each would be sixty pages of memory for one."""
    data = bytearray(database(leaf(2, *((b"", b"", 0) for _ in range(60)))))
    for index in range(60):
        element(2, index, 0, 0, 0, 60)(data)
    with pytest.raises(ForeignDamaged, match="more than it can hold"):
        told(tmp_path, bytes(data))


def test_a_file_with_holes_is_not_read_to_its_end(tmp_path: Path) -> None:
    with opened(tmp_path, GOOD) as fd:
        os.ftruncate(fd, 1 << 40)
        os.pwrite(fd, meta(1, 9, 2, 1 << 30) + branch(2, *([2] * 60)), SIZE)
        with pytest.raises(ForeignDamaged):
            read(fd, "db", everything)
        os.pwrite(fd, branch(2, 3, 3, 3), 2 * SIZE)
        assert read(fd, "db", everything) == {b"a": b"1", b"b": {b"c": b"2"}}


def test_noise_is_refused_or_read_and_nothing_else(tmp_path: Path) -> None:
    chance = random.Random(7)
    for _ in range(120):
        data = bytearray(GOOD)
        for _ in range(chance.randint(1, 6)):
            data[chance.randrange(2 * SIZE, 5 * SIZE + 64)] = chance.choice((0, 1, 2, 0x7F, 0xFF))
        try:
            told(tmp_path, bytes(data))
        except ForeignDamaged as error:
            assert error.message.startswith("db is damaged: ")
    for length in range(0, len(GOOD), 97):
        with pytest.raises(ForeignDamaged):
            told(tmp_path, GOOD[:length])
