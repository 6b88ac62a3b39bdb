"""What a container takes of the machine just now: processors, memory, network, disks, processes.

Sources: docker/cli cli/command/container/stats_helpers.go; moby daemon/stats_unix.go; Linux
Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/{cpuacct,memory,blkio-controller}.rst; proc(5), proc_pid_net(5).
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from veneer.run.runtime import CGROUPS
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from veneer.run.monitor.state import State


class Sample(Value):
    """Counters of one moment; `at` is on the monotonic clock, `processor` seconds of all processors together.

    `memory` does not count what the kernel keeps of files that nobody has used lately; bytes all others.
    """

    __slots__ = ()
    at: float = 0.0
    processor: float = 0.0
    memory: int = 0
    memory_limit: int = 0
    received: int = 0
    sent: int = 0
    read: int = 0
    written: int = 0
    processes: int = 0


NOTHING = Sample()
"""Of a container that does not run."""


def processor_share(before: Sample, after: Sample) -> float:
    """Per cent of one processor that was taken between two samples."""
    elapsed = after.at - before.at
    return 100.0 * max(0.0, after.processor - before.processor) / elapsed if elapsed > 0 else 0.0


def sample(found: State, pids: Sequence[int] = ()) -> Sample:
    """One look at a container that runs; `pids`, of which it consists, are needed without a control group only.

    NOTHING for one that has ended meanwhile.
    """
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        received, sent = _network(found)
        if not found.cgroup:
            made = _of_processes(pids)
        elif os.path.exists(f"{CGROUPS}/cgroup.controllers"):
            made = _version_2(f"{CGROUPS}{found.cgroup}")
        else:
            made = _version_1(found.cgroup)
        return made.replaced(at=time.monotonic(), received=received, sent=sent)
    return NOTHING


def _version_2(group: str) -> Sample:
    memory = _number(f"{group}/memory.current") - _named(f"{group}/memory.stat", "inactive_file")
    read = written = 0
    for line in _lines(f"{group}/io.stat"):
        facts = dict(word.partition("=")[::2] for word in line.split()[1:])
        read += int(facts.get("rbytes", 0))
        written += int(facts.get("wbytes", 0))
    return Sample(
        processor=_named(f"{group}/cpu.stat", "usage_usec") / 1e6,
        memory=max(0, memory), memory_limit=_limit(_number(f"{group}/memory.max")),
        read=read, written=written, processes=_number(f"{group}/pids.current"),
    )  # fmt: skip


def _version_1(group: str) -> Sample:
    memory = f"{CGROUPS}/memory{group}"
    used = _number(f"{memory}/memory.usage_in_bytes") - _named(f"{memory}/memory.stat", "total_inactive_file")
    moved = {"Read": 0, "Write": 0}
    for line in _lines(f"{CGROUPS}/blkio{group}/blkio.throttle.io_service_bytes_recursive"):
        words = line.split()
        if len(words) == 3 and words[1] in moved:
            moved[words[1]] += int(words[2])
    return Sample(
        processor=_number(f"{CGROUPS}/cpuacct{group}/cpuacct.usage") / 1e9,
        memory=max(0, used), memory_limit=_limit(_number(f"{memory}/memory.limit_in_bytes")),
        read=moved["Read"], written=moved["Write"], processes=_number(f"{CGROUPS}/pids{group}/pids.current"),
    )  # fmt: skip


def _of_processes(pids: Iterable[int]) -> Sample:
    """What its processes have taken, each by itself: those that have ended are not in it."""
    tick, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    processor = memory = read = written = count = 0
    for pid in pids:
        with contextlib.suppress(OSError):  # it has ended
            fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
            processor += int(fields[11]) + int(fields[12])
            memory += int(fields[21]) * page
            count += 1
            read += _named(f"/proc/{pid}/io", "read_bytes:")
            written += _named(f"/proc/{pid}/io", "write_bytes:")
    return Sample(processor=processor / tick, memory=memory, memory_limit=_limit(0), read=read, written=written,
                  processes=count)  # fmt: skip


def _network(found: State) -> tuple[int, int]:
    """Bytes in and out of the container's network; none for one that is on the host's, or on none."""
    own = os.stat("/proc/self/ns/net")
    if not found.pid or os.path.samestat(os.stat(f"/proc/{found.pid}/ns/net"), own):
        return 0, 0
    received = sent = 0
    for line in list(_lines(f"/proc/{found.pid}/net/dev"))[2:]:
        name, _, counters = line.partition(":")
        if name.strip() != "lo":
            words = counters.split()
            received += int(words[0])
            sent += int(words[8])
    return received, sent


def _limit(limit: int) -> int:
    """No container has more than the machine."""
    machine = _named("/proc/meminfo", "MemTotal:") << 10
    return limit if 0 < limit < machine else machine


def _lines(path: str) -> Iterator[str]:
    # A controller that is not there counts nothing.
    with contextlib.suppress(FileNotFoundError), open(path, encoding="ascii") as file:
        yield from file


def _number(path: str) -> int:
    """The number in a file; 0 for "max", and where there is no file."""
    text = "".join(_lines(path)).strip()
    return int(text) if text.isdigit() else 0


def _named(path: str, name: str) -> int:
    """The number behind a name in a file of such lines."""
    for line in _lines(path):
        word, _, rest = line.partition(" ")
        if word == name:
            return int(rest.split()[0])
    return 0
