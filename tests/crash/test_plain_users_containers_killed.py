"""kill -9 of a plain user's command, monitor, or what a monitor has started, at random moments: his containers are what
they are said to be, can be removed, and then nothing of them runs.

`--kills N` says how many, four times over (a few by default; 800 prove it).
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.containers import until
from tests.support.plain_user import PlainUser, plain_user
from tests.support.programs import needs
from tests.support.rootfs import busybox_tar

pytestmark = [pytest.mark.crash, pytest.mark.usefixtures("root_only")]
SCRIPT = ("sh", "-c", "trap 'exit 0' TERM; echo up; i=0; while [ $((i+=1)) -lt 6000 ]; do sleep 0.01; done")
"""Lives long enough, and not for ever: nobody may be there any more to end it."""
OPTIONS = ("-v", "/anonymous", "-p", "127.0.0.1:0:80")
VERBS = {
    "create": ("create", "--name", "new", *OPTIONS, "busybox:1", *SCRIPT),
    "run": ("run", "--name", "new", *OPTIONS, "busybox:1", "true"),
    "run -d": ("run", "-d", "--name", "new", *OPTIONS, "busybox:1", *SCRIPT),
    "run --rm": ("run", "--rm", "--name", "new", *OPTIONS, "busybox:1", "sh", "-c", "echo hi; sleep 0.05"),
    "start": ("start", "idle"),
    "stop": ("stop", "-t", "1", "old"),
    "rm -f": ("rm", "-f", "-v", "old"),
    "exec": ("exec", "old", "sh", "-c", "echo in; sleep 0.05"),
    "commit": ("commit", "old", "committed:1"),
}
VICTIMS = ("command", "monitor", "child")


class Scene:
    """A plain user's store."""

    def __init__(self, user: PlainUser) -> None:
        self.user = user
        home = user.home.stat()
        self._home = home.st_dev, home.st_ino

    def __call__(self, *words: str) -> str:
        return self.user.veneer(*words).out

    def set_up(self) -> None:
        """One container that runs, and one that does not."""
        self("run", "-d", "--name", "old", "-v", "/anonymous", "busybox:1", *SCRIPT)
        self("create", "--name", "idle", *OPTIONS, "busybox:1", *SCRIPT)

    def processes(self) -> dict[int, bytes]:
        """His programs, by what they are called; those inside of containers have another root, and are not among them.

        He himself, who only holds his mounts, is not either.
        """
        found = {}
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                at = os.stat(f"/proc/{name}/root/mnt")
                if (at.st_dev, at.st_ino) == self._home and os.stat(f"/proc/{name}").st_uid != 0:
                    found[int(name)] = Path(f"/proc/{name}/cmdline").read_bytes()
        return found

    def kill(self, victim: str, command: subprocess.Popen[bytes], chance: random.Random) -> bool:
        """Kill somebody; whether there was somebody."""
        monitors = [pid for pid, words in self.processes().items() if words.startswith(b"veneer-monitor")]
        if victim == "monitor":
            targets = monitors
        elif victim == "child":
            targets = []
            for pid in monitors:
                with contextlib.suppress(OSError):
                    targets += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        else:
            targets = [command.pid] if command.poll() is None else []
        if not targets:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(chance.choice(sorted(targets)), signal.SIGKILL)
        return True

    def clear(self) -> None:
        """Remove all there are, as anybody would, in one go; then nothing is left of anybody."""
        if left := self("ps", "-aq").split():
            self("rm", "-f", "-v", *left)
        until(lambda: not self.processes(), f"processes are left: {self.processes()}")
        assert self("ps", "-aq") == self("volume", "ls", "-q") == ""
        folders = self.user.home / ".local/share/veneer/containers"
        if os.listdir(folders):
            # Killed between the coming into place of a folder and its row: a collection takes that away, as does
            # whatever is made next.
            self("system", "prune", "-f")
        assert os.listdir(folders) == []
        self("system", "check")


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    needs("busybox", "crun", "slirp4netns")
    with plain_user(tmp_path, further_ids=True) as user:
        busybox_tar(tmp_path / "busybox.tar").chmod(0o644)
        user.veneer("import", "busybox.tar", "busybox:1")
        made = Scene(user)
        yield made
        for pid in made.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.timeout(1800)
def test_whoever_is_killed_nothing_is_left(scene: Scene, request: pytest.FixtureRequest) -> None:
    kills: int = max(request.config.getoption("--kills") // 4, 3)
    chance = random.Random(20261126)
    plan = [(verb, victim) for verb in VERBS for victim in VICTIMS]
    chance.shuffle(plan)
    done = 0
    for number in range(kills * 12):
        if done == kills:
            break
        verb, victim = plan[number % len(plan)]
        scene.set_up()
        command = scene.user.started(*VERBS[verb])
        time.sleep(chance.uniform(0.02, 0.25))  # the moment
        done += scene.kill(victim, command, chance)
        try:
            _, said = command.communicate(timeout=60)
            assert b"Traceback" not in said, said.decode()
            scene.clear()
        except BaseException:
            print(f"round {number}: {victim} killed in {verb}")
            raise
        finally:
            command.kill()
    assert done == kills
