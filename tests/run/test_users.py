"""USER is looked up in the tree, with docker's rules and docker's words."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from veneer.run.users import Identity, UnknownUser, identity

PASSWD = "root:x:0:0:root:/root:/bin/sh\nbroken\napp:x:1000:1001::/home/app:/bin/sh\nother:x:1000:5::/o:\n"
GROUP = "root:x:0:\napp:x:1001:\nstaff:x:50:app,other\nextra:x:60:app\n"


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(PASSWD)
    (tmp_path / "etc/group").write_text(GROUP)
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


@pytest.mark.parametrize(("spec", "expected"), [
    ("", Identity(0, 0, (0,), "/root")),
    ("app", Identity(1000, 1001, (1001, 50, 60), "/home/app")),
    ("1000", Identity(1000, 1001, (1001, 50, 60), "/home/app")),
    ("app:staff", Identity(1000, 50, (50,), "/home/app")),
    ("app:77", Identity(1000, 77, (77,), "/home/app")),
    ("4242", Identity(4242, 0, (0,), "/")),
    ("4242:4343", Identity(4242, 4343, (4343,), "/")),
    (":staff", Identity(0, 50, (50,), "/root")),
])  # fmt: skip
def test_who_somebody_is(root: int, spec: str, expected: Identity) -> None:
    assert identity(root, spec) == expected


@pytest.mark.parametrize(("spec", "message"), [
    ("nobody", "unable to find user nobody: no matching entries in passwd file"),
    ("app:nogroup", "unable to find group nogroup: no matching entries in group file"),
    ("-1", "uids and gids must be in range 0-2147483647"),
    ("2147483648", "uids and gids must be in range 0-2147483647"),
    ("1:2147483648", "uids and gids must be in range 0-2147483647"),
])  # fmt: skip
def test_who_nobody_is(root: int, spec: str, message: str) -> None:
    with pytest.raises(UnknownUser, match=message):
        identity(root, spec)


def test_a_tree_without_the_files_has_numbers_only(tmp_path: Path) -> None:
    root = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    assert identity(root, "7:8") == Identity(7, 8, (8,), "/")
    assert identity(root, "") == Identity(0, 0, (0,), "/")
    os.close(root)


def test_links_out_of_the_tree_and_files_that_are_none_are_not_read(root: int, tmp_path: Path) -> None:
    (tmp_path / "etc/passwd").unlink()
    (tmp_path / "etc/passwd").symlink_to("../../../../../etc/passwd")
    (tmp_path / "etc/group").unlink()
    os.mkfifo(tmp_path / "etc/group")
    with pytest.raises(UnknownUser):
        identity(root, "daemon")
    with pytest.raises(UnknownUser):
        identity(root, "0:daemon")


def test_a_device_in_the_place_of_a_file_is_not_even_opened(root: int, tmp_path: Path, root_only: None) -> None:
    (tmp_path / "etc/passwd").unlink()
    os.mknod(tmp_path / "etc/passwd", stat.S_IFCHR | 0o600, os.makedev(1, 5))  # /dev/zero would be 16 MB of zeros
    with pytest.raises(UnknownUser):
        identity(root, "daemon")
    assert identity(root, "7") == Identity(7, 0, (0,), "/")
