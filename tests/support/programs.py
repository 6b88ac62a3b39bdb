"""Starting and running other programs; for the tests, the demo and the benchmarks."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support import leaks

VENEER = Path(sys.executable).parent / "veneer"
"""The command as `make setup` installs it."""


def needs(*programs: str) -> None:
    """Skip the test, saying so, where one of these programs is not installed."""
    import pytest

    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (make test and make compat install what they need)")


class ProgramFailed(AssertionError):
    """A program that had to succeed did not; the message has everything it said."""


@dataclass(frozen=True)
class Output:
    """What a finished program left: `code`, and its two streams as text."""

    code: int
    out: str
    err: str


def run(*command: str | Path, stdin: bytes | None = None, env: dict[str, str] | None = None,
        check: bool = True) -> Output:  # fmt: skip
    """Run a program to its end.  Raises ProgramFailed where it fails, unless `check` is False."""
    done = subprocess.run([str(word) for word in command], input=stdin if stdin is not None else b"",
                          capture_output=True, env=env, check=False)  # fmt: skip
    output = Output(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
    if check and output.code != 0:
        raise ProgramFailed(f"{' '.join(map(str, command))}: exit {output.code}\n{output.err}{output.out}")
    return output


def veneer(*words: str | Path, root: Path, stdin: bytes | None = None, check: bool = True) -> Output:
    """Run the installed `veneer` command on the store at `root`."""
    return run(VENEER, "--root", root, *words, stdin=stdin, check=check)


class Background:
    """A program that runs until `stop()`; its output is in `log`.  It dies with the tests, however they end."""

    def __init__(self, command: Sequence[str | Path], log: Path, *, env: dict[str, str] | None = None) -> None:
        self.log = log
        with log.open("wb") as out:
            # setpriv asks the kernel to end the program when its parent dies, kill -9 included.
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *map(str, command)],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, env=env,
            )  # fmt: skip
        leaks.outlives_a_test(self._process.pid)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def stop(self) -> None:
        """Ask it to end; kill it after ten seconds."""
        if self.running:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()


def process_with(words: str) -> int:
    """The one process that has this in its command line."""
    found = []
    for process in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if words.encode() in Path(f"/proc/{process}/cmdline").read_bytes():
                found.append(int(process))
    (only,) = found
    return only
