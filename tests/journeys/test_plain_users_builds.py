"""A plain user builds as root does: RUN with any network, owners as far as he has ids, and nothing left behind."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.plain_user import PlainUser, plain_user
from tests.support.programs import needs, veneer

_EPOCH = "1700000000"
_OWNERS = """\
FROM scratch
ADD busybox.tar /
RUN --network=none echo hi >/f && chown 33:44 /f && chmod 4755 /f && rm -r /var && mkdir /var && mkfifo /pipe
COPY --chown=1000:5 file /owned/file
"""


@pytest.fixture(params=[True, False], ids=["ranges", "one-id"])
def user(request: pytest.FixtureRequest, tmp_path: Path, busybox: Path) -> Iterator[PlainUser]:
    needs("runc", "slirp4netns")
    context = tmp_path / "home/context"
    context.mkdir(parents=True)
    shutil.copy(busybox, context / "busybox.tar")
    (context / "file").write_text("content")
    with plain_user(tmp_path / "home", further_ids=request.param) as user:
        yield user


def _build(user: PlainUser, dockerfile: str, *words: str, check: bool = True) -> tuple[int, str, str]:
    (user.home / "context/Dockerfile").write_text(dockerfile)
    done = user.veneer("build", "--progress=plain", *words, "context", check=check)
    return done.code, done.out, done.err


def _members(tar: bytes) -> dict[str, tuple[int, int, int]]:
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        return {member.name: (member.uid, member.gid, member.mode) for member in archive}


def test_run_has_the_network_it_is_given_and_is_root(user: PlainUser) -> None:
    _, said, _ = _build(user, """\
FROM scratch
ADD busybox.tar /
RUN --network=none echo "uid $(id -u)"; ls /sys/class/net; cat /proc/self/setgroups
RUN ip -o address show tap0 && grep -q nameserver /etc/resolv.conf
RUN --network=host cat /proc/net/dev
RUN echo >/dev/null && test ! -s /etc/hostname || rm /etc/passwd
""", "--allow=network.host", "--tag=b:1")  # fmt: skip
    assert "uid 0\nlo\n" in said
    assert "10.0.2.100/24" in said
    assert "Successfully tagged b:1\n" in said
    assert user.veneer("system", "check", "--deep").out == "Everything stored is whole.\n"
    again = _build(user, (user.home / "context/Dockerfile").read_text(), "--allow=network.host")[1]
    assert again.count("Using cache") == 5


def test_with_ids_enough_the_image_is_roots_to_the_byte_and_without_it_is_as_near_as_can_be(
    user: PlainUser, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    dates = ("--source-date-epoch", _EPOCH, "--rewrite-timestamp")
    if "one-id" in request.node.name:
        code, said, err = _build(user, _OWNERS, *dates, check=False)
        assert code == 1
        assert "chown: /f: Invalid argument" in said + err
        assert "returned a non-zero code: 1" in err
        assert "if it was about owners: files can have no other owner here (" in err
        _build(user, _OWNERS.replace("chown 33:44 /f", "true"), *dates, "--tag=b:1")
    else:
        _build(user, _OWNERS, *dates, "--tag=b:1")
        built = veneer("build", "-q", *dates, user.home / "context", root=tmp_path / "root").out
        assert user.veneer("images", "-q", "--no-trunc").out == built
    user.veneer("export", "-o", "b.tar", "b:1")
    found = _members((user.home / "b.tar").read_bytes())
    assert found["owned/file"] == (1000, 5, 0o644)
    assert found["f"][2] == 0o4755
    user.veneer("save", "-o", "b.image.tar", "b:1")  # the layers' tars are packed from their files and indexes
    veneer("load", "-i", user.home / "b.image.tar", root=tmp_path / "other")
    veneer("export", "-o", tmp_path / "b.tar", "b:1", root=tmp_path / "other")
    assert _members((tmp_path / "b.tar").read_bytes()) == found
    assert user.veneer("system", "check", "--deep").out == "Everything stored is whole.\n"


def test_a_step_that_fails_is_told_with_its_status_and_leaves_nothing(user: PlainUser) -> None:
    mounts = ("unshare", "cat", "/proc/self/mounts")
    before = user.veneer(*mounts).out  # those of the machine, some of them of other tests
    code, said, err = _build(user, "FROM scratch\nADD busybox.tar /\nRUN --network=none echo before; exit 3\n",
                             check=False)  # fmt: skip
    assert code != 0
    assert "before\n" in said + err
    assert "returned a non-zero code: 3" in err
    assert user.veneer(*mounts).out == before
    assert list((user.home / ".local/share/veneer/ingest").iterdir()) == []
