"""kill -9 of a command, of a monitor, or of what a monitor has started, at random moments of whatever is done to
containers: what is said of them stays true, `rm` works, and then nothing is left on the host.

`--kills N` says how many, twice over (a few by default; 400 prove it).
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

from tests.support.containers import Yard, until
from tests.support.leaks import mounts_below
from tests.support.private_host import devices, private_host
from tests.support.programs import needs
from veneer.run.cgroups import hierarchies

pytestmark = [pytest.mark.crash, pytest.mark.usefixtures("root_only")]
SCRIPT = ("sh", "-c", "trap 'exit 0' TERM; echo up; i=0; while [ $((i+=1)) -lt 6000 ]; do sleep 0.01; done")
"""Lives long enough, and not for ever: nobody may be there any more to end it."""
OPTIONS = ("-p", "7777:80", "-v", "/anonymous", "--init=false")
VERBS = {
    "create": ("create", "--name", "new", *OPTIONS, "busybox:1", *SCRIPT),
    "run": ("run", "--name", "new", *OPTIONS, "busybox:1", "true"),
    "run -d": ("run", "-d", "--name", "new", *OPTIONS, "busybox:1", *SCRIPT),
    "run --rm": ("run", "--rm", "--name", "new", *OPTIONS, "busybox:1", "sh", "-c", "echo hi; sleep 0.05"),
    "run -d --rm": ("run", "-d", "--rm", "--name", "new", *OPTIONS, "busybox:1", "sleep", "0.05"),
    "start": ("start", "idle"),
    "stop": ("stop", "-t", "1", "old"),
    "restart": ("restart", "-t", "1", "old"),
    "kill": ("kill", "old"),
    "rm": ("rm", "-v", "idle"),
    "rm -f": ("rm", "-f", "-v", "old"),
    "exec": ("exec", "old", "sh", "-c", "echo in; sleep 0.05"),
    "commit": ("commit", "old", "committed:1"),
    "pause": ("pause", "old"),
    "cp": ("cp", "old:/bin/busybox", "-"),
    "rename": ("rename", "old", "older"),
}
VICTIMS = ("command", "monitor", "child")


class Scene:
    """A store, and a network of a host's that nobody else is on: whoever is on it has to do with the store."""

    def __init__(self, yard: Yard) -> None:
        self.yard = yard
        self._network = os.stat("/proc/thread-self/ns/net").st_ino
        self.ids: set[str] = set()

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [str(word) for word in self.yard.command(*words)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip

    def set_up(self) -> None:
        """One container that runs, and one that does not."""
        self.yard("run", "-d", "--name", "old", "-v", "/anonymous", "busybox:1", *SCRIPT)
        self.yard("create", "--name", "idle", *OPTIONS, "busybox:1", *SCRIPT)
        self.note()

    def note(self) -> None:
        """Remember whose groups there may have been."""
        self.ids.update(os.listdir(self.yard.root / "containers"))

    def processes(self) -> set[int]:
        """Everybody on the network, but for this test."""
        found = set()
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if os.stat(f"/proc/{name}/ns/net").st_ino == self._network and int(name) != os.getpid():
                    found.add(int(name))
        return found

    def monitors(self) -> list[int]:
        """Commands are not among them: those have the data root among their words."""
        found = []
        for pid in self.processes():
            with contextlib.suppress(OSError):
                if str(self.yard.root).encode() not in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(pid)
        return found

    def kill(self, victim: str, command: subprocess.Popen[bytes], chance: random.Random) -> bool:
        """Kill somebody; whether there was somebody."""
        if victim == "command":
            alive = command.poll() is None
            command.kill()
            return alive
        targets = self.monitors()
        if victim == "child":
            children: list[int] = []
            for pid in targets:
                with contextlib.suppress(OSError):
                    children += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
            targets = children
        if not targets:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(chance.choice(sorted(targets)), signal.SIGKILL)
        return True

    def states_are_true(self) -> None:
        """Whatever is said to run does, and nothing else; two looks, for it may end meanwhile."""

        def true() -> bool:
            with self.yard.engine() as engine:
                for container in engine.containers.list():
                    found = engine.containers.state(container)
                    groups = self.groups({container.id})
                    if found.is_live and not os.path.exists(f"/proc/{found.pid}"):
                        return False
                    if not found.is_live and any(_members(group) for group in groups):
                        return False
            return True

        until(true, "a state is not true")

    def clear(self) -> None:
        """Remove all there are, as anybody would, in one go."""
        self.note()
        if left := self.yard("ps", "-aq", "--no-trunc").out.split():
            self.yard("rm", "-f", "-v", *left)

    def groups(self, ids: set[str]) -> list[str]:
        return [path for each in hierarchies() for id in ids if os.path.exists(path := f"{each}/veneer-{id}")]

    def is_clean(self) -> None:
        """Nothing is left of anybody."""
        until(lambda: not self.processes(), "processes are left")
        assert self.groups(self.ids) == []
        assert mounts_below(self.yard.root) == set()
        until(lambda: not [name for name in devices() if name.startswith("ve-")], "devices are left")
        rules = subprocess.run(["nft", "list", "ruleset"], check=True, capture_output=True, text=True).stdout
        assert ". 7777 :" not in rules, rules
        with self.yard.engine() as engine:
            assert engine.store.catalog.rows("SELECT * FROM address") == []
            assert (engine.volumes.list(), engine.containers.list()) == ([], [])
            engine.store.collect()  # also of a folder that came into place without its row
            assert engine.store.check(deep=False) == []
        assert os.listdir(self.yard.root / "containers") == []


def _members(group: str) -> list[str]:
    try:
        return Path(group, "cgroup.procs").read_text().split()
    except OSError:
        return []


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    needs("nft")
    with private_host():
        made = Scene(Yard(tmp_path))
        yield made
        for pid in made.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        made.clear()


@pytest.mark.timeout(1800)
def test_whoever_is_killed_nothing_is_left(scene: Scene, request: pytest.FixtureRequest) -> None:
    kills: int = max(request.config.getoption("--kills") // 2, 3)
    chance = random.Random(20261126)
    plan = [(verb, victim) for verb in VERBS for victim in VICTIMS]
    chance.shuffle(plan)
    done = 0
    for number in range(kills * 4):
        if done == kills:
            break
        verb, victim = plan[number % len(plan)]
        scene.set_up()
        command = scene.start(*VERBS[verb])
        time.sleep(chance.uniform(0.02, 0.22))  # the moment
        done += scene.kill(victim, command, chance)
        try:
            _, said = command.communicate(timeout=60)
            assert b"Traceback" not in said, (verb, victim, said.decode())
        finally:
            command.kill()
        scene.note()
        try:
            scene.states_are_true()
            scene.clear()
            scene.is_clean()
        except BaseException:
            print(f"round {number}: {victim} killed in {verb}")
            raise
    assert done == kills
