from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest

from veneer.changeset.growing import Aborted, GrowingSource
from veneer.config import Config
from veneer.errors import Corrupt
from veneer.oci.digest import BlobDigest, Digest
from veneer.store import blobs
from veneer.store.blob_writer import BlobMismatch, BlobTooLong, BlobTooShort
from veneer.store.blobs import BlobDamaged, NoSuchBlob
from veneer.store.leases import Lease
from veneer.store.store import Store

DATA = b"layer " * 1000
DIGEST = BlobDigest(Digest.of(DATA))


def files(root: Path, *below: str) -> set[str]:
    """The files below some folders of a store, by name, locks left out."""
    found: set[str] = set()
    for folder in below:
        for path in (root / folder).rglob("*"):
            if path.is_file() and path.name != "lock":
                found.add(str(path.relative_to(root)))
    return found


def test_what_was_put_is_read_back_under_its_digest(store: Store) -> None:
    with store.lease("test") as lease:
        assert store.blobs.put(lease, DATA) == DIGEST
    assert DIGEST in store.blobs
    assert store.blobs.read(DIGEST) == DATA
    assert store.blobs.size(DIGEST) == len(DATA)
    assert store.blobs.path(DIGEST).read_bytes() == DATA
    with store.blobs.open(DIGEST) as file:
        assert file.read() == DATA
    assert files(store.root, "ingest", "partial") == set()


def test_a_blob_put_twice_is_stored_once(store: Store) -> None:
    with store.lease("test") as lease:
        store.blobs.put(lease, DATA)
        inode = store.blobs.path(DIGEST).stat().st_ino
        store.blobs.put(lease, DATA)
    assert store.blobs.path(DIGEST).stat().st_ino == inode
    assert store.catalog.value("SELECT count(*) FROM blob") == 1


def test_several_documents_go_to_the_disk_together_and_before_their_rows(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, bool]] = []
    monkeypatch.setattr(blobs, "sync_file", lambda fd: seen.append(("file", store.catalog.writing)))
    monkeypatch.setattr(blobs, "sync_directory", lambda path: seen.append(("folder", store.catalog.writing)))
    with store.lease("test") as lease:
        with store.catalog.transaction(), store.blobs.together():
            made = [store.blobs.put(lease, b"one"), store.blobs.put(lease, b"two"), store.blobs.put(lease, b"one")]
            assert seen == []
        assert seen == [("file", True), ("file", True), ("folder", True)]
        assert [store.blobs.read(digest) for digest in made] == [b"one", b"two", b"one"]
        store.blobs.put(lease, b"three")
        assert seen[3:] == [("file", False), ("folder", False)]


def test_a_missing_blob_is_an_error_that_names_it(store: Store) -> None:
    assert DIGEST not in store.blobs
    with pytest.raises(NoSuchBlob, match=DIGEST):
        store.blobs.open(DIGEST)
    with pytest.raises(NoSuchBlob), store.lease("test") as lease:
        assert not store.blobs.acquire(lease, DIGEST)
        store.blobs.size(DIGEST)


def test_a_flipped_bit_is_noticed_when_reading(store: Store) -> None:
    with store.lease("test") as lease:
        store.blobs.put(lease, DATA)
    store.blobs.path(DIGEST).write_bytes(b"L" + DATA[1:])
    with pytest.raises(BlobDamaged, match="reads back as"):
        store.blobs.read(DIGEST)


def test_reading_a_document_is_bounded(store: Store) -> None:
    with store.lease("test") as lease:
        store.blobs.put(lease, DATA)
    with pytest.raises(Corrupt, match="more than the 10"):
        store.blobs.read(DIGEST, limit=10)


@pytest.mark.parametrize("damage", ["gone", "short", "flipped"])
def test_writing_a_damaged_blob_again_repairs_it(store: Store, damage: str) -> None:
    with store.lease("test") as lease:
        store.blobs.put(lease, DATA)
    path = store.blobs.path(DIGEST)
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(DATA[:-1] if damage == "short" else b"L" + DATA[1:])
    with store.lease("test") as lease:
        assert store.blobs.acquire(lease, DIGEST) == (damage == "flipped")  # a stat does not see a flipped bit
        file = lease.file("again")
        file.write_bytes(DATA)
        store.blobs.publish(lease, file, DIGEST, len(DATA))
    assert store.blobs.read(DIGEST) == DATA


def test_a_writer_verifies_the_digest_and_leaves_nothing_on_a_mismatch(store: Store) -> None:
    with (
        store.lease("test") as lease,
        pytest.raises(BlobMismatch, match=DIGEST),
        store.blobs.writer(lease, expect=DIGEST, size=len(DATA)) as writer,
    ):
        writer.write(bytes(len(DATA)))
        writer.commit()
    assert DIGEST not in store.blobs
    assert files(store.root, "blobs", "partial", "ingest") == set()


def test_a_writer_stops_at_the_announced_size(store: Store) -> None:
    with (
        store.lease("test") as lease,
        pytest.raises(BlobTooLong, match="more than the 10 bytes"),
        store.blobs.writer(lease, expect=DIGEST, size=10) as writer,
    ):
        writer.write(b"123456789")
        writer.write(b"012")
    assert files(store.root, "blobs", "partial", "ingest") == set()


def test_a_blob_without_an_expected_digest_is_named_by_its_bytes(store: Store) -> None:
    with store.lease("test") as lease, store.blobs.writer(lease) as writer:
        for start in range(0, len(DATA), 100):
            writer.write(memoryview(DATA)[start : start + 100])
        assert writer.commit() == DIGEST
        assert writer.commit() == DIGEST
    assert store.blobs.read(DIGEST) == DATA


def test_a_writer_that_is_left_without_commit_stores_nothing(store: Store) -> None:
    with store.lease("test") as lease, store.blobs.writer(lease) as writer:
        writer.write(DATA)
    assert files(store.root, "blobs", "partial", "ingest") == set()


def test_a_download_cut_off_goes_on_where_it_stopped(store: Store, config: Config) -> None:
    with (
        store.lease("test") as lease,
        pytest.raises(BlobTooShort),
        store.blobs.writer(lease, expect=DIGEST, size=len(DATA)) as writer,
    ):
        writer.write(DATA[:1000])
        writer.commit()
    with (
        Store.open(config) as other,
        other.lease("again") as lease,
        other.blobs.writer(lease, expect=DIGEST, size=len(DATA)) as writer,
    ):
        assert (writer.offset, writer.resumed) == (1000, 1000)
        writer.write(DATA[1000:])
        writer.commit()
    assert store.blobs.read(DIGEST) == DATA
    assert files(store.root, "partial") == set()


def test_a_resumed_download_can_begin_again(store: Store) -> None:
    with store.lease("test") as lease, store.blobs.writer(lease, expect=DIGEST, size=len(DATA)) as writer:
        writer.write(b"something else entirely, and longer than nothing")
    with store.lease("test") as lease, store.blobs.writer(lease, expect=DIGEST, size=len(DATA)) as writer:
        writer.restart()
        writer.write(DATA)
        writer.commit()
    assert store.blobs.read(DIGEST) == DATA


@pytest.mark.parametrize("left", [DATA + b"x", bytes(len(DATA))])
def test_a_partial_file_that_cannot_be_right_is_dropped(store: Store, left: bytes) -> None:
    (store.root / "partial" / DIGEST.hex).write_bytes(left)
    with store.lease("test") as lease, store.blobs.writer(lease, expect=DIGEST, size=len(DATA)) as writer:
        assert writer.offset == 0
        writer.write(DATA)
        writer.commit()
    assert store.blobs.read(DIGEST) == DATA


def test_a_second_writer_of_one_blob_waits_and_finds_it_complete(store: Store) -> None:
    waits = threading.Event()
    seen: list[tuple[int, bool]] = []

    def second() -> None:
        with (
            store.lease("second") as lease,
            store.blobs.writer(lease, expect=DIGEST, size=len(DATA), waiting=waits.set) as writer,
        ):
            seen.append((writer.offset, writer.complete))
            assert GrowingSource(writer.fileno(), writer.feeder().wake_fd).readinto(bytearray(10)) == 10
            assert writer.commit() == DIGEST

    thread = threading.Thread(target=second)
    with store.lease("first") as lease, store.blobs.writer(lease, expect=DIGEST, size=len(DATA)) as writer:
        thread.start()
        writer.write(DATA)
        assert waits.wait(30)
        writer.commit()
    thread.join(30)
    assert seen == [(len(DATA), True)]


def test_a_blob_is_readable_while_it_grows(store: Store) -> None:
    with store.lease("test") as lease, store.blobs.writer(lease, expect=DIGEST, size=len(DATA)) as writer:
        source = GrowingSource(writer.fileno(), writer.feeder().wake_fd)
        buffer = bytearray(len(DATA) + 1)
        writer.write(DATA[:10])
        assert source.readinto(buffer) == 10
        writer.write(DATA[10:])
        writer.commit()
        assert source.readinto(buffer) == len(DATA) - 10
        assert source.readinto(buffer) == 0


def test_whoever_reads_a_growing_blob_learns_that_its_writer_gave_up(store: Store) -> None:
    with store.lease("test") as lease:
        with store.blobs.writer(lease, expect=DIGEST, size=len(DATA)) as writer:
            fd, wake = os.dup(writer.fileno()), os.dup(writer.feeder().wake_fd)
            writer.write(DATA[:10])
        try:
            source = GrowingSource(fd, wake)
            assert source.readinto(bytearray(100)) == 10
            with pytest.raises(Aborted):
                source.readinto(bytearray(100))
        finally:
            os.close(fd)
            os.close(wake)


def test_a_sha512_blob_lies_under_its_algorithm(store: Store) -> None:
    digest = BlobDigest(Digest.parse("sha512:" + hashlib.sha512(DATA).hexdigest()))
    with store.lease("test") as lease, store.blobs.writer(lease, expect=digest) as writer:
        writer.write(DATA)
        writer.commit()
    assert (store.root / "blobs" / "sha512" / digest.hex).read_bytes() == DATA
    assert store.blobs.read(digest) == DATA


def test_a_file_without_a_row_is_taken_in_if_it_is_whole(store: Store) -> None:
    store.blobs.path(DIGEST).write_bytes(DATA)
    with store.lease("test") as lease, store.blobs.writer(lease, expect=DIGEST, size=len(DATA)) as writer:
        assert writer.complete
        writer.commit()
    assert store.blobs.read(DIGEST) == DATA


def test_a_file_without_a_row_that_is_broken_is_replaced(store: Store) -> None:
    store.blobs.path(DIGEST).write_bytes(DATA[:100])
    with store.lease("test") as lease, store.blobs.writer(lease, expect=DIGEST, size=len(DATA)) as writer:
        assert not writer.complete
        writer.write(DATA)
        writer.commit()
    assert store.blobs.read(DIGEST) == DATA


def test_a_partial_file_that_is_a_stored_blob_is_never_written_to(store: Store) -> None:
    store.blobs.path(DIGEST).write_bytes(DATA)
    os.link(store.blobs.path(DIGEST), store.root / "partial" / DIGEST.hex)  # killed between link and row
    with store.lease("test") as lease, store.blobs.writer(lease, expect=DIGEST, size=len(DATA)) as writer:
        with pytest.raises(BlobTooLong):
            writer.write(b"!")
        writer.commit()
    assert store.blobs.read(DIGEST) == DATA
    assert files(store.root, "partial") == set()


def test_a_symlink_in_the_place_of_a_partial_file_is_not_followed(store: Store, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (store.root / "partial" / DIGEST.hex).symlink_to(victim)
    with store.lease("test") as lease, pytest.raises(OSError), store.blobs.writer(lease, expect=DIGEST):
        pass
    assert victim.read_bytes() == b"precious"


def test_a_lease_keeps_what_it_holds_and_drops_its_rows_at_the_end(store: Store) -> None:
    def held(lease: Lease) -> int:
        return int(store.catalog.value("SELECT count(*) FROM lease_blob WHERE lease = ?", (lease.id,)))

    with store.lease("test") as lease:
        store.blobs.put(lease, DATA)
        assert held(lease) == 1
        with store.lease("other") as other:
            assert store.blobs.acquire(other, DIGEST)
            assert held(other) == 1
    assert store.catalog.value("SELECT count(*) FROM lease") == 0
    assert held(lease) == 0
    assert os.listdir(store.root / "ingest") == []
