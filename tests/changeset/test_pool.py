"""Unpacking in other processes: results, errors and deaths come back; nothing is left behind."""

from __future__ import annotations

import concurrent.futures
import gzip
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.layers import Layer, Workshop
from veneer.changeset.growing import Aborted, Feeder
from veneer.changeset.index import LayerIndex
from veneer.changeset.pool import PoolClosed, UnpackPool, WorkerDied
from veneer.changeset.tar import BadArchive
from veneer.changeset.unpack import Unpacked
from veneer.changeset.whiteout import WhiteoutStyle
from veneer.changeset.worker import DiffIDMismatch
from veneer.errors import Corrupt
from veneer.oci.digest import DiffID, Digest


@pytest.fixture
def pool() -> Iterator[UnpackPool]:
    with UnpackPool(2) as pool:
        yield pool


class Job:
    """A blob file, a root and an index file, handed to a pool and closed at once."""

    def __init__(self, base: Path, data: bytes = b"") -> None:
        base.mkdir()
        self.root, self.blob, self.index = base / "root", base / "blob", base / "index"
        self.root.mkdir()
        self.blob.write_bytes(data)

    def start(
        self,
        pool: UnpackPool,
        *,
        wake_fd: int | None = None,
        expect: DiffID | None = None,
        digest: Digest | None = None,
        weight: int = 0,
    ) -> concurrent.futures.Future[Unpacked]:
        fds = [
            os.open(self.blob, os.O_RDONLY),
            os.open(self.root, os.O_RDONLY),
            os.open(self.index, os.O_RDWR | os.O_CREAT),
        ]
        try:
            return pool.unpack(
                fds[0], wake_fd, fds[1], fds[2], WhiteoutStyle.OVERLAY,
                expect=expect, what="layer 7", digest=digest, weight=weight,
            )  # fmt: skip
        finally:
            for fd in fds:
                os.close(fd)


def who_has(pool: UnpackPool, root: Path) -> int:
    """The worker that unpacks into `root`, once there is one."""
    while True:
        for pid in [worker.process.pid for worker in list(pool._workers)]:
            for fd in os.listdir(f"/proc/{pid}/fd"):
                try:
                    if os.readlink(f"/proc/{pid}/fd/{fd}") == str(root):
                        return pid
                except FileNotFoundError:
                    continue  # closed meanwhile


def test_a_layer_is_unpacked_elsewhere_exactly_as_here(pool: UnpackPool, tmp_path: Path, workshop: Workshop) -> None:
    layer = Layer().dir(b"d").file(b"d/f", b"x", mode=0o666).file(b"e/g").hardlink(b"l", b"lower").file(b".wh.w")
    job = Job(tmp_path / "job", layer.tar())
    done = workshop.unpack(layer)
    assert job.start(pool).result() == done.unpacked
    with LayerIndex.open(job.index) as index:
        assert list(index) == list(done.index)
    assert (job.root / "d/f").stat().st_mode & 0o777 == 0o666


def test_a_machine_without_a_place_for_temporary_files_unpacks_too(
    pool: UnpackPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    assert Job(tmp_path / "job", Layer().file(b"f").tar()).start(pool).result().entries == 1


def test_many_jobs_share_a_few_workers(pool: UnpackPool, tmp_path: Path) -> None:
    jobs = [Job(tmp_path / str(number), Layer().file(b"f", b"%d" % number).tar()) for number in range(12)]
    results = [future.result() for future in [job.start(pool) for job in jobs]]
    assert [result.entries for result in results] == [1] * 12
    assert [(job.root / "f").read_text() for job in jobs] == [str(number) for number in range(12)]
    assert len(pool._workers) <= 2


def test_two_layers_are_unpacked_at_the_same_time(pool: UnpackPool, tmp_path: Path) -> None:
    """Each waits for its own download, and the one begun last is finished first."""
    one, two = Job(tmp_path / "one"), Job(tmp_path / "two")
    data = Layer().file(b"f", b"x").tar()
    with Feeder() as first, Feeder() as second:
        slow, quick = one.start(pool, wake_fd=first.wake_fd), two.start(pool, wake_fd=second.wake_fd)
        two.blob.write_bytes(data)
        second.finish(len(data))
        assert quick.result().entries == 1
        assert not slow.done()
        one.blob.write_bytes(data)
        first.finish(len(data))
        assert slow.result().entries == 1


def test_of_the_layers_that_wait_the_weightiest_goes_first(tmp_path: Path) -> None:
    data = Layer().file(b"f").tar()
    done: list[int] = []
    with UnpackPool(1) as pool, Feeder() as feeder:
        busy = Job(tmp_path / "busy").start(pool, wake_fd=feeder.wake_fd)
        who_has(pool, tmp_path / "busy/root")
        jobs = [Job(tmp_path / str(number), data) for number in range(4)]
        futures = [job.start(pool, weight=weight) for job, weight in zip(jobs, (1, 3, 2, 3), strict=True)]
        for number, future in enumerate(futures):
            future.add_done_callback(lambda _, number=number: done.append(number))  # type: ignore[misc]
        feeder.abort()
        with pytest.raises(Aborted):
            busy.result()
        concurrent.futures.wait(futures)
    assert done == [1, 3, 2, 0]


def test_workers_can_be_started_ahead_of_their_jobs(pool: UnpackPool, tmp_path: Path) -> None:
    pool.start(5)
    assert len(pool._threads) == 2
    assert Job(tmp_path / "a", Layer().file(b"f").tar()).start(pool).result().entries == 1
    pool.start(2)
    assert len(pool._threads) == 2


def test_a_worker_that_cannot_be_started_fails_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with UnpackPool(1) as pool:
        with monkeypatch.context() as patched:
            patched.setattr(sys, "executable", "/no/such/python")
            pool.start(1)
            with pytest.raises(FileNotFoundError):
                Job(tmp_path / "a", Layer().tar()).start(pool).result()
        assert Job(tmp_path / "b", Layer().file(b"f").tar()).start(pool).result().entries == 1


def test_a_worker_that_dies_at_its_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("veneer.changeset.pool._START", "raise SystemExit('no such luck')")
    with UnpackPool(1) as pool, pytest.raises(WorkerDied, match="ended with exit status 1: no such luck"):
        Job(tmp_path / "a", Layer().tar()).start(pool).result()


def test_a_blob_proven_by_its_writer_is_hashed_again_only_where_it_is_compressed(
    pool: UnpackPool, tmp_path: Path
) -> None:
    tar = Layer().file(b"f", os.urandom(3 << 20)).tar()
    proven = Digest.of(b"what somebody else says")
    plain = Job(tmp_path / "plain", tar).start(pool, digest=proven)
    assert plain.result().diff_id == proven
    compressed = Job(tmp_path / "compressed", gzip.compress(tar, 1)).start(pool, digest=proven)
    assert compressed.result().diff_id == Digest.of(tar)
    other = Digest("sha512:" + hashlib.sha512(tar).hexdigest())
    assert Job(tmp_path / "other", tar).start(pool, digest=other).result().diff_id == Digest.of(tar)


def test_a_layer_that_fails_does_not_wait_for_the_rest_of_its_download(pool: UnpackPool, tmp_path: Path) -> None:
    job = Job(tmp_path / "job", Layer().file(b"../out", b"x").file(b"big", bytes(5 << 20)).tar())
    with Feeder() as feeder:
        feeder.advanced(3 << 20)  # and nothing more comes, and nobody says that it is over
        with pytest.raises(BadArchive, match=r"'\.\.' component"):
            job.start(pool, wake_fd=feeder.wake_fd).result(timeout=60)


def test_a_download_that_stops_aborts_the_unpacking(pool: UnpackPool, tmp_path: Path) -> None:
    job = Job(tmp_path / "job")
    with Feeder() as feeder:
        future = job.start(pool, wake_fd=feeder.wake_fd)
        job.blob.write_bytes(Layer().file(b"f", b"x").tar()[:600])
        feeder.advanced(600)
        feeder.abort()
        with pytest.raises(Aborted):
            future.result()


def test_errors_come_back_as_what_they_are(pool: UnpackPool, tmp_path: Path) -> None:
    with pytest.raises(BadArchive, match=r"layer 7: '\.\./x': name with a '\.\.'") as caught:
        Job(tmp_path / "a", Layer().file(b"../x").tar()).start(pool).result()
    assert isinstance(caught.value, Corrupt)
    with pytest.raises(BadArchive, match="not a tar") as caught:
        Job(tmp_path / "b", b"rubbish" * 200).start(pool).result()
    assert caught.value.hint
    assert Job(tmp_path / "c", Layer().file(b"f").tar()).start(pool).result().entries == 1


def test_a_layer_that_is_not_the_promised_one_is_refused(pool: UnpackPool, tmp_path: Path) -> None:
    data = Layer().file(b"f").tar()
    right, wrong = DiffID(Digest.of(data)), DiffID(Digest.of(b""))
    assert Job(tmp_path / "a", data).start(pool, expect=right).result().diff_id == right
    with pytest.raises(DiffIDMismatch, match=f"layer 7: the uncompressed layer is {right}, .* says {wrong}"):
        Job(tmp_path / "b", data).start(pool, expect=wrong).result()


def test_a_worker_that_is_killed_fails_its_own_job_only(pool: UnpackPool, tmp_path: Path) -> None:
    job = Job(tmp_path / "job")
    data = Layer().file(b"f", b"x").tar()
    with Feeder() as feeder:
        future = job.start(pool, wake_fd=feeder.wake_fd)
        job.blob.write_bytes(data)
        assert Job(tmp_path / "other", data).start(pool).result().entries == 1
        os.kill(who_has(pool, job.root), signal.SIGKILL)
        with pytest.raises(WorkerDied, match="layer 7: the process unpacking it was killed by signal 9"):
            future.result()
    assert Job(tmp_path / "after", data).start(pool).result().entries == 1


def test_a_worker_that_died_while_idle_is_replaced(pool: UnpackPool, tmp_path: Path) -> None:
    data = Layer().file(b"f").tar()
    Job(tmp_path / "a", data).start(pool).result()
    (worker,) = pool._workers
    worker.process.kill()
    worker.process.wait()
    assert Job(tmp_path / "b", data).start(pool).result().entries == 1


def test_closing_ends_a_job_that_would_wait_for_ever(tmp_path: Path) -> None:
    pool = UnpackPool(1)
    with Feeder() as feeder:
        waiting = Job(tmp_path / "a").start(pool, wake_fd=feeder.wake_fd)
        queued = Job(tmp_path / "b").start(pool, wake_fd=feeder.wake_fd)
        pool.close()
    with pytest.raises((PoolClosed, concurrent.futures.CancelledError)):
        waiting.result()
    with pytest.raises((PoolClosed, concurrent.futures.CancelledError)):
        queued.result()
    with pytest.raises(PoolClosed):
        Job(tmp_path / "c").start(pool)


def test_a_pool_leaves_no_process_and_no_descriptor(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with UnpackPool(2) as pool:
        Job(tmp_path / "a", Layer().file(b"f").tar()).start(pool).result()
        pids = [worker.process.pid for worker in pool._workers]
    assert len(os.listdir("/proc/self/fd")) <= before
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_no_worker_outlives_a_parent_that_is_killed(tmp_path: Path) -> None:
    """The worker is busy, so it is not reading the socket whose end it would notice."""
    script = (
        "import os, sys, signal\n"
        "from veneer.changeset.growing import Feeder\n"
        "from veneer.changeset.pool import UnpackPool\n"
        "from veneer.changeset.whiteout import WhiteoutStyle\n"
        "pool, feeder = UnpackPool(1), Feeder()\n"
        "root = os.open(sys.argv[1], os.O_RDONLY)\n"
        "blob = os.open(sys.argv[2], os.O_RDONLY)\n"
        "pool.unpack(blob, None, root, None, WhiteoutStyle.OVERLAY, expect=None, what='x').result()\n"
        "pool.unpack(blob, feeder.wake_fd, root, None, WhiteoutStyle.OVERLAY, expect=None, what='x')\n"
        "print([w.process.pid for w in pool._workers][0], flush=True)\n"
        "signal.pause()\n"
    )
    (tmp_path / "root").mkdir()
    (tmp_path / "blob").write_bytes(Layer().tar())
    arguments = [sys.executable, "-c", script, str(tmp_path / "root"), str(tmp_path / "blob")]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
        parent.wait()
    import select

    assert select.select([worker], [], [], 60)[0], "the worker still runs"
    os.close(worker)


def test_jobs_may_be_handed_in_from_several_threads(pool: UnpackPool, tmp_path: Path) -> None:
    entries: list[int] = []

    def work(number: int) -> None:
        entries.append(Job(tmp_path / str(number), Layer().file(b"f").tar()).start(pool).result().entries)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert entries == [1] * 6


def test_a_result_larger_than_any_socket_buffer_comes_back(pool: UnpackPool, tmp_path: Path) -> None:
    layer = Layer()
    for number in range(20_000):
        layer.hardlink(b"%d" % number, b"a file of a layer below")
    done = Job(tmp_path / "a", layer.tar()).start(pool).result()
    assert len(done.lower_links) == 20_000
