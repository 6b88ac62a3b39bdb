"""The life of containers from the command line: veneer prints and exits as docker does, or the difference is argued."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compat.conftest import Veneer
from tests.support.peers import Docker
from tests.support.programs import Output
from tests.support.rootfs import busybox_tar
from veneer.engine.engine import open_engine

pytestmark = [pytest.mark.compat, pytest.mark.usefixtures("root_only")]
IMAGE = "life:1"
Said = tuple[int, str, str]

SCRIPT = """
run -d --network none --name up IMAGE sleep 1000
create --network none --name new IMAGE true
create --network none --name new2 IMAGE true
run --network none --name done IMAGE sh -c 'echo err >&2; sleep 0.1; echo out; exit 3'
start up
start up nosuch done
start -a done
start -a up done
start
stop new
stop nosuch
kill new
kill nosuch
kill -s FOO up
kill -s 0 up
kill -s USR1 nosuch
pause new
pause nosuch
pause up
pause up
exec up true
start up
attach up
attach new
attach nosuch
rm up
stats --no-stream --format {{.PIDs}} up
top up -o pid,args
unpause up
unpause up
unpause new
top new
top nosuch
top up -o comm
top up -o x=PID
top up -z
exec up true
exec up sh -c 'exit 7'
exec up sh -c 'echo out; echo err >&2'
exec -e A=1 -w /tmp -u 1:1 up sh -c 'echo $A $PWD $(id -u):$(id -g)'
exec -d up true
exec -t up tty
exec -it up true
exec new true
exec nosuch true
exec up
exec up nosuch
exec up /etc
exec -u nosuch up true
exec -w /nosuch up true
exec -d up nosuch
logs done
logs --tail 1 done
logs -n nonsense done
logs --details done
logs --since 2100-01-01 done
logs --until 2000-01-01 done
logs --since nonsense done
logs -f done
logs nosuch
logs new
wait done new2
wait nosuch done
update up
update --restart always up
update --restart nonsense up
update -m 4m up
update -m 64m nosuch
update --restart no up
stats --no-stream nosuch
stats --no-stream --format '{{.Name}} {{.MemUsage}} {{.PIDs}}' new
stats --no-stream --format '{{.Nosuch}}' new
restart -t 0 nosuch new
wait new
restart -t 0 up
stop -t 0 up
stop up
kill up
wait up
rm nosuch
rm -f nosuch
rm up new
rm done new2
run --rm --network none IMAGE sh -c 'exit 9'
run --network none IMAGE nosuch
"""

ARGUED = {
    "start": "one form for every error",
    "exec up": "one form for every error",
    "exec up nosuch": "an error is told on standard error, without the runtime's words; 127 as docker since 23",
    "exec up /etc": "an error is told on standard error, without the runtime's words",
    "exec -u nosuch up true": "an error is told on standard error",
    "exec -w /nosuch up true": "an error is told on standard error, without the runtime's words",
    "exec -d up nosuch": "a command that is not there is 127, also when nobody waits for it",
    "run --network none IMAGE nosuch": "an error is told without the runtime's words",
}
"""Where veneer differs on purpose, and why; docs/container-compat.md says more."""
SAME_CODE = {line for line, why in ARGUED.items() if "127" not in why}


@pytest.fixture(scope="module")
def theirs(docker: Docker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    docker("import", busybox_tar(tmp_path_factory.mktemp("life") / "busybox.tar"), IMAGE)
    yield docker
    if left := docker("ps", "-aq").out.split():
        docker("rm", "-f", *left)
    docker("rmi", "-f", IMAGE)


@pytest.fixture
def engines(ours: Veneer, theirs: Docker, tmp_path: Path) -> Iterator[tuple[Veneer, Docker]]:
    ours("import", busybox_tar(tmp_path / "busybox.tar"), IMAGE)
    yield ours, theirs
    with open_engine(ours.root) as engine:
        for container in engine.containers.list():
            engine.containers.remove(container.id, force=True, volumes=True)


def comparable(line: str, said: Output) -> Said:
    """Without ids, times and numbers of processes, the daemon and the hints; a usage is its first line."""
    out, err = (re.sub(r"\b[0-9a-f]{64}\b|\b[0-9a-f]{12}\b", "ID", text) for text in (said.out, said.err))
    if line.startswith(("top", "stats")):
        out = re.sub(r" +", " ", re.sub(r"(?m)^\d+ ", "N ", out))
    kept = []
    for text in err.splitlines():
        text = re.sub(r"^(docker: )?(Error response from daemon|Error): ", "", text)
        if text.startswith(("hint: ", "See 'docker")):
            continue
        kept.append(text)
    return said.code, out, "\n".join(kept).rstrip(".")


def test_every_line_of_a_life_is_answered_as_docker_answers_it(engines: tuple[Veneer, Docker]) -> None:
    differences, needless = [], set(ARGUED)
    for line in SCRIPT.strip().splitlines():
        words = shlex.split(line.replace("IMAGE", IMAGE))
        mine, dockers = (comparable(line, engine(*words, check=False)) for engine in engines)
        if mine != dockers:
            needless.discard(line)
            if line not in ARGUED or (line in SAME_CODE and mine[0] != dockers[0]):
                differences.append(f"$ {line}\n  docker: {dockers}\n  veneer: {mine}")
    assert not differences, "\n".join(differences)
    assert not needless, f"argued, but the same: {sorted(needless)}"


def test_events_of_a_life_are_dockers(engines: tuple[Veneer, Docker]) -> None:
    """Types, actions and attributes, in their order; docker has a time of its own for network and volume."""
    script = """
    create --network none --name ev -l l=1 IMAGE sh -c 'sleep 1000'
    start ev
    exec ev true
    pause ev
    unpause ev
    update --restart no ev
    kill -s USR1 ev
    restart -t 0 ev
    stop -t 0 ev
    rename ev ev2
    rm ev2
    """
    told = []
    for engine in engines:
        for line in script.strip().splitlines():
            engine(*shlex.split(line.strip().replace("IMAGE", IMAGE)))
        soon = str(int(time.time()) + 2)  # docker leaves out the second it is in
        words = ["--filter", "type=container", "--filter", "label=l=1", "--format",
                 "{{.Action}} {{json .Actor.Attributes}}"]  # fmt: skip
        found = engine("events", "--since", "1m", "--until", soon, *words).out
        told.append(re.sub(r'"execID":"[0-9a-f]+"', '"execID":"ID"', found.replace("  {", " {")).splitlines())
    assert told[0] == told[1]


def test_events_of_volumes_are_dockers(engines: tuple[Veneer, Docker]) -> None:
    """Made by whoever wants them, mounted from start to end, gone with their container; several at once in any
    order.  Docker tells of a volume that is mounted twice that it was made twice."""
    script = """
    create --network none --name ev -v evdata:/data -v evdata:/again:ro -v /anonymous -l l=1 IMAGE true
    start -a ev
    rm -v ev
    volume rm evdata
    """
    told = []
    for engine in engines:
        for line in script.strip().splitlines():
            engine(*shlex.split(line.strip().replace("IMAGE", IMAGE)))
        soon = str(int(time.time()) + 2)
        words = ["--filter", "type=volume", "--format", "{{.Action}} {{.Actor.ID}} {{json .Actor.Attributes}}"]
        found = engine("events", "--since", "1m", "--until", soon, *words).out
        lines = re.sub(r"\b[0-9a-f]{64}\b", "ID", found).splitlines()
        told.append(sorted({line for line in lines if line.startswith("create")}))
        told[-1] += sorted(line for line in lines if not line.startswith("create"))
    assert told[0] == told[1]
