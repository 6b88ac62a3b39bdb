"""RUN on a real runtime: what a command finds, what of it becomes a layer, how it fails, and what stays: nothing."""

from __future__ import annotations

import glob
import os
import select
import signal
import socket
import stat
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.builds import Done, build, with_programs
from tests.support.programs import VENEER, needs
from veneer.build.events import Event, Output
from veneer.build.failure import CommandFailed, StepFailed
from veneer.build.running.container import BadLimit, environment, ulimit
from veneer.build.running.step import NotAllowed
from veneer.engine.engine import Engine
from veneer.progress import Cancelled
from veneer.run.failures import NoSuchCommand
from veneer.run.spec import Limit
from veneer.run.users import Identity, UnknownUser

Build = Callable[..., Done]


@pytest.fixture
def built(engine: Engine, busybox: Path, root_only: None) -> Build:
    """Builds on busybox; the network is none unless said."""
    needs("runc")
    with_programs(engine, busybox)

    def do(steps: str, context: Path | None = None, **fields: object) -> Done:
        return build(engine, f"FROM busybox:1\n{steps}", context, **{"network": "none", **fields})

    return do


def said(done: Done, stream: int = 1) -> str:
    return b"".join(each.data for each in done.events if isinstance(each, Output) and each.stream == stream).decode()


def paths(done: Done) -> list[str]:
    """What the top layer has entries for."""
    diff_id = done.image.config.diff_ids[-1]
    with done.engine.store.layers.index(diff_id) as index:
        return list(map(os.fsdecode, index.paths()))


def cause(failure: pytest.ExceptionInfo[StepFailed]) -> BaseException:
    return failure.value.cause


# ---- what becomes a layer


def test_what_a_command_writes_is_the_layer(built: Build) -> None:
    done = built("RUN mkdir /d && echo hi > /d/f && rm /bin/vi\n")
    assert paths(done) == ["bin", "bin/vi", "d", "d/f"]
    assert done.rows[-1] == "/bin/sh -c mkdir /d && echo hi > /d/f && rm /bin/vi"


def test_a_command_that_changes_nothing_makes_no_layer(built: Build) -> None:
    done = built("RUN true\nRUN ls -laR / > /dev/null 2>&1 || true\nRUN cat /etc/hosts /etc/resolv.conf > /dev/shm/x\n")
    assert len(done.image.config.diff_ids) == 1
    assert [row.empty_layer for row in done.image.config.history[-3:]] == [True, True, True]


def test_what_only_a_files_content_tells_is_a_change_too(built: Build) -> None:
    """Tools that set all times, for builds that can be done again, leave nothing else to see."""
    done = built(
        "RUN mkdir /d && echo one > /d/f && echo same > /d/g && touch -d @1 /d/f /d/g /d\n"
        "RUN echo two > /d/f && echo same > /d/g && touch -d @1 /d/f /d/g /d\n"
        "RUN cat /d/f\n"
    )
    assert (said(done), done.image.config.history[-2].empty_layer) == ("two\n", False)
    assert paths(done) == ["d", "d/f"]


def test_nothing_of_what_a_container_is_given_becomes_part_of_a_layer(built: Build) -> None:
    done = built(
        "RUN rm -rf /etc/hosts /etc/resolv.conf /etc/hostname /proc /sys 2>/dev/null; true\n"
        "RUN echo x >> /etc/hosts; echo y > /etc/resolv.conf; touch /dev/lost /dev/shm/lost; touch /etc/kept\n"
    )
    assert paths(done) == ["etc", "etc/kept"]
    assert "proc" not in {path for layer in [done] for path in paths(layer)}


def test_a_first_layer_on_nothing_has_only_what_was_written(engine: Engine, built: Build) -> None:
    from tests.support.builds import build as plain

    done = plain(engine, "FROM busybox:1 AS tools\nFROM scratch\n"
                 "RUN --mount=from=tools,source=/bin,target=/bin --mount=from=tools,source=/usr,target=/usr "
                 "[\"/bin/sh\", \"-c\", \"echo hi > /f\"]\n", network="none")  # fmt: skip
    assert paths(done) == ["f"]


def test_special_files_owners_and_attributes_are_kept(built: Build) -> None:
    done = built("RUN mkfifo -m 620 /pipe && mknod -m 666 /null c 1 3 && touch /f && chown 7:8 /f && chmod 4711 /f\n")
    with done.engine.store.layers.index(done.image.config.diff_ids[-1]) as index:
        found = {os.fsdecode(entry.path): entry for entry in index}
    assert (found["f"].uid, found["f"].gid, stat.S_IMODE(found["f"].mode)) == (7, 8, 0o4711)
    assert sorted(found) == ["f", "null", "pipe"]


# ---- what a command finds


def test_variables_arguments_directory_and_user(built: Build) -> None:
    done = built(
        "ENV A=env B=env\nARG B=arg\nARG C=c\nARG D\nWORKDIR /w\nUSER 7\nRUN env | sort; pwd; id -u; id -G\n",
        args={"D": "given"},
    )
    lines = said(done).splitlines()
    assert {"A=env", "B=env", "C=c", "D=given", "HOME=/", "HOSTNAME=buildkitsandbox"} <= set(lines)
    assert lines[-3:] == ["/w", "7", "0"]
    assert done.rows[-1].startswith("|2 C=c D=given /bin/sh -c env")


def test_home_is_the_users_of_the_image_itself(built: Build) -> None:
    done = built(
        "RUN echo app:x:7:8::/home/app:/bin/sh >> /etc/passwd; echo more:x:9:app >> /etc/group\n"
        "USER app\nRUN echo $HOME; id\nENV HOME=/mine\nRUN echo $HOME\n"
    )
    assert said(done) == "/home/app\nuid=7(app) gid=8 groups=8,9(more)\n/mine\n"


def test_the_shell_the_exec_form_and_documents(built: Build) -> None:
    done = built(
        'RUN ["echo", "a  b", "$HOME"]\nSHELL ["/bin/sh", "-ec"]\nRUN echo "$-" | grep -o e\n'
        "RUN <<EOF\necho one\necho two\nEOF\n"
        "RUN <<EOF\n#!/bin/cat\nbody\nEOF\nRUN cat <<A; cat <<B\na\nA\nb\nB\n"
    )
    assert said(done) == "a  b $HOME\ne\none\ntwo\n#!/bin/cat\nbody\na\nb\n"


def test_the_two_streams_are_told_as_they_come(built: Build) -> None:
    done = built("RUN echo out; echo err >&2; cat\n")
    assert (said(done, 1), said(done, 2)) == ("out\n", "err\n")


def test_hosts_that_were_added_and_limits_that_were_set(built: Build) -> None:
    done = built(
        "RUN grep -w db /etc/hosts; ulimit -n; df -k /dev/shm | tail -1 | awk '{ print $2 }'\n",
        add_hosts=(("db", "10.0.0.1"),), ulimits=("nofile=50:60",), shm_size=1 << 20, memory=64 << 20, cpus=0.5,
    )  # fmt: skip
    assert said(done) == "10.0.0.1\tdb\n50\n1024\n"


def test_stages_run_side_by_side(engine: Engine, built: Build) -> None:
    """Each waits for the other: a FIFO in a cache that both share.

    And for what it said itself to be heard: with a step's shell all its processes end.
    """
    meet = "RUN --mount=type=cache,id=meet,target=/m mkfifo /m/a /m/b 2>/dev/null;"
    first = f"{meet} echo 1 > /m/a & cat /m/b > /f; wait"
    second = f"{meet} echo 2 > /m/b & cat /m/a > /f; wait"
    done = build(engine, f"FROM busybox:1 AS one\n{first}\nFROM busybox:1 AS two\n{second}\nFROM scratch\n"
                 "COPY --from=one /f /1\nCOPY --from=two /f /2\n", network="none")  # fmt: skip
    assert paths(done) == ["2"]


# ---- how it fails


@pytest.mark.parametrize(("command", "code"), [("exit 7", 7), ("sh -c 'kill -9 $$'; exit $?", 137), ("nosuch", 127)])
def test_a_status_that_is_not_0_ends_the_build_with_it(built: Build, command: str, code: int) -> None:
    with pytest.raises(StepFailed, match=f"returned a non-zero code: {code}") as failure:
        built(f"RUN true\nRUN {command}\n")
    assert isinstance(cause(failure), CommandFailed)
    assert failure.value.last_good is not None


def test_a_program_that_is_not_there(built: Build) -> None:
    with pytest.raises(StepFailed, match='exec: "/no/such": stat /no/such: no such file or directory') as failure:
        built('RUN ["/no/such"]\n')
    assert isinstance(cause(failure), NoSuchCommand)


def test_a_user_that_is_not_there(built: Build) -> None:
    with pytest.raises(StepFailed, match="unable to find user ada: no matching entries in passwd file") as failure:
        built("USER ada\nRUN true\n")
    assert isinstance(cause(failure), UnknownUser)


@pytest.mark.parametrize(("flag", "name"), [
    ("--network=host", "network.host"), ("--security=insecure", "security.insecure"),
])  # fmt: skip
def test_privileges_have_to_be_granted(built: Build, flag: str, name: str) -> None:
    with pytest.raises(StepFailed, match=f"{name} is not allowed") as failure:
        built(f"RUN {flag} true\n")
    assert isinstance(cause(failure), NotAllowed)
    done = built(f"RUN {flag} readlink /proc/self/ns/net; grep CapBnd /proc/self/status\n", allow=(name,))
    net, capabilities = said(done).splitlines()
    assert (net == os.readlink("/proc/self/ns/net")) == (name == "network.host")
    assert ("a80425fb" not in capabilities) == (name == "security.insecure")


def test_the_builds_own_network_may_be_the_hosts(built: Build) -> None:
    done = built("RUN readlink /proc/self/ns/net\nRUN --network=none readlink /proc/self/ns/net\n", network="host")
    host, own = said(done).splitlines()
    assert host == os.readlink("/proc/self/ns/net") != own


def test_by_default_a_step_has_a_network_of_its_own_with_a_way_out(built: Build) -> None:
    """And not to what listens on the host's loopback."""
    needs("slirp4netns")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = built(f"RUN ip -o addr show tap0; ip route; nc -w 5 10.0.2.2 {port} < /dev/null || echo refused\n",
                     network="default")  # fmt: skip
    out = said(done)
    assert "10.0.2.100" in out and "default via 10.0.2.2" in out
    assert out.endswith("refused\n")
    assert done.image.config.diff_ids == done.engine.images.get("busybox:1").config.diff_ids


@pytest.mark.parametrize(("text", "expected"), [
    ("nofile=5", Limit("nofile", 5, 5)), ("nofile=5:6", Limit("nofile", 5, 6)), ("core=-1", Limit("core", -1, -1)),
    ("core=0:-1", Limit("core", 0, -1)),
])  # fmt: skip
def test_limits_are_read(text: str, expected: Limit) -> None:
    assert ulimit(text) == expected


@pytest.mark.parametrize("text", ["nofile", "files=1", "nofile=a", "nofile=6:5", "nofile=-1:5", "nofile=5:"])
def test_limits_that_cannot_be(text: str) -> None:
    with pytest.raises(BadLimit):
        ulimit(text)


def test_who_wins_among_variables() -> None:
    who = Identity(0, 0, (0,), "/root")
    made = environment(("A=image", "B=image"), {"A": "arg", "C": "arg"}, {"B": "secret"}, who)
    assert made == ("A=image", "B=secret", "HOSTNAME=buildkitsandbox", "C=arg", "HOME=/root")
    assert "HOME=/root" in environment(("HOME=",), {}, {}, who)


# ---- how it is stopped


def test_a_listener_that_has_enough_ends_the_command(engine: Engine, built: Build) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, Output):
            raise Cancelled("enough")

    text = b"FROM busybox:1\nRUN for each in 1 2 3 4 5 6 7 8; do sleep 1000 & done; echo up; sleep 1000\n"
    with pytest.raises(Cancelled):
        engine.build(dockerfile=text, network="none", on_event=stop).result()
    ours = f"veneer-*-{os.getpid()}-*"
    assert [*glob.glob(f"/sys/fs/cgroup/{ours}"), *glob.glob(f"/sys/fs/cgroup/*/{ours}")] == []


def test_a_stage_that_fails_ends_the_commands_of_others(engine: Engine, built: Build) -> None:
    started = threading.Event()
    events: list[Event] = []

    def listen(event: Event) -> None:
        events.append(event)
        if isinstance(event, Output):
            started.set()

    mount = "RUN --mount=type=cache,id=go,target=/m mkfifo /m/f 2>/dev/null;"
    first = f"FROM busybox:1 AS one\n{mount} echo > /m/f; sleep 1000\n"
    second = f"FROM busybox:1 AS two\n{mount} read -r x < /m/f; exit 3\n"
    last = "FROM scratch\nCOPY --from=one /f /\nCOPY --from=two /f /\n"
    with pytest.raises(StepFailed, match="non-zero code: 3"):
        engine.build(dockerfile=(first + second + last).encode(), network="none", on_event=listen).result()


def test_a_build_that_is_killed_takes_its_command_along_and_the_next_start_finds_the_store_sound(
    engine: Engine, built: Build, tmp_path: Path
) -> None:
    mark = f"sleep {10**6 + os.getpid()}"
    (tmp_path / "context").mkdir()
    (tmp_path / "context/Dockerfile").write_text(f"FROM busybox:1\nRUN echo up; touch /f; exec {mark}\n")
    root = engine.config.root
    victim = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", VENEER, "--root", root, "build", "--network", "none", "--progress", "plain",
         tmp_path / "context"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert victim.stdout is not None
    assert any(line.strip() == b"up" for line in victim.stdout)
    command = None
    while command is None and victim.poll() is None:
        command = running(mark)  # the shell becomes it a moment after the line
    assert command is not None
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    victim.stdout.close()
    assert select.select([command], [], [], 60)[0], "the command lives on"
    os.close(command)
    assert str(root) not in Path("/proc/self/mountinfo").read_text()
    assert len(built("RUN true\n").image.config.diff_ids) == 1
    assert engine.system.check() == []
    engine.system.collect()
    assert len(list((root / "ingest").iterdir())) <= 1, "the test's own"


def running(command: str) -> int | None:
    """A pidfd of the process of that command line."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                line = Path("/proc", name, "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                if line == command:
                    return os.pidfd_open(int(name))
            except (FileNotFoundError, ProcessLookupError):
                continue
    return None
