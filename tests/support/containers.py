"""Containers of a store of their own, run by the installed command; and a terminal for it to stand before."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from fcntl import ioctl
from pathlib import Path
from typing import Any

from tests.support.programs import VENEER, Output, needs, run
from tests.support.rootfs import busybox_tar
from veneer.engine.engine import Engine, open_engine

PATIENCE_SECONDS = 60.0
IMAGE = "busybox:1"


def until(true: Callable[[], Any], what: str = "") -> Any:
    """Look again and again until it is so; what it gave."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := true()):
        assert time.monotonic() < deadline, what or "it has taken too long"
        time.sleep(0.01)
    return found


class Yard:
    """A store with a busybox image, `busybox:1`.  Call it like the veneer command; containers are on no network."""

    def __init__(self, folder: Path) -> None:
        needs("busybox", "crun")
        self.root = folder / "yard"
        tar = busybox_tar(folder / "busybox.tar")
        run(VENEER, "--root", self.root, "import", tar, IMAGE)

    def __call__(self, *words: str | Path, stdin: bytes | None = None, check: bool = True) -> Output:
        return run(*self.command(*words), stdin=stdin, check=check)

    def command(self, *words: str | Path) -> list[str | Path]:
        """The command line, for whoever runs it himself."""
        return [VENEER, "--root", self.root, *words]

    def run(self, name: str, *command: str, options: Sequence[str] = ()) -> str:
        """A container in the background, by its name; its id."""
        return self("run", "-d", "--network", "none", "--name", name, *options, IMAGE, *command).out.strip()

    @contextlib.contextmanager
    def engine(self) -> Iterator[Engine]:
        with open_engine(self.root) as engine:
            yield engine

    def status(self, name: str) -> str:
        with self.engine() as engine:
            return engine.containers.state(engine.containers.get(name)).status

    def clear(self) -> None:
        """No container is left."""
        with self.engine() as engine:
            for container in engine.containers.list():
                engine.containers.remove(container.id, force=True, volumes=True)


class OnTerminal:
    """A program that has a terminal of its own; a context manager, at whose end it is gone."""

    def __init__(self, *command: str | Path, rows: int = 24, columns: int = 80) -> None:
        self._ours, theirs = pty.openpty()
        self._theirs = theirs
        self.resize(rows, columns, tell=False)
        self.before = termios.tcgetattr(theirs)
        self.seen = b""
        self._process = subprocess.Popen(
            [str(word) for word in command], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            preexec_fn=lambda: ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip

    @property
    def pid(self) -> int:
        return self._process.pid

    def type(self, text: bytes) -> None:
        os.write(self._ours, text)

    def resize(self, rows: int, columns: int, *, tell: bool = True) -> None:
        ioctl(self._theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        if tell:
            self._process.send_signal(signal.SIGWINCH)

    def expect(self, text: bytes) -> bytes:
        """Wait until it has printed this; what came before it, since the last time."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while text not in self.seen:
            assert time.monotonic() < deadline and self._read(0.2) is not None, (text, self.seen)
        before, _, self.seen = self.seen.partition(text)
        return before

    def _read(self, seconds: float) -> bytes | None:
        has_ended = self._process.poll() is not None  # asked before: what it printed at its end is there then
        if select.select([self._ours], [], [], 0 if has_ended else seconds)[0]:
            self.seen += os.read(self._ours, 1 << 16)
        elif has_ended:
            return None
        return self.seen

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        """Its exit code."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._process.poll() is None:
            assert time.monotonic() < deadline, self.seen
            self._read(0.05)
        while self._read(0.0) is not None and select.select([self._ours], [], [], 0)[0]:
            pass
        return self._process.returncode

    @property
    def is_raw(self) -> bool:
        return not termios.tcgetattr(self._theirs)[3] & (termios.ICANON | termios.ECHO)

    @property
    def is_as_before(self) -> bool:
        return termios.tcgetattr(self._theirs) == self.before

    def __enter__(self) -> OnTerminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        os.close(self._ours)
        os.close(self._theirs)
