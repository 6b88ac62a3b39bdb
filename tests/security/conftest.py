"""What the tests of layers share, and the hosts that those of containers are on."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.layers import Workshop
from tests.support.plain_user import PlainUser, plain_user
from tests.support.programs import Output, needs, veneer

IMAGE = "box:1"
SECRET = "CANARY"
"""A file beside the data root: nothing leads a container to it."""


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


class Host:
    """An engine with one image: root's, or a plain user's.  Call it like the command.

    `has_ids`: containers can be other users than root.
    """

    def __init__(self, root: Path, user: PlainUser | None, *, has_ids: bool = True) -> None:
        self.root = root
        self.user = user
        self.has_ids = has_ids

    @property
    def data_root(self) -> str:
        """Its path to the host's commands."""
        return str(self.root) if self.user is None else self("info", "--format", "{{.DockerRootDir}}").out.strip()

    def __call__(self, *words: str | Path, check: bool = True) -> Output:
        if self.user is not None:
            return self.user.veneer(*words, check=check)
        return veneer(*words, root=self.root, check=check)

    def run(self, runtime: str, *words: str | Path, check: bool = True) -> Output:
        return self("run", "--rm", "--network", "none", "--runtime", runtime, *words, check=check)


def python_shown() -> tuple[str, list[str]]:
    """Our interpreter, and the options that show it to a container of a busybox image."""
    path = os.path.realpath(str(getattr(sys, "_base_executable", sys.executable)))
    prefix = sys.base_prefix
    shown = [prefix] if prefix != "/usr" else [path]
    for each in ("/usr/lib", "/lib", "/lib64"):
        if os.path.isdir(each):
            shown.append(f"{os.path.realpath(each)}:{each}")
    return path, [word for each in shown for word in ("-v", f"{each if ':' in each else f'{each}:{each}'}:ro")]


@pytest.fixture(scope="module", params=["root", "ranges", "one id"])
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, busybox: Path) -> Iterator[Host]:
    """Of root, of a plain user with ranges of further ids, and of one with his own id alone."""
    needs("crun", "runc")
    folder = tmp_path_factory.mktemp("isolation")
    folder.chmod(0o755)
    if request.param == "root":
        (folder / SECRET).write_text("secret")
        made = Host(folder / "root", None)
        made("import", busybox, IMAGE)
        yield made
        assert (folder / SECRET).read_text() == "secret"
        return
    home = folder / "home"
    home.mkdir()
    with plain_user(home, further_ids=request.param == "ranges") as user:
        (home / SECRET).write_text("secret")
        made = Host(home, user, has_ids=request.param == "ranges")
        (home / "busybox.tar").write_bytes(busybox.read_bytes())
        made("import", "/mnt/busybox.tar", IMAGE)
        yield made
        assert (home / SECRET).read_text() == "secret"
        # What he has stored belongs to ids that only a namespace of his can remove.
        user.veneer("unshare", "rm", "-rf", "/mnt/.local", "/mnt/.cache", check=False)


@pytest.fixture(scope="module", params=["crun", "runc"])
def runtime(request: pytest.FixtureRequest) -> str:
    return str(request.param)
