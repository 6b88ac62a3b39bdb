"""Commands killed at random moments, while others work on the same store, damage nothing and leave nothing.

`--kills N` says how many (a few by default, so that every run of the tests has some; 300 prove it).
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.leaks import children
from tests.support.registries import RealRegistry
from veneer.config import Config
from veneer.store.store import Store
from veneer.testing import images

pytestmark = pytest.mark.crash

SHARED: dict[str, images.Member | bytes] = {
    "lib": images.directory(),
    **{f"lib/{n}": bytes([n]) * 9_000 for n in range(60)},
}
OTHERS: dict[str, images.Member | bytes] = {
    "etc": images.directory(),
    "etc/a": b"a",
    "etc/link": images.hardlink("etc/a"),
    "lib/.wh.5": b"",
}


def sample(number: int) -> images.SampleImage:
    """Images that share two layers and differ in a third."""
    own = {f"own-{number}": bytes([number]) * 300_000, **{f"file-{n}": b"%d %d" % (number, n) for n in range(80)}}
    return images.image(SHARED, OTHERS, own)


@dataclass
class Victim:
    """The commands on one store; `times` remembers how long each kind takes when it is let live."""

    root: Path
    names: list[str]
    archives: list[Path]
    times: dict[str, float]

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "veneer", "--root", str(self.root), *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip

    def choose(self, chance: random.Random, who: str) -> list[str]:
        """A command; each worker has names of its own for tagging, so that only the store is contended."""
        kind = chance.choice(["pull", "pull", "load", "load", "tag", "rmi"])
        number = chance.randrange(len(self.names))
        if kind == "pull":
            return ["pull", "-q", self.names[number]]
        if kind == "load":
            return ["load", "-q", "-i", str(self.archives[number])]
        if kind == "tag":
            return ["tag", self.names[number], f"{who}:{chance.randrange(3)}"]
        return ["rmi", "-f", chance.choice([self.names[number], f"archived:{number}", f"{who}:{chance.randrange(3)}"])]


ABSENT = (b"No such image", b"image is referenced", b"has dependent", b"is being used", b"conflict")
"""What a command may say when another one was faster."""


def work(victim: Victim, who: str, stop: threading.Event, failures: list[str]) -> None:
    """Run commands to their end, one after another, until told to stop; collection is among them."""
    chance = random.Random(who)
    while not stop.is_set():
        command = ["system", "prune", "-f"] if chance.random() < 0.15 else victim.choose(chance, who)
        started = time.monotonic()
        process = victim.start(*command)
        _, said = process.communicate(timeout=120)
        victim.times[command[0]] = time.monotonic() - started
        if process.returncode not in (0, 1) or (process.returncode and not any(text in said for text in ABSENT)):
            failures.append(f"{' '.join(command)}: {process.returncode}: {said.decode(errors='replace')[-2000:]}")


def assert_sound(root: Path) -> None:
    """The store opens and every row has its file, whole."""
    with Store.open(Config(root=root)) as store:
        damage = [finding for finding in store.check(deep=False) if finding.damage]
    assert damage == []


@pytest.fixture
def victim(tmp_path: Path, registry: RealRegistry) -> Victim:
    samples = [sample(number) for number in range(4)]
    names = [registry.put(f"crash/{number}:1", each) for number, each in enumerate(samples)]
    archives = []
    for number, each in enumerate(samples):
        archive = tmp_path / f"{number}.tar"
        archive.write_bytes(images.docker_archive((each, [f"archived:{number}"])))
        archives.append(archive)
    return Victim(tmp_path / "root", names, archives, {})


def test_the_next_command_removes_what_a_killed_one_left(victim: Victim) -> None:
    # Not a guess at a moment: the pull is killed once its scratch folder and a layer's directory are there.
    with victim.start("pull", "-q", victim.names[0]) as process:
        while process.poll() is None and not any(victim.root.glob("overlay2/[0-9a-f]*/diff")):
            time.sleep(0.001)
        process.kill()
        process.communicate()
    with victim.start("load", "-q", "-i", str(victim.archives[1])) as process:
        _, said = process.communicate()
    assert process.returncode == 0, said
    with Store.open(Config(root=victim.root)) as store:
        assert store.check(deep=True) == []
        assert list((victim.root / "ingest").iterdir()) == []


def test_killed_commands_leave_a_whole_store_and_nothing_else(victim: Victim, request: pytest.FixtureRequest) -> None:
    kills: int = request.config.getoption("--kills")
    before = children()
    stop = threading.Event()
    failures: list[str] = []
    workers = [threading.Thread(target=work, args=(victim, f"worker{n}", stop, failures)) for n in range(2)]
    for worker in workers:
        worker.start()
    chance = random.Random(20231114)
    killed = 0
    try:
        for attempt in range(kills * 10):
            if killed == kills or failures:
                break
            command = victim.choose(chance, "victim")
            # Somewhere within what such a command takes; imports are the first tenth of a second of it.
            moment = chance.uniform(0.05, max(0.15, victim.times.get(command[0], 0.5)))
            process = victim.start(*command)
            try:
                process.wait(moment)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                killed += 1
            process.communicate()
            if attempt % 25 == 0:
                assert_sound(victim.root)
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    assert failures == []
    assert killed == kills
    assert_sound(victim.root)
    # Nobody works any more: the next collection has to find and remove all that the killed ones left.
    with Store.open(Config(root=victim.root)) as store:
        store.collect()
        assert store.check(deep=True) == []
        listed = {path.name for folder in ("ingest", "partial", "trash") for path in (victim.root / folder).iterdir()}
    assert listed == set()
    assert children() == before
    # And all of it still works.
    for name in victim.names:
        with victim.start("pull", "-q", name) as process:
            _, said = process.communicate()
        assert process.returncode == 0, said
    assert_sound(victim.root)
