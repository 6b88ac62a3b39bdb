"""Cache mounts: one directory to an ID, or several where steps want it for themselves; gone only when unused."""

from __future__ import annotations

import os
import stat
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from veneer.config import Config
from veneer.progress import Cancelled
from veneer.store.cache_mounts import UnknownSharing
from veneer.store.durability import arm
from veneer.store.gc import Extent
from veneer.store.store import Store

pytestmark = pytest.mark.usefixtures("root_only")


def test_what_a_step_left_is_there_for_the_next(store: Store) -> None:
    with store.cache_mounts.acquire("npm") as mount:
        assert stat.S_IMODE(mount.stat().st_mode) == 0o755
        (mount / "package").write_bytes(b"p")
        (mount / "package").chmod(0o640)
        os.chown(mount / "package", 5, 6)
    with store.cache_mounts.acquire("npm") as again, store.cache_mounts.acquire("pip") as other:
        assert again == mount and other != mount
        status = (again / "package").stat()
        assert (status.st_mode & 0o777, status.st_uid, status.st_gid) == (0o640, 5, 6)
    assert [(each.id, each.uses) for each in store.cache_mounts.list()] == [("npm", 2), ("pip", 1)]
    assert store.check() == []


def test_a_new_one_is_filled_before_anybody_sees_it(store: Store) -> None:
    seen: list[Path] = []

    def fill(directory: Path) -> None:
        seen.append(directory)
        assert store.cache_mounts.list() == []
        (directory / "seed").write_bytes(b"s")

    for _ in range(2):
        with store.cache_mounts.acquire("npm", fill=fill) as mount:
            assert (mount / "seed").read_bytes() == b"s"
    assert len(seen) == 1 and seen[0] != mount


def test_one_that_could_not_be_filled_is_not_there(store: Store) -> None:
    def fill(directory: Path) -> None:
        raise RuntimeError("no seed")

    with pytest.raises(RuntimeError, match="no seed"), store.cache_mounts.acquire("npm", fill=fill):
        raise AssertionError
    assert store.cache_mounts.list() == []
    assert os.listdir(store.root / "ingest") == []


def test_shared_is_with_others_and_private_is_alone(store: Store) -> None:
    acquire = store.cache_mounts.acquire
    with ExitStack() as stack:
        first, second = (stack.enter_context(acquire("npm", "shared")) for _ in range(2))
        assert first == second
        alone = stack.enter_context(acquire("npm", "private"))
        also_alone = stack.enter_context(acquire("npm", "private"))
        assert len({first, alone, also_alone}) == 3
        assert stack.enter_context(acquire("npm", "shared")) == first
    with acquire("npm", "private") as again:
        assert again == first, "the oldest that is free"


def test_locked_waits_until_nobody_has_it(store: Store) -> None:
    order: list[str] = []
    began = threading.Event()

    def other() -> None:
        began.set()
        with Store.open(store.config) as mine, mine.cache_mounts.acquire("npm", "locked") as mount:
            order.append("second")
            assert (mount / "f").exists()

    with store.cache_mounts.acquire("npm", "locked") as mount:
        thread = threading.Thread(target=other)
        thread.start()
        began.wait()
        (mount / "f").write_bytes(b"")
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert len(store.cache_mounts.list()) == 1


def test_who_waits_can_give_up(store: Store) -> None:
    def give_up() -> None:
        raise Cancelled("enough")

    with (
        store.cache_mounts.acquire("npm", "locked"),
        pytest.raises(Cancelled),
        store.cache_mounts.acquire("npm", "locked", check=give_up),
    ):
        pass
    with store.cache_mounts.acquire("npm", "locked", check=give_up):
        pass  # nobody has it: there is nothing to wait for


def test_steps_side_by_side_that_share_make_one(store: Store) -> None:
    barrier, found = threading.Barrier(4), []

    def step() -> None:
        with Store.open(store.config) as mine:
            barrier.wait()
            with mine.cache_mounts.acquire("npm") as mount:
                found.append(mount)
                barrier.wait()

    threads = [threading.Thread(target=step) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1 and len(store.cache_mounts.list()) == 1


def test_one_in_use_is_not_removed_and_a_free_one_is(store: Store) -> None:
    with store.cache_mounts.acquire("npm") as mount:
        (mount / "f").write_bytes(b"12345")
        (listed,) = store.cache_mounts.list()
        assert store.cache_mounts.is_used(listed.folder)
        assert store.cache_mounts.size(listed.folder) == 5
        assert not store.cache_mounts.remove(listed.folder)
    assert not store.cache_mounts.is_used(listed.folder)
    assert store.cache_mounts.remove(listed.folder)
    assert store.cache_mounts.list() == [] and not mount.exists()
    assert store.cache_mounts.remove(listed.folder), "gone is gone"
    store.collect(extent=Extent.ROWS)
    assert os.listdir(store.root / "trash") == []


def test_a_directory_somebody_took_away_is_made_again(store: Store) -> None:
    with store.cache_mounts.acquire("npm") as mount:
        pass
    (listed,) = store.cache_mounts.list()
    mount.rmdir()
    mount.parent.rmdir()
    assert store.cache_mounts.size(listed.folder) == 0
    with store.cache_mounts.acquire("npm") as again:
        assert again != mount and again.is_dir()


def test_a_way_to_share_that_there_is_not_is_refused(store: Store) -> None:
    with (
        pytest.raises(UnknownSharing, match="unknown cache sharing mode 'sometimes'") as refused,
        store.cache_mounts.acquire("npm", "sometimes"),
    ):
        raise AssertionError
    assert refused.value.hint == "one of shared, private, locked"


def test_one_whose_making_was_killed_is_swept_by_the_next_operation(config: Config) -> None:
    with Store.open(config):
        pass
    child = os.fork()
    if not child:
        arm("cache-mount-named")
        with Store.open(config) as mine, mine.cache_mounts.acquire("npm"):
            os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    with Store.open(config) as store:
        assert store.cache_mounts.list() == []
        with store.lease("next"):
            pass
        assert os.listdir(store.root / "cache-mounts") == [] == os.listdir(store.root / "trash")
        assert store.check() == []
