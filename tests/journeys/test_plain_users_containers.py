"""What a plain user does to his containers: no root, no control groups, and a terminal's worth of commands."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.containers import until
from tests.support.plain_user import PlainUser, plain_user
from tests.support.private_host import ask, reaches
from tests.support.programs import needs
from tests.support.rootfs import busybox_tar

pytestmark = pytest.mark.usefixtures("root_only")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlainUser]:
    needs("busybox", "crun", "slirp4netns")
    folder = tmp_path_factory.mktemp("plain")
    with plain_user(folder, further_ids=True) as user:
        busybox_tar(folder / "busybox.tar").chmod(0o644)
        user.veneer("import", "busybox.tar", "busybox:1")
        yield user


@pytest.fixture
def user(home: PlainUser) -> Iterator[PlainUser]:
    yield home
    if left := home.veneer("ps", "-aq").out.split():
        home.veneer("rm", "-f", *left)


def test_a_container_lives_and_is_looked_at(user: PlainUser) -> None:
    user.veneer("run", "-d", "--network", "none", "--name", "box", "busybox:1", "sh", "-c", "echo up; sleep 997; true")
    assert user.veneer("exec", "-u", "5:6", "box", "id", "-u").out == "5\n"
    assert user.veneer("exec", "box", "sh", "-c", "exit 7", check=False).code == 7
    until(lambda: user.veneer("logs", "box").out == "up\n")
    until(lambda: "sleep 997" in user.veneer("top", "box", "-o", "pid,args").out)
    shown = user.veneer("stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}", "box").out
    assert shown == "box 2\n"
    assert "control groups" in user.veneer("pause", "box", check=False).err
    user.veneer("restart", "-t", "0", "box")
    until(lambda: user.veneer("logs", "box").out == "up\nup\n")
    user.veneer("stop", "-t", "0", "box")
    assert user.veneer("wait", "box").out == "137\n"
    assert "die" in user.veneer("events", "--since", "1h", "--until", "0s").out


def test_one_that_runs_is_committed_as_it_stands_and_who_stood_still_before_stays_so(user: PlainUser) -> None:
    forever = "i=0; while [ $((i+=1)) -lt 50000 ]; do echo $i >/next; mv /next /i; sleep 0.02; done"
    script = f"sleep 999 & kill -STOP $!; echo $! >/pid; {forever}"
    user.veneer("run", "-d", "--network", "none", "--name", "box", "busybox:1", "sh", "-c", script)
    read = ("exec", "box", "sh", "-c", "cat /i; grep State /proc/1/status /proc/$(cat /pid)/status")
    until(lambda: user.veneer(*read, check=False).code == 0)
    for _ in range(2):
        user.veneer("container", "snapshot", "box", "snapshot:1")
    number, first, second = user.veneer(*read).out.splitlines()
    assert "T (stopped)" not in first and "T (stopped)" in second
    until(lambda: user.veneer(*read).out.splitlines()[0] != number)
    kept = user.veneer("run", "--rm", "--network", "none", "snapshot:1", "cat", "/i").out
    assert int(kept) <= int(number)
    user.veneer("rmi", "snapshot:1")
    user.veneer("run", "-d", "--network", "none", "--pid", "host", "--name", "mixed", "busybox:1", "sleep", "999")
    done = user.veneer("commit", "mixed", check=False)
    assert done.code == 1 and "control groups" in done.err and "--pause=false" in done.err, done.err


def test_its_port_is_reached_on_the_address_that_was_asked_for_and_its_way_out_is_slirps(user: PlainUser) -> None:
    serve = "echo hello >/index.html; httpd -f -p 80 -h /"
    user.veneer("run", "-d", "-p", "127.0.0.1::80", "--name", "box", "busybox:1", "sh", "-c", serve)
    address, _, port = user.veneer("port", "box", "80").out.strip().rpartition(":")
    assert address == "127.0.0.1"
    until(lambda: reaches("127.0.0.1", int(port)))
    assert ask("127.0.0.1", int(port), b"GET / HTTP/1.0\r\n\r\n").endswith("hello\n")
    assert not reaches("127.0.0.2", int(port)) and not reaches("::1", int(port))
    assert "default via 10.0.2.2" in user.veneer("exec", "box", "ip", "route").out
    done = user.veneer("run", "--rm", "-p", f"127.0.0.1:{port}:80", "busybox:1", "true", check=False)
    assert done.code == 125 and "port is already allocated" in done.err


def test_files_of_one_that_runs_are_copied_from_and_to_where_its_tree_is_mounted_by_fuse(user: PlainUser) -> None:
    """The kernel lets nobody look at such a mount who is not in the user namespace it was made in."""
    by_fuse = ("--root", "by-fuse", "--storage-driver", "fuse-overlayfs")
    came = user.veneer(*by_fuse, "import", "busybox.tar", "busybox:1", check=False)
    if "no usable storage driver" in came.err:
        pytest.skip(came.err)
    user.veneer(*by_fuse, "run", "-d", "--network", "none", "--name", "box", "busybox:1", "sleep", "995")
    try:
        user.veneer(*by_fuse, "cp", "-", "box:/tmp", stdin=(user.home / "busybox.tar").read_bytes())
        assert user.veneer(*by_fuse, "exec", "box", "cat", "/tmp/etc/group").out.startswith("root:")
        user.veneer(*by_fuse, "cp", "box:/tmp/etc", "etc")
        assert (user.home / "etc/group").read_text().startswith("root:")
        program = user.python_words("from veneer.cli.main import main; main()")
        elsewhere = user.veneer("unshare", *program, *by_fuse, "cp", "box:/tmp/etc", "more", check=False)
        assert elsewhere.code == 1
        assert "are mounted by FUSE in another user namespace" in elsewhere.err
    finally:
        user.veneer(*by_fuse, "rm", "-f", "box")


def monitor_of_the_one(user: PlainUser) -> int:
    """The host's number of the monitor of the only container there is."""
    return int(user.python(
        "from pathlib import Path\nfrom veneer.run.monitor import state\n"
        "[folder] = Path('.local/share/veneer/containers').iterdir()\nprint(state.read(folder).monitor)"
    ).out)  # fmt: skip


def test_what_a_killed_monitor_leaves_is_nothing(user: PlainUser) -> None:
    user.veneer("run", "-d", "--network", "none", "--name", "box", "busybox:1", "sleep", "996")
    os.kill(monitor_of_the_one(user), signal.SIGKILL)
    until(lambda: user.veneer("wait", "box").out == "137\n")
    assert user.veneer("start", "box").out == "box\n"
    assert user.veneer("exec", "box", "true").code == 0
    user.veneer("rm", "-f", "box")
    # One that nobody is left to remove is removed by whoever looks.
    user.veneer("run", "-d", "--rm", "--network", "none", "-v", "/anonymous", "busybox:1", "sleep", "996")
    os.kill(monitor_of_the_one(user), signal.SIGKILL)
    until(lambda: user.veneer("ps", "-aq").out == "")
    assert user.veneer("volume", "ls", "-q").out == ""


@pytest.mark.parametrize("further_ids", [True, False])
def test_one_that_was_left_alone_is_removed_at_its_end(tmp_path: Path, further_ids: bool) -> None:
    needs("busybox", "crun")
    with plain_user(tmp_path, further_ids=further_ids) as user:
        busybox_tar(tmp_path / "busybox.tar").chmod(0o644)
        user.veneer("import", "busybox.tar", "busybox:1")
        user.veneer("run", "-d", "--rm", "--network", "none", "busybox:1", "true")
        until(lambda: user.veneer("ps", "-aq").out == "")
