"""What a container takes, read from trees of control groups as kernels write them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from veneer.engine.containers import statistics
from veneer.engine.containers.statistics import Sample, processor_share, sample
from veneer.run.monitor.state import State

GROUP = "/veneer-0123"
MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

VERSION_2 = {
    "cgroup.controllers": "cpuset cpu io memory hugetlb pids rdma misc\n",
    "veneer-0123/cpu.stat": """usage_usec 3719255
user_usec 2011833
system_usec 1707422
core_sched.force_idle_usec 0
nr_periods 0
nr_throttled 0
throttled_usec 0
nr_bursts 0
burst_usec 0
""",
    "veneer-0123/memory.current": "61501440\n",
    "veneer-0123/memory.max": "134217728\n",
    "veneer-0123/memory.stat": """anon 13271040
file 45223936
kernel 2203648
kernel_stack 49152
pagetables 307200
sec_pagetables 0
percpu 864
sock 0
shmem 0
file_mapped 9461760
inactive_anon 13234176
active_anon 24576
inactive_file 30461952
active_file 14761984
unevictable 0
slab_reclaimable 1561408
""",
    "veneer-0123/io.stat": """259:0 rbytes=20971520 wbytes=8192 rios=421 wios=2 dbytes=0 dios=0
8:16 rbytes=4096 wbytes=1048576 rios=1 wios=16 dbytes=0 dios=0
7:0\x20
""",
    "veneer-0123/pids.current": "7\n",
    "veneer-0123/pids.max": "4096\n",
}

VERSION_1 = {
    "memory/veneer-0123/memory.usage_in_bytes": "61501440\n",
    "memory/veneer-0123/memory.limit_in_bytes": "9223372036854771712\n",
    "memory/veneer-0123/memory.stat": """cache 45223936
rss 13271040
inactive_file 1000
total_cache 45223936
total_rss 13271040
total_inactive_file 30461952
total_active_file 14761984
""",
    "cpuacct/veneer-0123/cpuacct.usage": "3719255000\n",
    "blkio/veneer-0123/blkio.throttle.io_service_bytes_recursive": """259:0 Read 20971520
259:0 Write 8192
259:0 Sync 20979712
259:0 Async 0
259:0 Discard 0
259:0 Total 20979712
8:16 Read 4096
8:16 Write 1048576
Total 22032384
""",
    "pids/veneer-0123/pids.current": "7\n",
}


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # Where control groups are is the kernel's to say, not an option of ours.
    monkeypatch.setattr(statistics, "CGROUPS", os.fspath(tmp_path))
    return tmp_path


def record(tree: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(content)


def taken() -> Sample:
    return sample(State("running", pid=os.getpid(), cgroup=GROUP))


@pytest.mark.parametrize(("files", "limit"), [(VERSION_2, 134217728), (VERSION_1, MACHINE)], ids=["v2", "v1"])
def test_what_is_counted(tree: Path, files: dict[str, str], limit: int) -> None:
    record(tree, files)
    found = taken()
    assert found.processor == pytest.approx(3.719255)
    assert found.memory == 61501440 - 30461952, "without what the kernel could drop at once"
    assert (found.read, found.written) == (20971520 + 4096, 8192 + 1048576)
    assert found.processes == 7
    assert found.memory_limit == pytest.approx(limit, rel=0.05), "no container has more than the machine"
    assert (found.received, found.sent) == (0, 0), "it is on our network"


def test_a_limit_that_is_none_is_the_machine(tree: Path) -> None:
    record(tree, VERSION_2 | {"veneer-0123/memory.max": "max\n"})
    assert taken().memory_limit == pytest.approx(MACHINE, rel=0.05)


@pytest.mark.parametrize("gone", ["memory", "io", "pids", "cpu"])
def test_a_controller_that_is_not_there_counts_nothing(tree: Path, gone: str) -> None:
    record(tree, {name: text for name, text in VERSION_2.items() if not name.startswith(f"veneer-0123/{gone}.")})
    found = taken()
    nothing = {
        "memory": found.memory,
        "io": found.read + found.written,
        "pids": found.processes,
        "cpu": found.processor,
    }
    assert nothing[gone] == 0
    assert all(count for name, count in nothing.items() if name != gone)


def test_files_that_outweigh_what_is_used_are_not_a_negative_use(tree: Path) -> None:
    record(tree, VERSION_2 | {"veneer-0123/memory.current": "4096\n"})
    assert taken().memory == 0


def test_shares_are_of_one_processor() -> None:
    before, after = Sample(at=10.0, processor=1.0), Sample(at=12.0, processor=4.0)
    assert processor_share(before, after) == pytest.approx(150.0)
    assert processor_share(after, after) == 0.0
    assert processor_share(Sample(at=1.0, processor=5.0), Sample(at=2.0, processor=1.0)) == 0.0, "a group made anew"


def test_one_that_has_ended_takes_nothing(tree: Path) -> None:
    record(tree, VERSION_2)
    assert sample(State("running", pid=2**22 + 1, cgroup=GROUP)) == statistics.NOTHING
