"""A stream in pieces, read here or ahead: the same pieces, the same digest, the same errors at the same place."""

from __future__ import annotations

import hashlib
import io
import os
import threading

import pytest

from veneer.changeset.compression import BadCompression
from veneer.changeset.fillings import SIZE, Fillings, FillingsAhead
from veneer.changeset.growing import Aborted, Feeder, GrowingSource

KINDS = [Fillings, FillingsAhead]


class Breaking(io.BytesIO):
    """A source that is damaged after the bytes it has."""

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        count = super().readinto(buffer)
        if not count:
            raise BadCompression("damaged")
        return count


def pieces(fillings: Fillings) -> list[bytes]:
    return [bytes(piece) for piece in iter(fillings.next, b"")]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [0, 1, SIZE - 1, SIZE, SIZE + 1, 9 * SIZE, 9 * SIZE + 700])
def test_the_pieces_are_the_stream_and_the_digest_is_its_own(kind: type[Fillings], length: int) -> None:
    data = os.urandom(length)
    fillings = kind(io.BytesIO(data), hashed=True)
    found = pieces(fillings)
    assert b"".join(found) == data
    assert all(len(piece) == SIZE for piece in found[:-1])
    assert len(fillings.next()) == 0  # and stays at the end
    assert fillings.hexdigest() == hashlib.sha256(data).hexdigest()
    fillings.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("good", [0, 1, 3, 7])
def test_damage_is_told_after_the_good_pieces_before_it(kind: type[Fillings], good: int) -> None:
    fillings = kind(Breaking(bytes(good * SIZE)), hashed=True)
    assert [len(fillings.next()) for _ in range(good)] == [SIZE] * good
    with pytest.raises(BadCompression, match="damaged"):
        fillings.next()
    fillings.close()


@pytest.mark.parametrize("taken", [0, 1, 2, 5])
def test_closing_early_ends_the_thread(taken: int) -> None:
    before = threading.active_count()
    fillings = FillingsAhead(io.BytesIO(bytes(40 * SIZE)), hashed=True)
    for _ in range(taken):
        fillings.next()
    fillings.close()
    fillings.close()
    assert threading.active_count() == before


def test_a_reader_that_waits_for_a_download_is_called_back(tmp_path: os.PathLike[str]) -> None:
    blob = os.open(os.fspath(tmp_path) + "/blob", os.O_RDWR | os.O_CREAT)
    os.write(blob, bytes(SIZE))
    with Feeder() as feeder, GrowingSource(blob, feeder.wake_fd) as source:
        feeder.advanced(SIZE)
        fillings = FillingsAhead(source, hashed=True)
        assert len(fillings.next()) == SIZE
        source.interrupt()  # nothing more comes, and nobody says that it is over
        with pytest.raises(Aborted, match="given up"):
            fillings.next()
        fillings.close()
    os.close(blob)
