"""Keys given by file: an agent of the build's own has them, and ends with the build, however that ends."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.programs import run
from veneer.build.keys import BadKey, agents, checked

KILLED = """
import os, signal, sys
from pathlib import Path
from veneer.build.keys import agents
with agents((("default", sys.argv[1]),), lambda: Path(sys.argv[2])) as pairs:
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A private key that others may read, as in many a checkout."""
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "mine", "-f", tmp_path / "key")
    (tmp_path / "key").chmod(0o644)
    return tmp_path / "key"


def has(agent: str) -> list[str]:
    """The comments of the keys that an agent has."""
    found = subprocess.run(["ssh-add", "-l"], env={"SSH_AUTH_SOCK": agent}, capture_output=True, text=True, check=True)
    return [line.split()[2] for line in found.stdout.splitlines()]


def test_keys_are_had_by_an_agent_as_long_as_the_build_goes_on(key: Path, tmp_path: Path) -> None:
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "other", "-f", tmp_path / "other")
    scratch = tmp_path / ("long" * 30)  # no socket may have such a path
    pairs = (("default", str(key)), ("both", str(key)), ("both", str(tmp_path / "other")))
    checked(pairs)
    with agents(pairs, lambda: scratch) as found:
        agent = dict(found)
        assert (has(agent["default"]), has(agent["both"])) == (["mine"], ["mine", "other"])
        held = [os.readlink(agent["default"].rpartition("/")[0])]
    assert held == [str(scratch)] and os.listdir(scratch) == []


def test_agents_that_are_somebody_elses_stay_as_they_are(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(os.fspath(tmp_path / "agent"))
        pairs = (("default", str(tmp_path / "agent")),)
        checked(pairs)
        with agents(pairs, lambda: tmp_path / "unused") as found:
            assert found == pairs
        with pytest.raises(BadKey, match="either the socket of one agent or keys"):
            checked((*pairs, *pairs))
    assert not (tmp_path / "unused").exists()


def test_an_agent_ends_with_a_build_that_is_killed(key: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, key, tmp_path / "scratch"], check=False)
    deadline = time.monotonic() + 60
    while os.listdir(tmp_path / "scratch"):
        assert time.monotonic() < deadline, "its socket is still there"
        time.sleep(0.01)


def test_what_is_no_key_or_wants_a_passphrase_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    for path, why in ((tmp_path / "text", "is no private key"), (tmp_path / "none", "no such file"),
                      (tmp_path, "is a directory")):  # fmt: skip
        with pytest.raises(BadKey, match=why):
            checked((("default", str(path)),))
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", tmp_path / "closed")
    pairs = (("default", str(tmp_path / "closed")),)
    with pytest.raises(BadKey, match="it wants a passphrase") as refused, agents(pairs, lambda: tmp_path / "scratch"):
        pass
    assert "ssh-add" in refused.value.hint
