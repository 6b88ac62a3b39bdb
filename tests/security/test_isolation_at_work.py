"""What a container does to break out while something is done to it, and what of its files others can reach."""

from __future__ import annotations

import io
import stat
import tarfile
from collections.abc import Iterator

import pytest

from tests.security.conftest import IMAGE, SECRET, Host
from tests.support.containers import until
from tests.support.plain_user import UID

pytestmark = pytest.mark.usefixtures("root_only")
FLIPPER = """i=0; mkdir /real; echo up
while [ $((i+=1)) -lt 200000 ]; do
    ln -sfn /real /way; ln -sfn /proc/1/root/../../.. /way; ln -sfn /proc/self/cwd /way
done"""
"""By turns one thing and another; ends, where nobody is there to end it."""


@pytest.fixture
def flipping(host: Host) -> Iterator[Host]:
    """A container `box` of root's tree, one of whose paths never stays what it is."""
    host("run", "-d", "--network", "none", "--name", "box", IMAGE, "sh", "-c", FLIPPER)
    until(lambda: "up" in host("logs", "box").out)
    yield host
    host("rm", "-f", "box")


def test_who_flips_a_link_leads_no_exec_nor_copy_out(flipping: Host) -> None:
    for _ in range(5):
        done = flipping("exec", "-w", "/way", "box", "sh", "-c", f"pwd; ls; ls {SECRET} ../{SECRET}", check=False)
        assert f"\n{SECRET}\n" not in done.out
        copied = flipping("cp", f"box:/way/{SECRET}", "-", check=False)
        assert copied.code != 0, copied.out


def test_who_flips_a_link_has_it_committed_as_one_or_the_other_and_goes_on(flipping: Host) -> None:
    flipping("commit", "box", "flipped:1")
    assert flipping("inspect", "-f", "{{.State.Status}}", "box").out == "running\n"
    assert flipping("exec", "box", "sh", "-c", "cat /proc/1/status").out.split("State:")[1].split()[0] in "RSD"
    said = flipping("run", "--rm", "--network", "none", "flipped:1", "readlink", "/way", check=False)
    assert said.out.strip() in ("", "/real", "/proc/1/root/../../..", "/proc/self/cwd")
    flipping("rmi", "flipped:1")


def test_the_data_root_is_its_owners_alone(flipping: Host) -> None:
    root = flipping.root if flipping.user is None else flipping.root / ".local/share/veneer"
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    assert root.stat().st_uid == (0 if flipping.user is None else UID)
    [folder] = (root / "containers").iterdir()
    opened = {path.name: stat.S_IMODE(path.lstat().st_mode) & 0o077 for path in (folder, *folder.iterdir())}
    shown = {"hostname", "hosts", "resolv.conf"}
    assert {
        name for name, mode in opened.items() if mode and name not in shown and not name.endswith("-json.log")
    } == set()


def test_owners_are_exported_as_they_are_inside(host: Host) -> None:
    host("run", "--network", "none", "--name", "owner", IMAGE, "sh", "-c",
         "touch /f /g; chmod 4751 /f; chown 5:6 /f 2>/dev/null; mkfifo /p", check=False)  # fmt: skip
    path = host.root / "out.tar" if host.user else host.root.parent / "out.tar"
    host("export", "-o", "out.tar" if host.user else path, "owner")
    with tarfile.open(fileobj=io.BytesIO(path.read_bytes())) as tar:
        members = {member.name: member for member in tar}
    path.unlink()
    owner = (5, 6) if host.has_ids else (0, 0)
    assert (members["f"].uid, members["f"].gid) == owner
    assert (members["g"].uid, members["g"].gid, members["p"].isfifo()) == (0, 0, True)
    host("rm", "owner")
