"""A plain user becomes root of a namespace of his own, with what ids he has, and is told why it is no more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.plain_user import FIRST, UID, PlainUser, plain_user
from veneer.drivers import userns
from veneer.drivers.userns import MACHINE, ONE, PLAIN, RANGES, Standing, standing


@pytest.fixture
def user(tmp_path: Path) -> Iterator[PlainUser]:
    with plain_user(tmp_path / "home", further_ids=True) as user:
        yield user


@pytest.fixture
def lone(tmp_path: Path) -> Iterator[PlainUser]:
    with plain_user(tmp_path / "home", further_ids=False) as user:
        yield user


_ENTER = "import os; from veneer.drivers import userns; here = userns.enter();"


def test_root_of_the_machine_enters_nothing() -> None:
    assert userns.enter() == standing()
    assert standing().kind == MACHINE
    assert userns.outside_root() == -1


def test_with_further_ids_files_can_belong_to_others(user: PlainUser) -> None:
    done = user.python(
        _ENTER
        + """
open("f", "w").close(); os.chown("f", 33, 42)
print(here.kind, os.getuid(), os.getgid(), here.keeps(33, 42), here.keeps(4294967000, 0))"""
    )
    assert done.out.split() == [RANGES, "0", "0", "True", "False"]
    found = (user.home / "f").stat()
    assert (found.st_uid, found.st_gid) == (FIRST + 32, FIRST + 41)


def test_without_further_ids_everything_is_the_users_own(lone: PlainUser) -> None:
    done = lone.python(
        _ENTER
        + """
open("f", "w").close()
print(here.kind, os.getuid(), here.keeps(0, 0), here.keeps(33, 33)); print(here.reason)
os.chown("f", 33, 33)""",
        check=False,
    )
    facts, reason = done.out.splitlines()
    assert facts.split() == [ONE, "0", "True", "False"]
    assert reason == "one id: /etc/subuid has no range for plain or 1234"
    assert "Invalid argument" in done.err
    assert (lone.home / "f").stat().st_uid == UID


def test_without_newuidmap_there_is_one_id_and_the_reason_says_so(user: PlainUser) -> None:
    done = user.run("env", "PATH=/nowhere", *user.python_words(_ENTER + "print(here.kind, here.reason)"))
    assert done.out.strip() == f"{ONE} one id: newgidmap is not installed"


def test_when_only_the_groups_have_their_ranges_there_is_one_of_both(user: PlainUser) -> None:
    code = _ENTER.replace("here = userns", "from veneer.drivers import userns_enter as e; e.further_ids ="
                          " lambda: (([(5000, 10)], [(100000, 10)]), ''); here = userns")  # fmt: skip
    done = user.python(code + "print(here.kind, here.uids, here.gids, here.reason)")
    assert done.out.startswith(f"{ONE} ((0, {UID}, 1),) ((0, {UID}, 1),) one id: newuidmap failed: ")


def test_ranges_that_newuidmap_refuses_leave_one_id(user: PlainUser) -> None:
    code = _ENTER.replace("here = userns", "from veneer.drivers import userns_enter as e; e.further_ids ="
                          " lambda: (([(5000, 10)], [(5000, 10)]), ''); here = userns")  # fmt: skip
    done = user.python(code + "print(here.kind, here.reason)")
    assert done.out.startswith(f"{ONE} one id: newgidmap failed: ")


def test_where_no_namespace_may_be_made_the_process_stays_what_it_is(user: PlainUser) -> None:
    done = user.python(
        _ENTER
        + """
with open("/proc/sys/user/max_user_namespaces", "w") as limit: limit.write("0")
os.setresgid(5, 5, 5); os.setresuid(5, 5, 5)
here = userns.enter()
print(here.kind, os.getuid()); print(here.reason)"""
    )
    facts, reason = done.out.splitlines()
    assert facts.split() == [PLAIN, "5"]
    assert reason == "no user namespace: the limit of user namespaces is reached (sysctl user.max_user_namespaces)"


def test_a_program_with_threads_is_told_what_to_do(user: PlainUser) -> None:
    done = user.python("""
import os, threading; from veneer.drivers import userns
go = threading.Event(); thread = threading.Thread(target=go.wait); thread.start()
try: userns.enter()
except userns.HasThreads as error: print(error.message, "|", error.hint)
print(os.getuid()); go.set(); thread.join()
while len(os.listdir("/proc/self/task")) > 1: pass  # the kernel's end of a thread comes a moment after Python's
print(userns.enter().kind)""")
    said, uid, kind = done.out.splitlines()
    assert said.startswith("a program that has threads cannot enter")
    assert "userns.enter() when it starts" in said
    assert (int(uid), kind) == (UID, RANGES)


def test_entering_twice_is_entering_once(user: PlainUser) -> None:
    done = user.python(_ENTER + "print(here == userns.enter(), open('/proc/self/uid_map').read().split()[1])")
    assert done.out.split() == ["True", str(UID)]


def test_the_working_directory_stays_and_mounts_are_nobody_elses(user: PlainUser) -> None:
    done = user.python(
        "import os; os.makedirs('d/e'); os.chdir('d')\n"
        + _ENTER
        + """
from pathlib import Path; from veneer.drivers.mount import Mount, attach
attach([Mount.bind(Path('/proc'))], Path('e')); print(os.getcwd(), os.path.exists('e/self'))"""
    )
    assert done.out.split() == ["/mnt/d", "True"]
    assert list((user.home / "d/e").iterdir()) == []


def test_a_mount_has_the_same_number_inside_and_outside(user: PlainUser) -> None:
    """Else layers would be taken for another mounting's, and unpacked anew by every command."""
    done = user.python("""
from pathlib import Path; from veneer.drivers import mount_syscalls, userns
from veneer.drivers.mount import unique_mount_id
before = unique_mount_id(Path("/mnt")); userns.enter()
print(before == unique_mount_id(Path("/mnt")), before == mount_syscalls.mount_id(b"/mnt"))""")
    assert done.out.split() == ["True", "False"]


def test_no_process_is_left_that_held_the_namespace(user: PlainUser) -> None:
    done = user.python(
        _ENTER
        + """
with open(f"/proc/self/task/{os.getpid()}/children") as children: print(repr(children.read()))"""
    )
    assert done.out.strip() == "''"


def test_settings_and_data_root_stay_the_users(user: PlainUser) -> None:
    done = user.python(_ENTER + "from veneer.config import Config; print(Config.load().root_name)")
    assert done.out.strip() == "/mnt/.local/share/veneer"


_MAP = ((0, 1234, 1), (1, 100000, 65536))


@pytest.mark.parametrize(("now", "then", "fits"), [
    (Standing(MACHINE, (), (), ""), "", True),
    (Standing(MACHINE, (), (), ""), "root", True),
    (Standing(MACHINE, (), (), ""), "one", False),
    (Standing(ONE, _MAP[:1], _MAP[:1], ""), "root", False),
    (Standing(ONE, _MAP[:1], _MAP[:1], ""), "ranges 0:1234:1/1:100000:65536 0:1234:1/1:100000:65536", False),
    (Standing(RANGES, _MAP, _MAP, ""), "one", False),
    (Standing(RANGES, _MAP, _MAP, ""), "ranges 0:1234:1/1:100000:65536 0:1234:1/1:100000:65536", True),
    (Standing(RANGES, (*_MAP, (65537, 300000, 9)), _MAP, ""), Standing(RANGES, _MAP, _MAP, "").recorded(), True),
    (Standing(RANGES, (_MAP[0], (1, 200000, 65536)), _MAP, ""), Standing(RANGES, _MAP, _MAP, "").recorded(), False),
])  # fmt: skip
def test_a_stores_files_mean_the_same_to_whoever_has_the_ids_they_were_given(
    now: Standing, then: str, fits: bool
) -> None:
    assert now.fits(then) is fits
