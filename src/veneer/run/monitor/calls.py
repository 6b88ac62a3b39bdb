"""The runtime's verbs, each a program that is started and waited for while everything else goes on.

Containers and execs are started detached: the runtime ends, and the process it leaves becomes a child of ours, so that
its exit code comes from the kernel.  Of a runtime that stayed there would be one more process for every exec, of 10 MB
with runc.
"""

from __future__ import annotations

import json
import os
import signal

from veneer.run.failures import ContainerFailed, errors, failed, lines
from veneer.run.monitor.loop import Future, Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any

    from veneer.run.runtime import Runtime
    from veneer.run.spec import Host

    Stdio = tuple[int, int, int]

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
_SIGNALS = tuple({*signal.Signals} - {signal.SIGKILL, signal.SIGSTOP})


def spawn(words: Sequence[str], stdio: Stdio, env: dict[str, str] = ENVIRONMENT) -> int:
    """Start a program on these three descriptors; its number.

    It has no other: all of ours close when another program takes our place.
    """
    # What we ignore the container's programs must not.
    return os.posix_spawn(
        words[0], list(words), env,
        file_actions=[(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(stdio)],
        setsigmask=(), setsigdef=_SIGNALS,
    )  # fmt: skip


class Calls:
    """One runtime, asked about one container at a time; `folder` is in memory and ours."""

    def __init__(self, loop: Loop, runtime: Runtime, host: Host, folder: Path) -> None:
        self._loop = loop
        self._runtime = runtime
        self._host = host
        self._folder = folder
        self._count = 0
        self._null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)

    async def run(self, name: str, word: str, stdio: Stdio, console: str = "") -> tuple[int, Future[int]]:
        """Start the container of the bundle in `folder`; its first process, and its exit code to come.

        `stdio` are its streams, or where a message about its start would go, with `console`, a socket that gets its
        terminal.  `word` is what it is told to run.  Raises NoSuchCommand, CannotExecute, ContainerFailed.
        """
        words = ["run", "--detach", "--bundle", os.fspath(self._folder)]
        return await self._start(words, name, stdio, word, console)

    async def exec(
        self, name: str, process: dict[str, Any], stdio: Stdio, console: str = ""
    ) -> tuple[int, Future[int]]:
        """Start one more process in it; as `run`."""
        self._count += 1
        path = self._folder / f"process-{self._count}"
        path.write_bytes(json.dumps(process).encode("utf-8", "surrogateescape"))
        try:
            words = ["exec", "--detach", "--process", os.fspath(path)]
            return await self._start(words, name, stdio, process["args"][0], console)
        finally:
            path.unlink(missing_ok=True)

    async def do(self, *words: str, stdin: bytes = b"") -> None:
        """Any other verb, to its end.  Raises ContainerFailed."""
        given = os.memfd_create("stdin", os.MFD_CLOEXEC)
        try:
            os.write(given, stdin)
            os.lseek(given, 0, os.SEEK_SET)
            code, said = await self._call(words, (given, self._null, self._null))
        finally:
            os.close(given)
        if code:
            raise ContainerFailed(f"{self._runtime.name} could not {words[0]} the container: {'; '.join(said)}")

    async def _start(
        self, words: list[str], name: str, stdio: Stdio, word: str, console: str
    ) -> tuple[int, Future[int]]:
        self._count += 1
        pids = self._folder / f"pid-{self._count}"
        options = ["--console-socket", console] if console else []
        # The process may have ended before its number is known.
        self._loop.starting += 1
        try:
            code, said = await self._call([*words, "--pid-file", os.fspath(pids), *options, name], stdio)
            if code:
                raise failed(said, word)
            pid = int(pids.read_text())
            return pid, self._loop.child(pid)
        except FileNotFoundError as error:
            raise ContainerFailed("the container has ended") from error
        finally:
            self._loop.starting -= 1
            pids.unlink(missing_ok=True)

    async def _call(self, words: Sequence[str], stdio: Stdio) -> tuple[int, list[str]]:
        """The exit code, and what went wrong."""
        self._count += 1
        path = self._folder / f"log-{self._count}"
        log = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            code = await self._loop.child(spawn([*self._prefix(path), *words], stdio))
            if not code:
                return 0, []
            said = lines(log) if self._runtime.name == "crun" else errors(log)
            return code, said or [f"{self._runtime.name} ended with status {code} and said nothing"]
        finally:
            os.close(log)
            path.unlink(missing_ok=True)  # with everything else, where the container has ended meanwhile

    def _prefix(self, log: Path) -> list[str]:
        words = [self._runtime.path, "--root", os.fspath(self._folder / "state"), "--log"]
        if self._runtime.name != "crun":
            return [*words, os.fspath(log), "--log-format", "json"]
        # What is before a colon would be the kind of log; in JSON crun would also say what it says on the container's
        # standard error.
        words.append(f"file:{log}")
        return words if self._host.cgroups else [*words, "--cgroup-manager", "disabled"]
