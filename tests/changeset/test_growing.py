"""A file that is read while it is written."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from veneer.changeset.growing import Aborted, Feeder, GrowingSource


@pytest.fixture
def blob(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "blob", os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


def read_all(source: GrowingSource) -> bytes:
    out, buffer = bytearray(), bytearray(1000)
    while count := source.readinto(buffer):
        out += buffer[:count]
    return bytes(out)


def test_a_complete_file_is_read_from_its_start_whatever_its_position(blob: int) -> None:
    os.write(blob, b"x" * 5000)
    assert read_all(GrowingSource(blob, None)) == b"x" * 5000


def test_the_reader_sees_exactly_what_was_announced_and_waits_for_the_rest(blob: int) -> None:
    data = os.urandom(200_000)
    result: list[bytes] = []
    with Feeder() as feeder:
        reader = threading.Thread(target=lambda: result.append(read_all(GrowingSource(blob, feeder.wake_fd))))
        reader.start()
        for start in range(0, len(data), 777):
            os.write(blob, data[start : start + 777])
            feeder.advanced(min(start + 777, len(data)))
        feeder.finish(len(data))
        reader.join()
    assert result == [data]


def test_bytes_beyond_what_was_announced_are_not_read(blob: int) -> None:
    os.write(blob, b"good" + b"bad")
    with Feeder() as feeder:
        feeder.finish(4)
        assert read_all(GrowingSource(blob, feeder.wake_fd)) == b"good"


def test_a_writer_that_gives_up_is_seen_after_what_it_wrote(blob: int) -> None:
    os.write(blob, b"half")
    with Feeder() as feeder:
        feeder.advanced(4)
        feeder.abort()
        source, buffer = GrowingSource(blob, feeder.wake_fd), bytearray(100)
        assert source.readinto(buffer) == 4
        with pytest.raises(Aborted, match="stopped after 4 bytes"):
            source.readinto(buffer)


def test_a_writer_that_dies_is_seen_as_one_that_gave_up(blob: int) -> None:
    feeder = Feeder()
    child = os.fork()
    if child == 0:
        feeder.advanced(0)
        os._exit(9)
    os.waitpid(child, 0)
    feeder.abort()  # our own copy of the writing end
    with pytest.raises(Aborted):
        GrowingSource(blob, feeder.wake_fd).readinto(bytearray(10))
    feeder.close()


def test_news_never_block_and_the_end_is_never_lost_when_nobody_reads(blob: int) -> None:
    os.write(blob, b"x" * 10)
    with Feeder() as feeder:
        for _ in range(100_000):
            feeder.advanced(5)
        feeder.finish(10)
        assert read_all(GrowingSource(blob, feeder.wake_fd)) == b"x" * 10


def test_a_reader_that_went_away_does_not_disturb_the_writer() -> None:
    with Feeder() as feeder:
        os.close(feeder.wake_fd)
        feeder.wake_fd = -1
        feeder.advanced(5)
        feeder.finish(5)


def test_a_file_shorter_than_announced_is_an_error(blob: int) -> None:
    with Feeder() as feeder:
        feeder.finish(10)
        with pytest.raises(Aborted, match="shorter"):
            read_all(GrowingSource(blob, feeder.wake_fd))
