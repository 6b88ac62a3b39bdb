"""The program that gives a container a network: what it says stops nothing, and is told when it fails."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from veneer.run.enclosure import enclosed
from veneer.run.network import PROGRAM, NetworkFailed, connecting

pytestmark = pytest.mark.usefixtures("root_only")


def program(path: Path, text: str) -> str:
    """A stand-in for slirp4netns, in Python: `ready` is the descriptor it reports to."""
    path.write_text(
        f"#!{sys.executable} -I\nimport os, sys\n"
        f"ready = next(int(each[11:]) for each in sys.argv if each.startswith('--ready-fd='))\n{text}\n"
    )
    path.chmod(0o755)
    return str(path)


def test_however_much_it_says_it_is_not_stopped(tmp_path: Path) -> None:
    talks = program(tmp_path / PROGRAM, "for _ in range(16): os.write(2, bytes(65536))\nos.write(ready, b'1')")
    with enclosed(network=True) as enclosure, connecting(enclosure, talks) as connection:
        connection.wait()


def test_the_last_it_said_is_told_when_it_ends_at_once(tmp_path: Path) -> None:
    fails = program(tmp_path / PROGRAM, "sys.exit('first\\n' * 10000 + 'the last word')")
    with (
        enclosed(network=True) as enclosure,
        connecting(enclosure, fails) as connection,
        pytest.raises(NetworkFailed, match=r"the last word|/dev/net/tun"),
    ):
        connection.wait()
