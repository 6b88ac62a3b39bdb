from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest

from veneer.config import Config
from veneer.errors import Unavailable
from veneer.oci.digest import BlobDigest, Digest
from veneer.oci.reference import Reference
from veneer.store import schema
from veneer.store.catalog import CatalogDamaged, NewerStore, StoreFull, StoreReadOnly
from veneer.store.removal import remove
from veneer.store.store import NotAStore, RootRefused, Store
from veneer.testing.images import image


def test_a_new_root_is_private_and_an_oci_layout(config: Config) -> None:
    deep = config.replaced(root=config.root / "a" / "b")
    with Store.open(deep) as store:
        assert store.root.stat().st_mode & 0o7777 == 0o700
        assert json.loads((store.root / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
        assert json.loads((store.root / "index.json").read_bytes())["manifests"] == []
        assert (store.root / "blobs" / "sha256").is_dir()


def test_opening_an_existing_store_writes_nothing(store: Store, config: Config) -> None:
    with store.lease("test") as lease:
        digest = store.blobs.put(lease, b"data")
    store.close()

    def state() -> dict[str, tuple[int, int]]:
        kept = {p: p.stat() for p in config.root.rglob("*") if not p.name.startswith("state.db-")}
        return {str(p): (found.st_mtime_ns, found.st_size) for p, found in kept.items() if not p.is_dir()}

    before = state()
    with Store.open(config) as again:
        assert again.blobs.read(digest) == b"data"
        assert again.layers.list() == []
    assert state() == before


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_root_that_others_may_write_to_is_refused(config: Config, mode: int) -> None:
    config.root.mkdir()
    config.root.chmod(mode)
    with pytest.raises(RootRefused, match="can be written by others") as caught:
        Store.open(config)
    assert caught.value.hint == f"chmod 700 {config.root}"


@pytest.mark.usefixtures("root_only")
def test_a_root_of_somebody_else_is_refused(config: Config) -> None:
    config.root.mkdir(mode=0o700)
    os.chown(config.root, 12345, 0)
    with pytest.raises(RootRefused, match="belongs to uid 12345"):
        Store.open(config)


def test_a_directory_with_other_things_in_it_is_refused(config: Config) -> None:
    config.root.mkdir(mode=0o700)
    (config.root / "thesis.tex").write_text("precious")
    with pytest.raises(NotAStore, match=r"thesis\.tex"):
        Store.open(config)
    assert os.listdir(config.root) == ["thesis.tex"]


def test_a_file_in_the_place_of_the_root_is_refused(config: Config) -> None:
    config.root.write_text("a file")
    with pytest.raises(NotAStore, match="not a directory"):
        Store.open(config)


def test_a_root_half_made_is_finished(config: Config) -> None:
    (config.root / "blobs").mkdir(parents=True)
    config.root.chmod(0o700)
    with Store.open(config) as store, store.lease("test") as lease:
        assert store.blobs.put(lease, b"data") in store.blobs


def test_a_store_of_a_newer_veneer_is_left_alone(store: Store, config: Config) -> None:
    with store.catalog.transaction() as transaction:
        transaction.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    with Store.open(config) as again, pytest.raises(NewerStore, match=f"schema {schema.VERSION + 1}"):
        again.layers.list()


def test_a_file_that_is_no_database_is_an_error_that_says_so(store: Store, config: Config) -> None:
    store.layers.list()
    store.close()
    for name in ("state.db-wal", "state.db-shm"):
        (config.root / name).unlink(missing_ok=True)
    (config.root / "state.db").write_bytes(b"not a database at all" * 1000)
    with Store.open(config) as again, pytest.raises(CatalogDamaged, match=r"state\.db is damaged"):
        again.layers.list()


def test_many_processes_may_make_the_same_store_at_once(config: Config) -> None:
    script = """
import sys
from pathlib import Path
sys.path[:] = sys.argv[1:-1]
from veneer.config import Config
from veneer.store.store import Store
with Store.open(Config(root=Path(sys.argv[-1]))) as store, store.lease("race") as lease:
    for n in range(5):
        store.blobs.put(lease, b"blob %d" % n)
"""
    racers = [subprocess.Popen([sys.executable, "-c", script, *sys.path, str(config.root)]) for _ in range(4)]
    assert [racer.wait(60) for racer in racers] == [0, 0, 0, 0]
    with Store.open(config) as store:
        assert store.catalog.value("SELECT count(*) FROM blob") == 5
        assert store.catalog.value("SELECT count(*) FROM lease") == 0


def test_threads_have_connections_of_their_own(store: Store) -> None:
    errors: list[BaseException] = []

    def work(name: int) -> None:
        try:
            with store.lease(f"thread {name}") as lease:
                for n in range(10):
                    store.blobs.put(lease, b"%d of %d" % (n, name))
        except BaseException as error:
            errors.append(error)

    threads = [Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert store.catalog.value("SELECT count(*) FROM blob") == 40


def test_a_transaction_is_all_or_nothing_and_takes_in_those_begun_inside_it(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.catalog.transaction() as outer:
        outer.execute("INSERT INTO setting VALUES ('a', '1')")
        with store.catalog.transaction() as inner:
            inner.execute("INSERT INTO setting VALUES ('b', '2')")
        assert store.catalog.setting("b") == "2"
        raise ZeroDivisionError
    assert store.catalog.setting("a") is store.catalog.setting("b") is None
    with store.catalog.transaction() as again:
        again.execute("INSERT INTO setting VALUES ('a', '1')")
    assert store.catalog.setting("a") == "1"


def test_a_closed_store_says_so(store: Store) -> None:
    store.close()
    store.close()
    with pytest.raises(Unavailable, match="closed"):
        store.layers.list()


@pytest.mark.usefixtures("root_only")
def test_a_read_only_file_system_can_be_read_and_says_no_to_writing(
    config: Config, ext4: Callable[[int], Path]
) -> None:
    mounted = ext4(16 << 20)
    writable = config.replaced(root=mounted / "root")
    with Store.open(writable) as store, store.lease("test") as lease:
        digest = store.blobs.put(lease, b"data")
    subprocess.run(["mount", "-o", "remount,ro", mounted], check=True)
    with Store.open(writable) as store:
        assert store.blobs.read(digest) == b"data"
        assert digest in store.blobs
        with pytest.raises(StoreReadOnly, match=str(mounted)), store.lease("write") as lease:
            store.blobs.put(lease, b"more")
        with pytest.raises(StoreReadOnly), store.catalog.transaction():
            pass
    with pytest.raises(StoreReadOnly):
        Store.open(config.replaced(root=mounted / "new"))


@pytest.mark.usefixtures("root_only")
def test_a_full_disk_is_named_and_loses_nothing(config: Config, ext4: Callable[[int], Path]) -> None:
    mounted = ext4(16 << 20)
    with Store.open(config.replaced(root=mounted / "root")) as store:
        with store.lease("test") as lease:
            kept = store.blobs.put(lease, b"kept")
            with pytest.raises(StoreFull, match=str(store.root)) as caught, store.blobs.writer(lease) as writer:
                while True:
                    writer.write(bytes(1 << 20))
            assert "prune" in caught.value.hint
            # What was being written is gone, and with it the trouble.
            assert store.blobs.put(lease, b"and on") in store.blobs
        assert store.blobs.read(kept) == b"kept"
        filler = mounted / "filler"
        with filler.open("wb", buffering=0) as file, pytest.raises(OSError):
            while True:
                file.write(bytes(1 << 16))
        outcome: list[BlobDigest] = []
        with store.lease("test") as lease, pytest.raises(StoreFull):
            for n in range(4000):
                outcome.append(store.blobs.put(lease, b"%d" % n))
        filler.unlink()
        assert store.catalog.value("PRAGMA integrity_check") == "ok"
        for n, digest in enumerate(outcome):
            assert store.blobs.read(digest) == b"%d" % n
        assert store.blobs.read(BlobDigest(Digest.of(b"kept"))) == b"kept"


_LOOKS = """
import sys
from veneer.config import Config
from veneer.store.catalog import StoreFull
from veneer.store.store import Store
try:
    with Store.open(Config(root=sys.argv[1])) as store:
        print(len(store.images.list()))
except StoreFull:
    print("full")
"""


@pytest.mark.usefixtures("root_only")
def test_where_blocks_are_small_no_process_ends_for_want_of_the_rest_of_a_mapped_page(
    config: Config, ext4: Callable[..., Path]
) -> None:
    mounted = ext4(8 << 20, "-b", "1024")
    small = config.replaced(root=mounted / "root")
    Store.open(small).close()
    kept = small.root / "reserve"
    for has_reserve in (True, False):
        for left in (8, 9, 10):  # SQLite allocates eight blocks of its memory, and writes to more
            for name in ("state.db-wal", "state.db-shm", "filler"):
                (small.root / name).unlink(missing_ok=True)
            taken = {small.root / "room": left} | ({kept: 2048} if has_reserve else {})
            for path, kilobytes in taken.items():
                with path.open("wb") as file:
                    os.posix_fallocate(file.fileno(), 0, kilobytes << 10)
            with (small.root / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
                while True:
                    filler.write(bytes(1024))
            (small.root / "room").unlink()
            look = [sys.executable, "-c", _LOOKS, str(small.root)]
            done = subprocess.run(look, capture_output=True, text=True, check=False)
            # How much there is to the last block is the file system's own affair.
            assert done.returncode == 0 and done.stdout in ("0\n", "full\n"), (left, done)
            assert not kept.exists()


@pytest.mark.usefixtures("root_only")
def test_on_a_disk_full_to_the_last_byte_images_are_listed_and_removed(
    config: Config, ext4: Callable[[int], Path]
) -> None:
    mounted = ext4(24 << 20)
    full = config.replaced(root=mounted / "root")
    sample = image({"f": bytes(100_000)})
    with Store.open(full) as store, store.lease("test") as lease:
        with store.layers.intake(lease, sample.parsed.diff_ids) as intake:
            intake.feed(0, store.blobs.put(lease, sample.layers[0].blob))
            intake.commit()
        added = store.images.add(lease, sample.config)
        store.images.tag(added.id, Reference.parse("full/disk:1"))
    with (mounted / "filler").open("wb", buffering=0) as filler:
        for size in (1 << 16, 1):
            with contextlib.suppress(OSError):
                while True:
                    filler.write(bytes(size))
    with Store.open(full) as store:
        assert [each.id for each in store.images.list()] == [sample.image_id]
        assert [removal.kind for removal in remove(store, "full/disk:1")] == ["untagged", "deleted", "deleted"]
        assert store.images.list(all=True) == []
    (mounted / "filler").unlink()
    with Store.open(full) as store:
        store.collect()
        assert (store.root / "reserve").stat().st_blocks * 512 >= 2 << 20
        assert store.check(deep=True) == []
