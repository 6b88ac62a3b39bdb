"""rmi, image prune and image lists print what docker prints, and leave the same images behind."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.compat.conftest import Veneer, first_line
from tests.compat.samples import BASE, CHANGE, LINKS, row
from tests.support.peers import Docker
from tests.support.registries import RealRegistry
from veneer.oci.digest import ImageID
from veneer.testing.images import SampleImage, Tree, docker_archive, image

pytestmark = pytest.mark.compat

ALONE: Tree = {"alone": b"here"}
Graph = dict[str, SampleImage]
Said = tuple[int, str, str]


def graph() -> tuple[Graph, dict[ImageID, ImageID]]:
    """Six images in two families: base <- label <- run <- top, run <- other, and one that stands alone."""
    made: Graph = {}
    parents: dict[ImageID, ImageID] = {}

    def step(name: str, parent: str | None, *layers: Tree) -> None:
        number = len(made)
        rows = [row(f"step {n}", empty=n > 0) for n in range(_depth(parent) + 1)]
        # Rows of layers: the first, then one more for each further layer.
        made[name] = image(*layers, style="docker", created=f"2024-01-01T00:00:{number:02}Z", history=rows,
                           config={"Labels": {"step": name}})  # fmt: skip
        if parent is not None:
            parents[made[name].image_id] = made[parent].image_id
            depths[name] = depths[parent] + 1
        else:
            depths[name] = 0

    depths: dict[str, int] = {}

    def _depth(parent: str | None) -> int:
        return 0 if parent is None else depths[parent] + 1

    step("base", None, BASE)
    step("label", "base", BASE)
    step("run", "label", BASE, CHANGE)
    step("top", "run", BASE, CHANGE, LINKS)
    step("other", "run", BASE, CHANGE)
    step("alone", None, ALONE)
    return made, parents


TAGS = {"base": ["base:1"], "top": ["t:1", "u:1"], "other": ["t:2"], "alone": ["alone:latest"]}


@pytest.fixture
def both(ours: Veneer, theirs: Docker, tmp_path: Path) -> tuple[Veneer, Docker]:
    """The two engines with the same graph of images."""
    made, parents = graph()
    archive = tmp_path / "graph.tar"
    archive.write_bytes(docker_archive(*((one, TAGS.get(name, [])) for name, one in made.items()), parents=parents))
    for engine in (ours, theirs):
        engine("load", "--input", archive)
    return ours, theirs


def said(engine: Veneer | Docker, *words: str) -> Said:
    done = engine(*words, check=False)
    return done.code, done.out, first_line(done.err)


def ids() -> dict[str, str]:
    return {name: one.image_id for name, one in graph()[0].items()}


ID = ids()
SCRIPTS: dict[str, Sequence[str]] = {
    "a single tag": ["rmi alone", "images -a"],
    "one of two tags, then the other": ["rmi u:1", "rmi t:1", "images -a"],
    "a name without a tag": ["rmi t", "rmi alone"],
    "an ID with two names": ["rmi {top}", "rmi -f {top}", "images -a"],
    "a short ID with one name": ["rmi {alone:.19}"],
    "an image with children, by ID": ["rmi {run}", "rmi -f {run}", "tag {run} r:1", "tag {run} r:2", "rmi {run}",
                                      "rmi -f {run}", "rmi r:1", "rmi -f r:2"],
    "an image with children, by name": ["rmi base:1", "rmi t:1 u:1", "rmi t:2", "images -a"],
    "--no-prune": ["rmi --no-prune t:2", "rmi --no-prune t:1 u:1", "images -a", "rmi {run}"],
    "a tag that moved": ["tag alone t:1", "images -a", "rmi u:1", "rmi t:1", "images"],
    "a dangling image": ["tag alone t:2", "images --filter dangling=true", "rmi {other}", "images -a"],
    "several at once": ["rmi alone nope t:1 base:1 {top}", "images -a"],
    "what is not here": ["rmi nope", "rmi -f nope", "rmi nope:1", "rmi sha256:abcd", f"rmi sha256:{'0' * 64}",
                         f"rmi nope@sha256:{'0' * 64}", "tag nope a:1", "tag alone sha256:abc"],
    "prune of dangling images": ["tag alone t:2", "image prune -f", "images -a"],
    "prune by label": ["image prune -af --filter label=step=alone", "images -a"],
    "prune by another label": ["image prune -af --filter label!=step=top --filter label!=step=base", "images -a"],
    "prune by age": ["image prune -af --filter until=2024-01-01T00:00:01Z", "images -a"],
    "prune of everything": ["image prune -af", "images -a"],
    "filters nobody knows": ["images --filter foo=bar", "image prune -f --filter foo=bar",
                             "image prune -f --filter reference=x", "image prune -f --filter until=zzz",
                             "images --filter dangling=maybe"],
    "lists": ["images", "images -a", "images t", "images t:1", "images 't*'", "images *", "images */*",
              "images [a-b]*:[0-9]", "images --filter label=step=top", "images --filter label=step=nope",
              "images --filter before=t:1", "images --filter since=base:1", "images -a --filter since=base:1",
              "images --filter reference=t --filter reference=alone", "images --filter dangling=false",
              "images -a --filter dangling=false"],
}  # fmt: skip


def comparable(command: str, answer: Said) -> Said:
    """The answer without what differs between two runs, or two clients, of docker itself."""
    code, out, error = answer
    lines = out.splitlines()
    if "prune" in command:
        # It goes through the images in another order each time.
        lines.sort()
    elif "images" in command:
        # So does the client through the repositories of one image.
        groups = itertools.groupby(lines, key=lambda line: re.findall("[0-9a-f]{12,64}", line)[-1:])
        lines = [line for _, group in groups for line in sorted(group)]
    # Clients before 28 say what was asked for, later ones what was looked for.
    return code, "\n".join(lines), re.sub("^(No such image: .*):latest$", r"\1", error)


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_both_say_and_do_the_same(both: tuple[Veneer, Docker], script: Sequence[str]) -> None:
    for line in script:
        command = line.format(**ID)
        words = [word.strip("'") for word in command.split()]
        mine, dockers = (said(engine, *words) for engine in both)
        assert comparable(command, mine) == comparable(command, dockers), command


@pytest.mark.parametrize("seed", range(3))
def test_both_go_the_same_way_through_random_removals(both: tuple[Veneer, Docker], seed: int) -> None:
    chance = random.Random(seed)
    names = ["t:1", "t:2", "u:1", "base:1", "alone:latest", "new:1", "new:2"]
    for _ in range(15):
        target = chance.choice([*names, *(one[7:19] for one in ID.values())])
        if chance.random() < 0.35:
            words = ["tag", chance.choice(list(ID.values()))[7:], chance.choice(names)]
        else:
            words = ["rmi", *chance.choice([[], [], ["-f"], ["--no-prune"]]), target]
        for command in (words, ["images", "-a", "--no-trunc"]):
            mine, dockers = (comparable(command[0], said(engine, *command)) for engine in both)
            assert mine == dockers, words


def test_digests_come_and_go_with_their_repositorys_tags(
    ours: Veneer, theirs: Docker, registry: RealRegistry, names: str
) -> None:
    repository = names.partition("/")[2]
    one, two = image(BASE, style="docker"), image(LINKS, style="docker", created="2024-02-02T00:00:00Z")
    name = registry.put(f"{repository}:1", one)
    other = registry.put(f"{repository}/more:1", two)
    by_digest, other_by_digest = (
        f"{each.rpartition(':')[0]}@{made.digest}" for each, made in ((name, one), (other, two))
    )
    pulls = [f"pull -q {name}", f"pull -q {other_by_digest}"]
    script = [
        *pulls, "images -a --digests", "images --filter dangling=true", "image prune -f", "images -a --digests",
        f"tag {name} {name.rpartition(':')[0]}:2", f"rmi {by_digest}", *pulls, f"tag {name} elsewhere:1",
        f"rmi {name}", f"rmi {name.rpartition(':')[0]}:2", "images -a --digests", f"rmi {one.image_id}",
        f"rmi {other_by_digest}", *pulls, f"rmi {two.image_id[7:19]}", f"rmi {one.image_id}", "images -a",
    ]  # fmt: skip
    for command in script:
        mine, dockers = (said(engine, *command.split()) for engine in (ours, theirs))
        assert comparable(command, mine) == comparable(command, dockers), command
